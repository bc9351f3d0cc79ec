"""A Gaussian process over the slide for every gene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.closed_form import neighbour_sums
from spared_benchmark.completion.lattice_kernel import LatticeGrid
from spared_benchmark.completion.lattice_process import ExponentialCovariance, regress
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training


class Gp(GridChosen):
    """Fills with base plus the expected residual given the gene's visible residuals.

    A gene's residuals have the covariance s exp(−d / length) + (1 − s) [d = 0] up to a factor.
    Its signal share s is ``strength`` · r · exp(1 / length), within 0 and ``largest_share``, where
    r is the correlation of residuals one pitch apart on the train slides: at a strength of 1 the
    covariance agrees with that correlation.
    """

    card: ClassVar[Card] = Card(
        name="gp",
        label="Gaussian process",
        summary="Slide gene mean plus spot offset plus a Gaussian process per gene with "
        "exponential covariance over the slide, given the gene's visible entries.",
        source="Rasmussen and Williams 2006, equation 2.25; kriging: Matheron 1963",
        year=1963,
        uses=frozenset({"genes", "space"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "length": (1.0, 2.0, 4.0, 8.0),
        "strength": (1.0, 1.5, 2.0),
        "largest_share": 0.9,
        "tolerance": 3e-3,
        "rounds": 200,
    }
    tuned: ClassVar[tuple[str, ...]] = ("length", "strength")

    def _learn(self, train: Visible, training: Training) -> None:  # noqa: ARG002 - closed form
        parts = Residuals.of(train, self.gene_mean)
        table = train.neighbours(1)
        products = parts.values * neighbour_sums(parts.values, table)
        pairs = parts.visible * neighbour_sums(parts.visible, table)
        covariance = products.sum(axis=0) / np.maximum(pairs.sum(axis=0), 1)
        squares = np.square(parts.values).sum(axis=0)
        variance = squares / np.maximum(parts.visible.sum(axis=0), 1)
        self.correlation = np.divide(
            covariance, variance, out=np.zeros_like(variance), where=variance > 0
        )

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        parts = Residuals.of(slide, self.gene_mean)
        lattice = LatticeGrid(slide)
        for length in grid["length"]:
            covariance = ExponentialCovariance(lattice, length)
            for strength in grid["strength"]:
                share = strength * self.correlation * np.exp(1 / length)
                signal = regress(
                    covariance,
                    parts.values,
                    parts.visible,
                    np.clip(share, 0.0, self.settings["largest_share"]),
                    tolerance=self.settings["tolerance"],
                    rounds=self.settings["rounds"],
                )
                yield {"length": length, "strength": strength}, parts.base + signal

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the means, the choice and ``correlation`` ``(n_genes,)``."""
        return {**super().state(), "correlation": self.correlation}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take means, choice and correlation."""
        super().load_state(state)
        self.correlation = np.asarray(state["correlation"], dtype=np.float64)
