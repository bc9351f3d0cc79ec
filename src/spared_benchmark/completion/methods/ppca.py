"""Probabilistic principal components with missing data, the loadings shared by all slides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.closed_form import slide_means
from spared_benchmark.completion.factors import Data, Factors, first_factors, fit_factors
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training


class Ppca(GridChosen):
    """Fills with the expected value given a spot's visible genes under x = m + W z + e.

    Loadings W and each gene's noise are fitted to the train slides. On a slide that is completed
    its means, and the loadings with the train loadings as their prior, are fitted to its visible
    entries: ``train_spots`` is how many spots that prior is worth. 0 refits the loadings to the
    slide from the train loadings on; a million leaves them as they were on train.
    """

    card: ClassVar[Card] = Card(
        name="ppca",
        label="Probabilistic PCA",
        summary="Principal components fitted to visible entries by EM on the train slides, "
        "adapted to each slide's own visible entries.",
        source="Tipping and Bishop 1999; missing data: Ilin and Raiko 2010",
        year=1999,
        uses=frozenset({"genes"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "rank": (1, 2, 3, 5, 8, 12),
        "train_spots": (0, 100, 300, 1000, 1_000_000),
        "mean_weight": 5.0,
        "noise_weight": 50.0,
        "train_rounds": 60,
        "rounds": 30,
    }
    tuned: ClassVar[tuple[str, ...]] = ("rank", "train_spots")

    def _learn(self, train: Visible, training: Training) -> None:  # noqa: ARG002 - closed form
        data, _ = self._data(train)
        rounds, noise_weight = self.settings["train_rounds"], self.settings["noise_weight"]
        self._factors = {
            int(rank): fit_factors(data, first_factors(data, int(rank)), rounds, 0, noise_weight)[0]
            for rank in self._grid()["rank"]
        }

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        data, means = self._data(slide)
        rounds, noise_weight = self.settings["rounds"], self.settings["noise_weight"]
        for rank in grid["rank"]:
            start = self._factors[int(rank)]
            for train_spots in grid["train_spots"]:
                _, expected = fit_factors(data, start, rounds, train_spots, noise_weight)
                yield {"rank": rank, "train_spots": train_spots}, means + expected

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the means, ``loadings`` ``(n_genes, rank)`` and ``noise`` ``(n_genes,)``."""
        factors = self._factors[int(self.chosen["rank"])]
        return {**super().state(), "loadings": factors.loadings, "noise": factors.noise}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take means, loadings and noise."""
        super().load_state(state)
        factors = Factors(np.asarray(state["loadings"]), np.asarray(state["noise"]))
        self._factors = {int(self.chosen["rank"]): factors}

    def _data(self, given: Visible) -> tuple[Data, NDArray[np.float64]]:
        means = slide_means(given, self.gene_mean, self.settings["mean_weight"])
        values = np.where(given.visible, given.values - means, 0.0)
        slide = np.unique(given.slide, return_inverse=True)[1]
        return Data(values, given.visible.astype(np.float64), slide), means
