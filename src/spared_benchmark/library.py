"""The package without a study: read slides, process them, complete them, score predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spared_benchmark.completion.library import completers, load_completer
from spared_benchmark.errors import ConfigurationError, InputError, nearest
from spared_benchmark.settings_model import parsed
from spared_benchmark.study import (
    Cohort,
    Format,
    GateSettings,
    Lattice,
    Organism,
    ProcessingSettings,
    Protocol,
    SlideDefinition,
    Split,
)

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike

__all__ = ["completers", "evaluate", "load_completer", "process", "read_published", "read_slide"]


def read_slide(
    path: str | Path,
    *,
    slide: str | None = None,
    subject: str | None = None,
    slide_format: Format = "space_ranger",
    lattice: Lattice = "hexagonal",
    organism: Organism = "human",
    tissue: str = "unknown",
    licence: str = "unknown",
    image: str | None = "hires",
) -> AnnData:
    """Read one slide.

    Args:
        path: Space Ranger's ``outs``, a legacy ST folder or an h5ad file.
        slide: Its name; that of the folder (of its parent for ``outs``) when not given.
        subject: Patient or animal; the slide's name when not given.
        slide_format: ``space_ranger``, ``legacy_st`` or ``anndata``.
        lattice: ``hexagonal``, ``square`` or ``diamond``.
        organism: ``human`` or ``mouse``.
        tissue: For the record.
        licence: For the record.
        image: ``hires``, the name of a full-resolution image, or None.

    Returns:
        Raw counts ``(n_spots, n_genes)`` with spot centres in full-resolution pixels.

    Raises:
        InputError: When what lies there cannot be such a slide.
    """
    from spared_benchmark.slides.read import read_slide as read

    place = Path(path).resolve()
    own = place.parent.name if place.name == "outs" else place.name.removesuffix(".h5ad")
    name = slide or own
    definition = SlideDefinition(subject=subject or name, split="train", image=image)
    cohort = _cohort(
        {name: definition},
        organism=organism,
        lattice=lattice,
        format=slide_format,
        tissue=tissue,
        licence=licence,
    )
    return read(Path(path), cohort, "library", name).adata


def process(
    slides: Sequence[AnnData],
    *,
    genes: int | None = 128,
    gene_file: str | Path | None = None,
    gene_lengths: pd.DataFrame | str | Path | None = None,
    batch_key: str = "slide",
    splits: Mapping[str, Split] | None = None,
    protocol: Protocol = "inductive",
    settings: ProcessingSettings | None = None,
    gate: GateSettings | None = None,
) -> AnnData:
    """Filter, normalise, choose genes and correct batches of one cohort.

    Args:
        slides: What `read_slide` returns.
        genes: Genes to keep, the highest by Moran's I; None keeps all that may be chosen.
        gene_file: Names of the genes that may be chosen, one a line (Ensembl ids or symbols);
            those that are expressed widely enough when not given. Counts are divided by the total
            over these and those together.
        gene_lengths: Columns gene_id, symbol and length, or the file that holds them, or an
            annotation (``.gtf``, ``.gtf.gz``) to measure; ``gene_lengths_<organism>.tsv.gz`` in
            the folder SPARED_GENE_LENGTHS when not given.
        batch_key: ``slide`` or ``subject``: what ComBat takes for a batch.
        splits: ``train``, ``val`` or ``test`` by slide; all train when not given.
        protocol: ``inductive`` (fitted on train slides) or ``transductive`` (on all).
        settings: Median hops, what Moran's I is taken of, size of the context.
        gate: What slides of several splits may share; by default subjects, and no counts or files.
            Images are not compared, and what they share with other cohorts is not known here.

    Returns:
        The expression ``(n_spots, n_genes)``: layers ``counts``, ``log_tpm`` (log2(TPM+1)),
        ``measured``, ``median`` and ``combat``.

    Raises:
        ConfigurationError: When ``splits`` names an unknown slide, or two slides are called alike.
        InputError: When there are no gene lengths, the gene file names fewer than two genes of the
            slides, or one slide is in two splits.
    """
    from spared_benchmark.expression.gene_file import read_gene_file
    from spared_benchmark.expression.process import process as run

    headers, chosen = _headers(slides, splits or {})
    first = next(iter(headers.values()))
    cohort = _cohort(
        {
            name: SlideDefinition(subject=str(header["subject"]), split=chosen[name])
            for name, header in headers.items()
        },
        genes=genes,
        gene_names=() if gene_file is None else read_gene_file(Path(gene_file)),
        batch_key=batch_key,
        **{key: str(first[key]) for key in ("organism", "lattice", "tissue", "licence")},
    )
    _check_splits(slides, chosen, gate or GateSettings())
    options = settings or ProcessingSettings()
    lengths = _lengths(gene_lengths, str(first["organism"]), options)
    loaders = dict(zip(headers, map(_loader, slides), strict=True))
    return run(loaders, cohort, "library", protocol, options, lengths).expression


def read_published(
    path: str | Path,
    *,
    organism: Organism = "human",
    lattice: Lattice = "hexagonal",
    batch_key: str = "slide",
) -> AnnData:
    """Take over a cohort of the published SpaRED collection, with nothing processed anew.

    Args:
        path: The file ``adata.h5ad``, or its folder.
        organism: ``human`` or ``mouse``.
        lattice: ``hexagonal``, ``square`` or ``diamond``.
        batch_key: What the file's ComBat took for a batch: ``slide`` or ``subject``.

    Returns:
        As `process` returns it; slides, subjects and splits are those of the file.

    Raises:
        InputError: When the file lacks a key, or a key does not hold what it promises.
    """
    from spared_benchmark.expression.adopt import adopt, definitions_of

    facts = {"organism": organism, "lattice": lattice, "tissue": "unknown", "licence": "unknown"}
    cohort = _cohort(definitions_of(Path(path)), format="spared", batch_key=batch_key, **facts)
    return adopt(Path(path), cohort, "library", "transductive").expression


def evaluate(
    truth: ArrayLike, prediction: ArrayLike, measured: ArrayLike, slide: ArrayLike | None = None
) -> pd.DataFrame:
    """Score a prediction on measured entries.

    Args:
        truth: ``(n_spots, n_genes)``, log2(TPM+1).
        prediction: The same shape and unit.
        measured: The same shape, bool: entries that count.
        slide: ``(n_spots,)``; one slide when not given.

    Returns:
        Columns slide (empty: pooled), metric, value and n.
    """
    import numpy as np

    from spared_benchmark.evaluation.metrics import scores

    labels = np.full(np.shape(truth)[0], "slide") if slide is None else slide
    return scores(truth, prediction, measured, labels)


def _cohort(slides: dict[str, SlideDefinition], **fields: Any) -> Cohort:
    given = {"title": "library", "citation": "none", "format": "anndata"}
    return parsed(Cohort, {**given, **fields, "slides": slides}, "slides")


def _headers(
    slides: Sequence[AnnData], splits: Mapping[str, Split]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, Split]]:
    """Return ``uns["slide"]`` and the split of each slide, by its name."""
    headers = {str(slide.uns["slide"]["slide"]): slide.uns["slide"] for slide in slides}
    if len(headers) < len(slides):
        msg = (
            f"{len(slides)} slides have {len(headers)} name(s): {', '.join(headers)}; give each "
            "its own by read_slide(..., slide=...)"
        )
        raise ConfigurationError(msg)
    everything_train: dict[str, Split] = dict.fromkeys(headers, "train")
    chosen = everything_train | dict(splits)
    for name in set(chosen) - set(headers):
        msg = f"splits: no slide {name!r}{nearest(name, headers)}; there are {', '.join(headers)}"
        raise ConfigurationError(msg)
    return headers, chosen


def _check_splits(
    slides: Sequence[AnnData], splits: Mapping[str, Split], rules: GateSettings
) -> None:
    if len(set(splits.values())) < 2:
        return
    import pandas as pd

    from spared_benchmark.slides.gate import check_splits
    from spared_benchmark.slides.identity import identify
    from spared_benchmark.slides.raw import RawSlide

    rows = []
    for adata in slides:
        header = adata.uns["slide"]
        who = {
            "cohort": "library",
            "slide": str(header["slide"]),
            "subject": str(header["subject"]),
        }
        split = splits[who["slide"]]
        rows.append({**who, "split": split, **identify(RawSlide(adata, None))})
    check_splits(pd.DataFrame(rows), rules)


def _lengths(
    given: pd.DataFrame | str | Path | None, organism: str, settings: ProcessingSettings
) -> pd.DataFrame | None:
    from spared_benchmark.expression.gene_lengths import measure_gtf, read_lengths

    if given is None:
        folder, file = os.environ.get("SPARED_GENE_LENGTHS"), f"gene_lengths_{organism}.tsv.gz"
        given = None if folder is None else Path(folder) / file
        if settings.normalisation == "cpm" and (given is None or not given.exists()):
            return None
        if given is None:
            msg = (
                "no gene lengths: give gene_lengths (a table or its file), or name the folder that "
                f"holds {file} in SPARED_GENE_LENGTHS"
            )
            raise InputError(msg)
    if isinstance(given, str | Path):
        return measure_gtf(Path(given)) if ".gtf" in Path(given).name else read_lengths(Path(given))
    return given


def _loader(slide: AnnData) -> Callable[[], AnnData]:
    return lambda: slide
