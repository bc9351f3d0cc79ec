"""stLearn's stSME as released, without an image and with zeros for data."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.lattice_kernel import UNITS
from spared_benchmark.completion.methods._sme_weights import correlations, strongest, weighted_sum
from spared_benchmark.completion.residual import principal_scores
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card
from spared_benchmark.tissue.lattice import offsets

# stLearn's radius in its unit of length, √(row spacing² + column spacing²): Visium, others.
_RADIUS_VISIUM, _RADIUS_LEGACY = 3.0, 1.5
_HOPS = 3


class SmeZeros(GridChosen):
    """Fills absent entries with the weighted mean of a spot's three likest spots, itself included.

    Weights are the correlation of principal components among spots within stLearn's radius, and
    1 for the spot itself, whose own entry is zero. The weight of morphology is 1, as a completer
    is given no image. Where the published evaluation hides entries among medians, it is scored so
    too.
    """

    card: ClassVar[Card] = Card(
        name="sme_zeros",
        label="stSME on zeros",
        summary="stLearn's stSME as released, without morphology: the weighted mean of three "
        "spots, the spot itself included, what is not visible being zero.",
        source="stLearn: Pham et al. 2023; SME_impute0",
        year=2023,
        uses=frozenset({"genes", "space"}),
        version=2,
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {"neighbours": 3, "components": 50}
    tuned: ClassVar[tuple[str, ...]] = ("neighbours",)
    reads_fill: ClassVar[bool] = True

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        expression = slide.filled.astype(np.float64)
        itself = np.arange(slide.n_spots, dtype=np.int32)[:, None]
        others = slide.neighbours(_HOPS)[:, _within_radius(slide)]
        table = np.concatenate([itself, others], axis=1)
        weights = correlations(principal_scores(expression, self.settings["components"]), table)
        weights[:, 0] = 1.0
        for neighbours in grid["neighbours"]:
            kept, strength = strongest(table, weights, int(neighbours))
            total = strength.sum(axis=1, keepdims=True)
            sums = weighted_sum(expression, kept, strength)
            imputed = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
            yield {"neighbours": neighbours}, np.where(expression == 0, imputed, expression)


def _within_radius(slide: Visible) -> NDArray[np.bool_]:
    """Return which columns of the neighbour table lie nearer than stLearn's radius ``(k,)``."""
    unit = UNITS[slide.lattice]
    steps, _ = offsets(slide.lattice, _HOPS)
    radius = _RADIUS_VISIUM if slide.lattice == "hexagonal" else _RADIUS_LEGACY
    inside: NDArray[np.bool_] = np.hypot(*(steps * unit).T) < radius * np.hypot(*unit) - 1e-9
    return inside
