"""Each gene's mean over the train slides."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import MeanBased
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class GeneMean(MeanBased):
    """Fills with the gene's mean over visible entries of train slides."""

    card: ClassVar[Card] = Card(
        name="gene_mean",
        label="Gene mean",
        summary="Fills with the gene's mean over measured entries of the train slides.",
        source="sample mean",
        year=2024,
        kind="control",
    )

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return np.broadcast_to(self.gene_mean, slide.values.shape)
