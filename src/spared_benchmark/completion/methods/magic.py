"""MAGIC's diffusion over spots of like expression, of visible residuals only."""

from __future__ import annotations

from typing import Any, ClassVar

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.expression_neighbours import magic_diffusion
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Magic(GridChosen):
    """Fills with base + Pᵗ E / (Pᵗ V + λ), P MAGIC's Markov matrix between a slide's spots.

    The graph is built on the visible values with the base at all other entries. ``shrinkage`` is
    λ in neighbours: in units of a spot's weight of 1 over its number of neighbours in P.
    """

    card: ClassVar[Card] = Card(
        name="magic",
        label="MAGIC, mask-aware",
        summary="Slide gene mean plus spot offset plus the residual diffused over spots of like "
        "expression, over visible entries only.",
        source="van Dijk et al. 2018 in the form of normalised convolution (Knutsson and Westin "
        "1993)",
        year=2018,
        uses=frozenset({"genes"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "knn": (5, 15, 30),
        "steps": (1, 2, 3, 6),
        "shrinkage": (0.1, 0.5, 2.0, 6.0),
    }
    tuned: ClassVar[tuple[str, ...]] = ("knn", "steps", "shrinkage")

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        parts = Residuals.of(slide, self.gene_mean)
        for knn in grid["knn"]:
            markov = magic_diffusion(parts.base + parts.values, int(knn))
            weight = slide.n_spots / markov.nnz
            sums, counts, done = parts.values, parts.visible, 0
            for steps in sorted(grid["steps"]):
                for _ in range(int(steps) - done):
                    sums, counts = markov @ sums, markov @ counts
                done = int(steps)
                for shrinkage in grid["shrinkage"]:
                    choice = {"knn": knn, "steps": steps, "shrinkage": shrinkage}
                    yield choice, parts.smoothed(sums, counts, shrinkage * weight)
