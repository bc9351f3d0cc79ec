"""What a method gives to the training loop."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Problem(Protocol):
    """A network with the data it is trained and validated on.

    A problem draws nothing from hidden state: its batches come from the generator it is given, so
    that a training continues from a checkpoint as if it had never stopped.
    """

    @property
    def module(self) -> nn.Module:
        """The network that is trained; on the device where the problem holds its data."""
        ...

    @property
    def views_per_step(self) -> int:
        """Spot views of one step: the budget in which methods are compared."""
        ...

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return scalar terms of one batch, among them ``loss``, which is minimised.

        Args:
            generator: On the CPU; every draw (batch, augmentation, noise) comes from it.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Return metrics of the validation slides, among them ``val_mse`` (lower is better).

        The loop calls it with the module in evaluation mode and without gradients.
        """
        ...
