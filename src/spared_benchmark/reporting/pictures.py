"""Figures as the page shows them: embedded, each with its caption, in its section."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from spared_benchmark.errors import ContractError
from spared_benchmark.reporting.completion_captions import COMPLETION_CAPTIONS

CAPTIONS = {
    "cohorts": "Spots per split, and the share of entries without a count among all measured genes "
    "(hollow) and among the chosen ones (filled).",
    "completion": "Error on hidden entries. Small dots: assays; large dots: their mean. Hollow: "
    "controls, each with its line; green: the Poisson floor, below which no completer can be "
    "expected to go. Arrowheads: beyond the axis, with the number. Of many completers the best "
    "eight, the paper's and the means to beat; the next figure has all.",
    "prediction": "Error on measured entries, by what a predictor was trained on. Hollow: "
    "controls; dashed: the best of them; green lines: ceilings, made from true values as the grey "
    "rows beside them are. Bars: standard deviation over seeds. Arrowheads: beyond "
    "the axis, with the number.",
    "maps": "Genes on the tissue, one scale per row. Grey: no count was measured.",
    "overlay": "",
    **COMPLETION_CAPTIONS,
}
STAGE_CAPTIONS = {
    "spots": "Spots kept. Every spot in tissue with its fate, and the total counts that decided "
    "it; dashed: the limits. Right: median, quartiles and the 5 to 95 % range of each slide.",
    "fractions": "Genes kept. Left: each gene by the share of spots that express it, on the slide "
    "where that is least and over all slides that choose genes; dashed: the filter's cut. Right: "
    "how the cut comes about.",
    "moran": "Genes chosen. Moran's I, mean over the slides that choose genes, by rank; below, "
    "the best and the worst genes on the first slide of each split, one scale per gene. Grey: no "
    "count was measured.",
    "batches": "Batch correction. Left: how far each slide's gene means lie from those of all "
    "spots (median, quartiles and the 5 to 95 % range over genes). Right: spots on the first two "
    "principal components of the values before correction, with their share of its variance. The "
    "share between slides is a mean over genes.",
    "missing": "Missing entries. The share of spots without a count, by gene and slide, with the "
    "shares of genes (above) and slides (right).",
}
PNG_HEAD = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    name: str
    caption: str
    uri: str


def by_section(figures: Mapping[str, bytes]) -> dict[str, list[Picture]]:
    """Return the figures of each section; those of no section come under ``more``.

    Args:
        figures: PNG bytes by name, ``<section>`` or ``<section>:<anything>``; those of stages are
            left to `by_cohort`.

    Raises:
        ContractError: When one is not a PNG.
    """
    sections: dict[str, list[Picture]] = {name: [] for name in (*CAPTIONS, "more")}
    for name, png in figures.items():
        section, _, rest = name.partition(":")
        if section == "stage":
            continue
        place = section if section in CAPTIONS else "more"
        caption = " ".join(
            part for part in (rest and f"{rest}.", CAPTIONS.get(place, name)) if part
        )
        sections[place].append(Picture(rest or name, caption, _embedded(name, png)))
    return sections


def by_cohort(figures: Mapping[str, bytes]) -> dict[str, list[Picture]]:
    """Return the figures of each cohort's processing.

    Args:
        figures: PNG bytes by name; those called ``stage:<stage>:<cohort>`` are taken.

    Raises:
        ContractError: When one is not a PNG.
    """
    cohorts: dict[str, list[Picture]] = {}
    for name, png in figures.items():
        section, _, rest = name.partition(":")
        if section == "stage":
            stage, _, code = rest.rpartition(":")
            caption = STAGE_CAPTIONS.get(stage, stage)
            picture = Picture(f"{code}: {stage}", caption, _embedded(name, png))
            cohorts.setdefault(code, []).append(picture)
    return cohorts


def _embedded(name: str, png: bytes) -> str:
    if not png.startswith(PNG_HEAD):
        raise ContractError(
            f"figure {name!r} is not a PNG: it begins with {png[:8]!r}; pass the bytes of a PNG"
        )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
