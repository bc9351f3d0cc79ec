"""From a completed cohort to the numbers of one assay, by slide and pooled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay
from spared_benchmark.completion.structure_metrics import TrueStructure
from spared_benchmark.evaluation.correlation import partial_correlation
from spared_benchmark.evaluation.floor import one_count
from spared_benchmark.evaluation.metrics import scores

SCORED_SPLITS = ("val", "test")
ERRORS = ("mse", "mae", "pcc_gene")
STRUCTURE = ("moran_error", "correlation_error")

_Rows = list[tuple[str, str, float, int]]


def score_assay(
    assay: Assay,
    completed: NDArray[np.float32],
    split: NDArray[np.str_],
    slide: NDArray[np.str_],
    gene_length: NDArray[np.float64],
    structure: Callable[[str], TrueStructure],
) -> pd.DataFrame:
    """Score the hidden entries of an assay.

    Args:
        assay: What is hidden, and its truth.
        completed: ``(n_spots, n_genes)``.
        split: Of each spot ``(n_spots,)``.
        slide: Of each spot ``(n_spots,)``.
        gene_length: ``(n_genes,)``.
        structure: Gives the true structure of a slide under this assay.

    Returns:
        Columns ``regime``, ``hidden_fraction``, ``assay``, ``split``, ``slide`` (empty for pooled
        over the slides of the split), ``metric``, ``value``, ``n``. ``pcc_net`` is ``pcc_gene``
        with the value of a single count at the depth of the spots' truth removed: what is not
        depth alone. Errors of structure are means over slides when pooled.
    """
    single = np.log2(1 + one_count(gene_length, np.where(assay.depth > 0, assay.depth, 1.0)))
    frames = []
    for name in SCORED_SPLITS:
        rows = split == name
        if not rows.any():
            continue
        parts = (assay.truth[rows], completed[rows], assay.hidden[rows])
        table = scores(*parts, slide[rows], ERRORS)
        others = _net(*parts, slide[rows], single[rows])
        others += _structure(assay, completed, np.flatnonzero(rows), slide, structure)
        further = pd.DataFrame(others, columns=["slide", "metric", "value", "n"])
        frames.append(pd.concat([table, further], ignore_index=True).assign(split=name))
    return labelled(pd.concat(frames, ignore_index=True), assay)


def labelled(table: pd.DataFrame, assay: Assay) -> pd.DataFrame:
    """Return ``table`` with the columns that tell the assay."""
    return table.assign(regime=assay.regime, hidden_fraction=assay.fraction, assay=assay.number)


def _net(
    truth: NDArray[np.float32],
    completed: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    slide: NDArray[np.str_],
    single: NDArray[np.float64],
) -> _Rows:
    rows: _Rows = []
    for label in dict.fromkeys(slide.tolist()):
        of = slide == label
        values = partial_correlation(truth[of], completed[of], single[of], hidden[of])
        defined = values[~np.isnan(values)]
        mean = float(defined.mean()) if defined.size else float("nan")
        rows.append((label, "pcc_net", mean, int(defined.size)))
    return [*rows, _over_slides("pcc_net", rows)]


def _structure(
    assay: Assay,
    completed: NDArray[np.float32],
    places: NDArray[np.intp],
    slide: NDArray[np.str_],
    structure: Callable[[str], TrueStructure],
) -> _Rows:
    by_metric: dict[str, _Rows] = {metric: [] for metric in STRUCTURE}
    for label in dict.fromkeys(slide[places].tolist()):
        rows = slide == label
        hidden = assay.hidden[rows]
        found = np.where(hidden, completed[rows], assay.values[rows])
        errors = structure(label).errors(found, hidden.any(axis=0))
        for metric in STRUCTURE:
            by_metric[metric].append((label, metric, *errors[metric]))
    return [
        row for metric, rows in by_metric.items() for row in [*rows, _over_slides(metric, rows)]
    ]


def _over_slides(metric: str, rows: _Rows) -> tuple[str, str, float, int]:
    defined = [value for _, _, value, _ in rows if not np.isnan(value)]
    mean = float(np.mean(defined)) if defined else float("nan")
    return "", metric, mean, sum(count for *_, count in rows)
