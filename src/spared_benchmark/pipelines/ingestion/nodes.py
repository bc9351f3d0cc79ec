"""From a laboratory's files to one AnnData and one patch store per slide."""

from __future__ import annotations

import io
from typing import Any

from spared_benchmark.pipelines.types import (
    AnnData,
    DataFrame,
    PatchStore,
    RawSlide,
    SimulatedSlide,
)
from spared_benchmark.study import Cohort, GateSettings

_IDENTITY = "identity:"


def simulate_slide(cohort: Cohort, code: str, slide: str) -> tuple[SimulatedSlide, AnnData]:
    """Make a slide, and the truth behind it."""
    from spared_benchmark.simulation.slide import simulate_slide as simulate

    made = simulate(cohort, code, slide)
    return made, made.truth


def simulate_gene_lengths(cohort: Cohort, code: str) -> DataFrame:
    """Make the gene lengths of a simulated cohort."""
    from spared_benchmark.simulation.genes import simulated_gene_lengths

    return simulated_gene_lengths(cohort, code)


def ingest_slide(raw: RawSlide) -> tuple[AnnData, bytes, dict[str, str]]:
    """Take in a slide, draw its spots on the tissue and note what identifies it."""
    from spared_benchmark.slides.identity import identify

    return raw.adata, _overlay(raw), identify(raw)


def cut_patches(raw: RawSlide, window: str) -> tuple[PatchStore, dict[str, Any]]:
    """Cut the patches of a slide, with the slide's line of the ingestion table."""
    from spared_benchmark.tissue import patches

    store = patches.cut_patches(raw, window)
    return store, patches.ingestion_row(raw, store)


def ingest_slide_without_image(
    raw: RawSlide,
) -> tuple[AnnData, bytes, dict[str, str], dict[str, Any]]:
    """Take in a slide that has counts only."""
    from spared_benchmark.tissue.patches import ingestion_row

    return *ingest_slide(raw), ingestion_row(raw, None)


def check_splits(
    code: str,
    splits: dict[str, dict[str, dict[str, str]]],
    rules: GateSettings,
    known: DataFrame,
    **identities: dict[str, str],
) -> DataFrame:
    """Refuse a cohort that shares what it must not; processing waits for this.

    Args:
        code: The cohort's.
        splits: Subject and split by cohort and slide, of the whole study.
        rules: Which findings are errors.
        known: Identities of slides that have been taken in, of any cohort.
        identities: The cohort's own.
    """
    import pandas as pd

    from spared_benchmark.slides.gate import check_splits as check

    defined = pd.DataFrame(
        [
            {"cohort": cohort, "slide": slide, **one}
            for cohort, slides in splits.items()
            for slide, one in slides.items()
        ]
    )
    own = pd.DataFrame(
        [
            {"cohort": code, "slide": name.removeprefix(_IDENTITY), **one}
            for name, one in identities.items()
        ]
    )
    identified = pd.concat([own, known[known["cohort"] != code]], ignore_index=True)
    slides = defined.merge(identified, on=["cohort", "slide"])
    mine = slides["cohort"] == code
    return check(slides[mine], rules, slides[~mine])


def tabulate_ingestion(cohort: Cohort, **parts: dict[str, Any]) -> DataFrame:
    """Collect the slides' rows in the cohort's order, with their splits and identities."""
    import pandas as pd

    return pd.DataFrame(
        [
            {**parts[slide], **parts[_IDENTITY + slide], "split": definition.split}
            for slide, definition in cohort.slides.items()
        ]
    )


def lay_out_overlays(**overlays: bytes) -> bytes:
    """Put the overlays of all slides on one sheet."""
    from spared_benchmark.reporting.sheet import contact_sheet

    return contact_sheet(overlays)


def _overlay(raw: RawSlide) -> bytes:
    from spared_benchmark.slides.overlay import draw_overlay

    stream = io.BytesIO()
    draw_overlay(raw).savefig(stream, format="png")
    return stream.getvalue()
