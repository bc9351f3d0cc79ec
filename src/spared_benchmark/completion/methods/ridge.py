"""Ridge regression of every gene on the spot's other genes and its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.closed_form import neighbour_sums
from spared_benchmark.completion.methods._ridge_system import Example, solve_by_gene
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_LIBRARY_FLOOR = 1.0


class Ridge(GridChosen):
    """Fills with the additive model plus a linear prediction of what it leaves, gene by gene.

    Predictors: the spot's visible residuals (0 where a gene is not visible, which fills it with
    its base), which genes are visible, the neighbours' shrunken mean residuals, the spot's offset
    and log library size. The regressions are fitted to entries hidden inside the train slides, a
    different share in every draw, so that a gene's own value is never among its predictors.
    """

    card: ClassVar[Card] = Card(
        name="ridge",
        label="Ridge on genes and neighbours",
        summary="Ridge regression of each gene's residual on the spot's visible genes, on which "
        "genes are visible and on the neighbours' residuals.",
        source="what SAVER (Huang et al. 2018) is for a hidden entry: a penalised regression on "
        "the other genes; ridge: Hoerl and Kennard 1970",
        year=2018,
        uses=frozenset({"genes", "space", "library_size"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "penalty": (300.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0),
        "hidden_fractions": (0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
        "hops": 2,
        "residual_weight": 6.0,
    }
    tuned: ClassVar[tuple[str, ...]] = ("penalty",)

    def _learn(self, train: Visible, training: Training) -> None:
        examples = [
            self._example(train, fraction, np.random.default_rng([training.seed, draw]))
            for draw, fraction in enumerate(self.settings["hidden_fractions"])
        ]
        stacked = np.concatenate([example.predictors for example in examples])
        self.centre = stacked.mean(axis=0, dtype=np.float64)
        spread = stacked.std(axis=0, dtype=np.float64)
        self.scale = np.where(spread > 0, spread, 1.0)
        scaled = [
            replace(example, predictors=self._scaled(example.predictors)) for example in examples
        ]
        penalties = self._grid()["penalty"]
        coefficients = solve_by_gene(scaled, penalties)
        self._coefficients = dict(zip(penalties, coefficients, strict=True))

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        additive, predictors = self._additive_and_predictors(slide)
        scaled = self._scaled(predictors).astype(np.float64)
        for penalty in grid["penalty"]:
            yield {"penalty": penalty}, additive + scaled @ self._coefficients[penalty].T

    def state(self) -> dict[str, NDArray[Any]]:
        """Return means, choice, ``centre`` and ``scale`` of predictors and the ``coefficients``.

        The coefficients are ``(n_genes, n_predictors)``, the last one constant.
        """
        learnt = {"centre": self.centre, "scale": self.scale}
        coefficients = self._coefficients[self.chosen["penalty"]]
        return {**super().state(), **learnt, "coefficients": coefficients}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what `state` gives."""
        super().load_state(state)
        self.centre, self.scale = np.asarray(state["centre"]), np.asarray(state["scale"])
        self._coefficients = {self.chosen["penalty"]: np.asarray(state["coefficients"])}

    def _example(self, train: Visible, fraction: float, generator: np.random.Generator) -> Example:
        hidden = train.visible & (generator.random(train.values.shape) < fraction)
        shown = train.without(hidden)
        additive, predictors = self._additive_and_predictors(shown)
        target = np.where(hidden, train.values - additive, 0.0).astype(np.float32)
        return Example(predictors, hidden, target)

    def _additive_and_predictors(
        self, given: Visible
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the additive model ``(n_spots, n_genes)`` and the predictors.

        The predictors are float32 ``(n_spots, 3 n_genes + 2)``, not yet scaled.
        """
        parts = Residuals.of(given, self.gene_mean)
        table = given.neighbours(self.settings["hops"])
        sums, counts = neighbour_sums(parts.values, table), neighbour_sums(parts.visible, table)
        near = sums / (counts + self.settings["residual_weight"])
        columns = [parts.values, parts.visible, near, parts.offset, _depth(given)]
        return parts.base + near, np.concatenate(columns, axis=1).astype(np.float32)

    def _scaled(self, predictors: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = (predictors - self.centre) / self.scale
        constant = np.ones((len(predictors), 1))
        return np.concatenate([scaled, constant], axis=1).astype(np.float32)


def _depth(given: Visible) -> NDArray[np.float64]:
    """Return log2 library size less its median on the slide, 0 where withheld ``(n_spots, 1)``."""
    library = np.log2(np.maximum(given.library_size, _LIBRARY_FLOOR))
    depth = np.zeros((given.n_spots, 1))
    for code in given.slides:
        known = (given.slide == code) & ~np.isnan(library)
        if known.any():
            depth[known, 0] = library[known] - np.median(library[known])
    return depth
