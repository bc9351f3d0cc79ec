"""The mean of the neighbours that show the gene."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import MeanBased, neighbour_sums
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class NeighbourMean(MeanBased):
    """Fills with the visible neighbours' mean, shrunk to the gene's train mean."""

    card: ClassVar[Card] = Card(
        name="neighbour_mean",
        label="Neighbour mean",
        summary="Fills with the mean of visible neighbours within two lattice steps, "
        "shrunk to the gene's train mean, which stands where none is visible.",
        source="normalised convolution (Knutsson and Westin 1993)",
        year=1993,
        uses=frozenset({"space"}),
    )
    defaults: ClassVar[dict[str, Any]] = {"hops": 2, "mean_weight": 1.0}

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        table = slide.neighbours(self.settings["hops"])
        weight = self.settings["mean_weight"]
        sums = neighbour_sums(slide.values.astype(np.float64), table)
        counts = neighbour_sums(slide.visible.astype(np.float64), table)
        completed: NDArray[np.float64] = (sums + weight * self.gene_mean) / (counts + weight)
        return completed
