"""From what a completer believes of hidden entries to the numbers that tell whether it holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay
from spared_benchmark.completion.belief import Belief
from spared_benchmark.completion.scoring import SCORED_SPLITS, labelled
from spared_benchmark.evaluation.calibration import (
    coverage,
    coverage_by_decile,
    distance_from_uniform,
    randomised_pit,
)

COVERAGE, WIDTH = "coverage", "interval_width"
PIT = "pit_distance"
LEAST, MOST = "coverage_by_decile_least", "coverage_by_decile_most"

_Row = tuple[str, str, float, int]
_Taken = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def score_belief(
    assay: Assay,
    belief: Belief,
    split: NDArray[np.str_],
    slide: NDArray[np.str_],
    molecule: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """Score the intervals of an assay's hidden entries.

    Args:
        assay: What is hidden, and its truth.
        belief: Of every entry of the scored splits ``(n_spots, n_genes)``.
        split: Of each spot ``(n_spots,)``.
        slide: Of each spot ``(n_spots,)``.
        molecule: TPM of a single molecule ``(n_spots, n_genes)``, where values are log2(TPM+1).

    Returns:
        As `scoring.score_assay`: ``coverage``, the share of hidden values within their interval,
        which should be `belief.NOMINAL`, and ``interval_width``, the mean from end to end, by slide
        and over the entries of the split together; ``coverage_by_decile_least`` and ``_most``, the
        smallest and largest coverage among tenths of the completed value, over the split's entries
        together; and where ``molecule`` is given ``pit_distance``, the largest distance of the
        distribution of `randomised_pit` from the uniform one, over the split's entries together.
        ``n`` counts the entries, of the deciles those of that tenth.
    """
    frames = []
    for name in SCORED_SPLITS:
        rows = split == name
        if not rows.any():
            continue
        hidden = assay.hidden & rows[:, None]
        found = _of_split(_taken(assay, belief, hidden))
        if molecule is not None:
            distance = distance_from_uniform(transformed(assay, belief, hidden, molecule))
            found.append(("", PIT, distance, int(hidden.sum())))
        for label in dict.fromkeys(slide[rows].tolist()):
            of_slide = hidden & (slide == label)[:, None]
            found += _of_entries(label, _taken(assay, belief, of_slide))
        table = pd.DataFrame(found, columns=["slide", "metric", "value", "n"])
        frames.append(table.assign(split=name))
    return labelled(pd.concat(frames, ignore_index=True), assay)


def transformed(
    assay: Assay, belief: Belief, entries: NDArray[np.bool_], molecule: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the randomised probability integral transform of hidden counts ``(n,)``.

    A count of c molecules stands for all that is nearer to it than to another count, one molecule
    for all below as well: no entry that is scored has none.

    Args:
        assay: Its truth is log2(TPM+1).
        belief: Of every entry ``(n_spots, n_genes)``.
        entries: Of the assay's hidden ones ``(n_spots, n_genes)``.
        molecule: TPM of a single molecule ``(n_spots, n_genes)``.
    """
    worth = molecule[entries]
    count = np.round((np.exp2(assay.truth[entries].astype(np.float64)) - 1) / worth)
    below, above = (
        belief.probability(np.log2(1 + worth * (count + step)), entries) for step in (-0.5, 0.5)
    )
    generator = np.random.default_rng(assay.number)
    return randomised_pit(np.where(count > 1, below, 0.0), above, generator)


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
