"""What a method gives to the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from spared_benchmark.training.observer import Artifacts

Batch = TypeVar("Batch")


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


@runtime_checkable
class Divisible(Protocol):
    """A problem whose batches can be computed in parts, where they do not fit into memory whole."""

    @property
    def divisible(self) -> bool:
        """Whether this one's can."""
        ...

    def parts(
        self, generator: torch.Generator, count: int
    ) -> Iterator[tuple[dict[str, Tensor], float]]:
        """Yield the terms of each of ``count`` parts of one batch, with its share of the batch.

        The terms times their shares add up to those of the batch whole, and so do gradients. A
        part is differentiated before the next is computed, so that only one is held.
        """
        ...


@runtime_checkable
class Showable(Protocol):
    """A problem that can show what its network does on val slides."""

    def shown(self) -> Artifacts:
        """Return tables and pictures by name; in evaluation mode and without gradients."""
        ...


Weights = Mapping[str, Tensor]


class StackedProblem(Problem, Protocol[Batch]):
    """A problem whose network can be trained in several copies at once, one per learning rate.

    The copies start alike and see the same batches; they differ in learning rate and in what they
    draw alone, such as dropout. Their weights are stacked, copies first, under the names of
    ``module.named_parameters()``; a stacked network has parameters only, no buffers.
    """

    def draw(self, generator: torch.Generator) -> Batch:
        """Return a batch for all copies; every draw comes from ``generator``."""
        ...

    def parts(
        self, weights: Weights, batch: Batch, noise: Sequence[int]
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the terms of the batch's loss in one or more parts that add up to it.

        Each term is a tensor ``(n_copies,)`` that depends on a copy's own weights alone. A part is
        differentiated before the next is asked for, so that only one is held.

        Args:
            weights: Of the copies, stacked.
            batch: From `draw`.
            noise: A seed for each copy, for what it draws alone.
        """
        ...

    def validations(self, weights: Weights) -> dict[str, Tensor]:
        """Return validation metrics ``(n_copies,)``, among them ``val_mse``; without gradients."""
        ...
