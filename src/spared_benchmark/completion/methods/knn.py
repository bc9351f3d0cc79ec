"""kNN-smoothing's neighbours, with visible residuals for values."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.expression_neighbours import (
    knn_smoothing_neighbours,
    table_weights,
)
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card

# λ of the smoothing that later neighbours are found in.
_SHRINKAGE_BETWEEN = 1.0


class Knn(GridChosen):
    """Fills with base plus the shrunken mean residual of the k most similar spots of the slide.

    The neighbours are those of kNN-smoothing, found anew among smoothed spots while k doubles.
    The method is defined on counts, which a completer does not see: distances are taken of the
    smoothed log values, and the visible log values are averaged, each entry for itself.
    ``shrinkage`` is λ in neighbours.
    """

    card: ClassVar[Card] = Card(
        name="knn",
        label="kNN-smoothing, mask-aware",
        summary="Slide gene mean plus spot offset plus the mean residual of the spots of like "
        "expression, over visible entries only.",
        source="Wagner, Yan and Yanai 2018 in the form of normalised convolution (Knutsson and "
        "Westin 1993)",
        year=2018,
        uses=frozenset({"genes"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "k": (8, 16, 32, 64, 128),
        "shrinkage": (0.5, 2.0, 6.0, 18.0),
        "components": 10,
    }
    tuned: ClassVar[tuple[str, ...]] = ("k", "shrinkage")

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        parts = Residuals.of(slide, self.gene_mean)

        def smooth(table: NDArray[np.intp]) -> NDArray[np.float64]:
            weights = table_weights(table, np.ones(table.shape), slide.n_spots)
            return parts.smoothed(*parts.convolved(weights), _SHRINKAGE_BETWEEN)

        for k in grid["k"]:
            table = knn_smoothing_neighbours(
                parts.base + parts.values, int(k), self.settings["components"], smooth
            )
            weights = table_weights(table, np.ones(table.shape), slide.n_spots)
            sums, counts = parts.convolved(weights)
            for shrinkage in grid["shrinkage"]:
                choice = {"k": k, "shrinkage": shrinkage}
                yield choice, parts.smoothed(sums, counts, shrinkage)
