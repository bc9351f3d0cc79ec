"""The colours and stain densities of a patch, and nothing of its structure."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from spared_benchmark.prediction.linear import RidgePredictor
from spared_benchmark.prediction.types import NodeBatch, Sampling
from spared_benchmark.registry import Card

# Optical densities of haematoxylin, eosin and a residual stain in red, green and blue
# (Ruifrok and Johnston 2001).
_STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
_SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "components": 0,
    "penalties": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
}


class ColourRidge(RidgePredictor):
    """Ridge on mean and deviation of colours and stain densities over the patch."""

    card: ClassVar[Card] = Card(
        name="colour_ridge",
        label="Colours only",
        summary="Ridge on mean and deviation of RGB and of haematoxylin and eosin densities",
        source="control; stain densities: Ruifrok and Johnston 2001",
        year=2001,
        uses=frozenset({"genes", "image"}),
        kind="control",
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": _SETTINGS},
        weighs=True,
        exemptions=frozenset({"closed_form"}),
    )

    @property
    def sampling(self) -> Sampling:
        """Small patches, as they are."""
        return Sampling(image_size=self.settings["image_size"])

    def inputs(self, batch: NodeBatch) -> Tensor:
        """Return the ten statistics, ``(n_queries, 10)``."""
        return colour_statistics(batch.images()[batch.query])


def colour_statistics(pixels: Tensor) -> Tensor:
    """Return mean and deviation of R, G, B, haematoxylin and eosin, ``(n, 10)``.

    Args:
        pixels: uint8 ``(n, 3, side, side)``.
    """
    colours = pixels.flatten(2).float() / 255
    density = -torch.log10((pixels.flatten(2).float() + 1) / 256)
    stains = torch.tensor(_STAINS, device=pixels.device)
    unmixing = torch.linalg.inv(stains / stains.norm(dim=1, keepdim=True))
    # density = amountsᵀ · stains, so amounts = stains⁻ᵀ · density; the residual stain is left out.
    amounts = torch.einsum("cs,ncp->nsp", unmixing, density)[:, :2]
    values = torch.cat([colours, amounts], dim=1)
    return torch.cat([values.mean(dim=2), values.std(dim=2, correction=0)], dim=1)
