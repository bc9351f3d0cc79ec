"""From what a completer believes of hidden entries to the numbers that tell whether it holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay
from spared_benchmark.completion.belief import Belief
from spared_benchmark.completion.scoring import SCORED_SPLITS, labelled
from spared_benchmark.evaluation.calibration import coverage, coverage_by_decile

COVERAGE, WIDTH = "coverage", "interval_width"
LEAST, MOST = "coverage_by_decile_least", "coverage_by_decile_most"

_Row = tuple[str, str, float, int]
_Taken = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def score_belief(
    assay: Assay, belief: Belief, split: NDArray[np.str_], slide: NDArray[np.str_]
) -> pd.DataFrame:
    """Score the intervals of an assay's hidden entries.

    Args:
        assay: What is hidden, and its truth.
        belief: Of every entry of the scored splits ``(n_spots, n_genes)``.
        split: Of each spot ``(n_spots,)``.
        slide: Of each spot ``(n_spots,)``.

    Returns:
        As `scoring.score_assay`: ``coverage``, the share of hidden values within their interval,
        which should be `belief.NOMINAL`, and ``interval_width``, the mean from end to end, by slide
        and over the entries of the split together; ``coverage_by_decile_least`` and ``_most``, the
        smallest and largest coverage among tenths of the completed value, over the split's entries
        together. ``n`` counts the entries, of the last two those of that tenth.
    """
    frames = []
    for name in SCORED_SPLITS:
        rows = split == name
        if not rows.any():
            continue
        hidden = assay.hidden & rows[:, None]
        found = _of_split(_taken(assay, belief, hidden))
        for label in dict.fromkeys(slide[rows].tolist()):
            of_slide = hidden & (slide == label)[:, None]
            found += _of_entries(label, _taken(assay, belief, of_slide))
        table = pd.DataFrame(found, columns=["slide", "metric", "value", "n"])
        frames.append(table.assign(split=name))
    return labelled(pd.concat(frames, ignore_index=True), assay)


def _taken(assay: Assay, belief: Belief, entries: NDArray[np.bool_]) -> _Taken:
    return (
        belief.values[entries],
        assay.truth[entries],
        belief.lower[entries],
        belief.upper[entries],
    )


def _of_entries(slide: str, taken: _Taken) -> list[_Row]:
    _, truth, lower, upper = taken
    width = float((upper - lower).mean(dtype=np.float64)) if len(truth) else float("nan")
    return [
        (slide, COVERAGE, coverage(truth, lower, upper), len(truth)),
        (slide, WIDTH, width, len(truth)),
    ]


def _of_split(taken: _Taken) -> list[_Row]:
    shares, counts = coverage_by_decile(*taken)
    least, most = (np.nanargmin(shares), np.nanargmax(shares)) if counts.any() else (0, 0)
    ends = [
        ("", metric, float(shares[tenth]), int(counts[tenth]))
        for metric, tenth in ((LEAST, least), (MOST, most))
    ]
    return [*_of_entries("", taken), *ends]
