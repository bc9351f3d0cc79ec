"""The statistics that closed-form completers share, over visible entries only.

Notation of the residual model: ``mu`` the gene's mean on the slide, shrunk to its mean over train
slides; ``b`` the spot's offset; what remains is averaged over neighbours (normalised convolution:
Knutsson and Westin 1993).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.visible import Selection, Visible

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_Floats = NDArray[np.float64]


def train_means(train: Visible) -> _Floats:
    """Return each gene's mean over visible entries ``(n_genes,)``.

    A gene that is nowhere visible gets the mean of all visible entries, or 0 without any.
    """
    counts = train.visible.sum(axis=0)
    sums = train.values.sum(axis=0, dtype=np.float64)
    overall = sums.sum() / max(int(counts.sum()), 1)
    means: _Floats = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return means


def slide_means(given: Visible, prior: _Floats, weight: float) -> _Floats:
    """Return each entry's gene mean on its slide, shrunk to ``prior`` ``(n_spots, n_genes)``.

    Args:
        given: Spots of one or more slides.
        prior: Means over train slides ``(n_genes,)``.
        weight: How many visible entries the prior is worth.
    """
    means = np.empty(given.values.shape)
    for code in given.slides:
        of_slide = given.slide == code
        counts = given.visible[of_slide].sum(axis=0)
        sums = given.values[of_slide].sum(axis=0, dtype=np.float64)
        means[of_slide] = (sums + weight * prior) / (counts + weight)
    return means


def spot_offsets(given: Visible, means: _Floats, weight: float) -> _Floats:
    """Return each spot's mean deviation from ``means``, shrunk to 0 ``(n_spots, 1)``."""
    deviations = np.where(given.visible, given.values - means, 0.0)
    counts = given.visible.sum(axis=1, keepdims=True)
    offsets: _Floats = deviations.sum(axis=1, keepdims=True) / (counts + weight)
    return offsets


def neighbour_sums(values: _Floats, table: NDArray[np.int32]) -> _Floats:
    """Return the sum over each spot's neighbours ``(n_spots, n_genes)``.

    Args:
        values: ``(n_spots, n_genes)``.
        table: Neighbour table ``(n_spots, k)``, −1 padded.
    """
    padded = np.vstack([values, np.zeros((1, values.shape[1]))])
    sums = np.zeros_like(values)
    for column in table.T:  # one gather per direction: (n_spots, k, n_genes) is never held
        sums += padded[column]
    return sums


class MeanBased(Completer):
    """A completer whose only learnt state is the gene means over train slides."""

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:  # noqa: ARG002 - closed form
        self.gene_mean = train_means(train)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return ``gene_mean`` ``(n_genes,)``."""
        return {"gene_mean": self.gene_mean}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take ``gene_mean``."""
        self.gene_mean = np.asarray(state["gene_mean"], dtype=np.float64)


class Stateless(Completer):
    """A completer that learns nothing."""

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        """Learn nothing."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return nothing: there is no state."""
        return {}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take nothing."""
