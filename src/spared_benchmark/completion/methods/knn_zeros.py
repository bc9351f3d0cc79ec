"""kNN-smoothing as published, with zeros for data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.expression_neighbours import knn_smoothing_neighbours
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card

_Floats = NDArray[np.float64]


class KnnZeros(GridChosen):
    """Fills with the mean relative expression of the k most similar spots, absent ones zero.

    The published method sums counts, which a completer does not see. Log values are turned back
    into relative expression 2^y − 1, whose sums are divided by k, and the log is taken again.
    """

    card: ClassVar[Card] = Card(
        name="knn_zeros",
        label="kNN-smoothing on zeros",
        summary="kNN-smoothing as published, on relative expression: the mean over spots of like "
        "expression, what is not visible being zero.",
        source="Wagner, Yan and Yanai 2018, version 2.1",
        year=2018,
        uses=frozenset({"genes"}),
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {"k": 32, "components": 10}
    tuned: ClassVar[tuple[str, ...]] = ("k",)

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        relative = np.maximum(np.exp2(slide.filled.astype(np.float64)) - 1, 0.0)

        def smooth(table: NDArray[np.intp]) -> _Floats:
            return _stabilised(_mean_over(relative, table))

        for k in grid["k"]:
            table = knn_smoothing_neighbours(
                _stabilised(relative), int(k), self.settings["components"], smooth
            )
            yield {"k": k}, np.log2(1 + _mean_over(relative, table))


def _mean_over(values: _Floats, table: NDArray[np.intp]) -> _Floats:
    total = np.zeros_like(values)
    for column in table.T:  # one gather per neighbour: (n_spots, k, n_genes) is never held
        total += values[column]
    mean: _Floats = total / table.shape[1]
    return mean


def _stabilised(values: _Floats) -> _Floats:
    """Scale every spot to the median total and take Freeman and Tukey's √x + √(x + 1)."""
    totals = values.sum(axis=1, keepdims=True)
    scaled = values * np.divide(
        np.median(totals), totals, out=np.zeros_like(totals), where=totals > 0
    )
    stabilised: _Floats = np.sqrt(scaled) + np.sqrt(scaled + 1)
    return stabilised
