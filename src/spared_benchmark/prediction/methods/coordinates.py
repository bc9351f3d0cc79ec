"""Where a spot lies on its slide, and nothing of what it looks like."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spared_benchmark.prediction.linear import RidgePredictor
from spared_benchmark.prediction.types import NodeBatch
from spared_benchmark.registry import Card

_SETTINGS: dict[str, Any] = {
    "degree": 3,
    "components": 0,
    "penalties": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
}


class Coordinates(RidgePredictor):
    """Ridge on a polynomial of the place on the slide.

    It scores well where sections of one block are laid down alike: what an image model must beat
    before its score says anything of the image.
    """

    card: ClassVar[Card] = Card(
        name="coordinates",
        label="Coordinates only",
        summary="Ridge on a cubic polynomial of array row and column, scaled on each slide",
        source="control",
        year=2025,
        uses=frozenset({"genes", "space"}),
        kind="control",
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": _SETTINGS},
        weighs=True,
        exemptions=frozenset({"closed_form"}),
    )

    def inputs(self, batch: NodeBatch) -> Tensor:
        """Return the monomials of degree 1 to ``degree``, ``(n_queries, 9)`` for degree 3."""
        row, column = batch.place[batch.query].unbind(dim=1)
        degree = self.settings["degree"]
        exponents = [(i, total - i) for total in range(1, degree + 1) for i in range(total, -1, -1)]
        return torch.stack([row**i * column**j for i, j in exponents], dim=1)
