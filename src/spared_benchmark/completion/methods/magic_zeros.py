"""MAGIC as published, with zeros for data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.expression_neighbours import magic_diffusion
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class MagicZeros(GridChosen):
    """Fills with Pᵗ Y, entries that are not visible standing in Y as zeros."""

    card: ClassVar[Card] = Card(
        name="magic_zeros",
        label="MAGIC on zeros",
        summary="MAGIC as published: expression diffused over spots of like expression, what is "
        "not visible being zero.",
        source="van Dijk et al. 2018",
        year=2018,
        uses=frozenset({"genes"}),
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {"knn": 5, "steps": 3}
    tuned: ClassVar[tuple[str, ...]] = ("knn", "steps")

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        expression = slide.filled.astype(np.float64)
        for knn in grid["knn"]:
            markov = magic_diffusion(expression, int(knn))
            for steps in grid["steps"]:
                smoothed = expression
                for _ in range(int(steps)):
                    smoothed = markov @ smoothed
                yield {"knn": knn, "steps": steps}, smoothed
