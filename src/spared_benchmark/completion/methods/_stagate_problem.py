"""STAGATE's training: every step sees all spots of one slide."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from spared_benchmark.completion.methods._masked_data import Judged, MaskedData


class SlideProblem:
    """A loss over whole slides, drawn one at a time in proportion to their spots.

    Args:
        network: Graph auto-encoder.
        train: Train slides.
        judged: Val slides.
    """

    def __init__(self, network: nn.Module, train: MaskedData, judged: Judged) -> None:
        self.module, self.judged = network, judged
        self.slides = train.by_slide()
        self.n_spots = torch.tensor([float(len(slide.values)) for slide in self.slides])

    @property
    def views_per_step(self) -> int:
        """Spots of a slide, on average over the draws."""
        return round(float(self.n_spots.square().sum() / self.n_spots.sum()))

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss of one slide."""
        drawn = int(torch.multinomial(self.n_spots, 1, generator=generator))
        return {"loss": self.slide_loss(self.slides[drawn], generator)}

    def validate(self) -> dict[str, float]:
        """Return ``val_mse`` over the selection entries."""
        return {"val_mse": self.judged.error(self.expected(self.judged.data))}

    @abstractmethod
    def slide_loss(self, slide: MaskedData, generator: torch.Generator) -> Tensor:
        """Return the loss of one slide."""

    @abstractmethod
    def expected(self, data: MaskedData) -> Tensor:
        """Return what the network gives for every entry ``(n_spots, n_genes)``."""
