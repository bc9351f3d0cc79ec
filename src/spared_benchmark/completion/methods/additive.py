"""Gene mean, spot offset and the neighbours' shrunken residual, in closed form."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import (
    MeanBased,
    neighbour_sums,
    slide_means,
    spot_offsets,
)
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Additive(MeanBased):
    """Fills with mu + b + mean of the neighbours' residuals, each part shrunk.

    With V visible and E = V (Y − mu − b): mu is the slide's gene mean shrunk to the train mean,
    b_i = Σ_j V (Y − mu) / (count_i + offset_weight), and the residual of a spot is
    Σ_neighbours E / (visible neighbours + residual_weight). A spot's own value of the gene enters
    only through mu and b, and only when it is visible.
    """

    card: ClassVar[Card] = Card(
        name="additive",
        label="Additive",
        summary="Slide gene mean plus spot offset plus the shrunken mean residual of the "
        "neighbours within two lattice steps.",
        source="two-way additive model with normalised convolution (Knutsson and Westin 1993)",
        year=1993,
        uses=frozenset({"genes", "space"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "hops": 2,
        "mean_weight": 5.0,
        "offset_weight": 5.0,
        "residual_weight": 6.0,
    }

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        means = slide_means(slide, self.gene_mean, self.settings["mean_weight"])
        base = means + spot_offsets(slide, means, self.settings["offset_weight"])
        residuals = np.where(slide.visible, slide.values - base, 0.0)
        table = slide.neighbours(self.settings["hops"])
        counts = neighbour_sums(slide.visible.astype(np.float64), table)
        smoothed = neighbour_sums(residuals, table) / (counts + self.settings["residual_weight"])
        completed: NDArray[np.float64] = base + smoothed
        return completed
