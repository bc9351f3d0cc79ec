"""Gaussian kernel smoothing of the residual over the slide."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.lattice_kernel import LatticeGrid
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Kernel(GridChosen):
    """Fills with base + K E / (K V + λ), K the Gaussian of the distance between two spots.

    ``width`` is the Gaussian's standard deviation in pitches; ``shrinkage`` is λ in nearest
    neighbours, that is in units of the weight of a spot one pitch away. A spot has no weight of
    its own.
    """

    card: ClassVar[Card] = Card(
        name="kernel",
        label="Gaussian kernel",
        summary="Slide gene mean plus spot offset plus the residual smoothed by a Gaussian kernel "
        "over the slide, over visible entries only.",
        source="Nadaraya 1964; normalised convolution: Knutsson and Westin 1993",
        year=1964,
        uses=frozenset({"genes", "space"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "width": (0.7, 1.0, 1.5, 2.0, 3.0, 5.0),
        "shrinkage": (0.5, 1.0, 2.0, 4.0, 8.0),
    }
    tuned: ClassVar[tuple[str, ...]] = ("width", "shrinkage")

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        parts = Residuals.of(slide, self.gene_mean)
        lattice = LatticeGrid(slide)
        for width in grid["width"]:
            nearest = float(np.exp(-0.5 / width**2))
            sums = lattice.gaussian_sums(parts.values, width)
            # The spot's own visible entry is added and taken off again, which leaves rounding.
            counts = np.maximum(lattice.gaussian_sums(parts.visible, width), 0.0)
            for shrinkage in grid["shrinkage"]:
                choice = {"width": width, "shrinkage": shrinkage}
                yield choice, parts.smoothed(sums, counts, shrinkage * nearest)
