"""Each gene's median over the train slides."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import MeanBased
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training


class GeneMedian(MeanBased):
    """Fills with the gene's median over visible entries of train slides.

    A gene that is nowhere visible gets the mean of all visible entries.
    """

    card: ClassVar[Card] = Card(
        name="gene_median",
        label="Gene median",
        summary="Fills with the gene's median over measured entries of the train slides.",
        source="sample median",
        year=2024,
        kind="control",
    )

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        super()._fit(train, selection, training)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a gene with no visible entry
            medians = np.nanmedian(np.where(train.visible, train.values, np.nan), axis=0)
        self.gene_median = np.where(np.isnan(medians), self.gene_mean, medians)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return ``gene_mean`` and ``gene_median`` ``(n_genes,)`` each."""
        return {**super().state(), "gene_median": self.gene_median}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take both."""
        super().load_state(state)
        self.gene_median = np.asarray(state["gene_median"], dtype=np.float64)

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return np.broadcast_to(self.gene_median, slide.values.shape)
