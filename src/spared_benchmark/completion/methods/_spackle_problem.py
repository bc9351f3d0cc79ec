"""SpaCKLE's training: a whole cohort resident on the device, neighbourhoods gathered per step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spared_benchmark.completion.methods._spackle_network import SpackleNetwork, complete_centres


@dataclass(frozen=True, eq=False)
class TrainData:
    """Train slides as tensors.

    Attributes:
        complete: Measured values with medians elsewhere ``(n_spots, n_genes)``.
        measured: ``(n_spots, n_genes)``.
        members: Each spot and its neighbours, −1 padded ``(n_spots, n_slots)``.
    """

    complete: Tensor
    measured: Tensor
    members: Tensor


@dataclass(frozen=True, eq=False)
class ValidationData:
    """Val slides as the completer sees them, with the entries it is judged on.

    Attributes:
        expression: Input ``(n_spots, n_genes)``.
        members: Neighbourhoods of the spots with a hidden entry ``(n_judged, n_slots)``.
        hidden: Judged entries of their centres ``(n_judged, n_genes)``.
        truth: Values there ``(n_judged, n_genes)``.
    """

    expression: Tensor
    members: Tensor
    hidden: Tensor
    truth: Tensor


class SpackleProblem:
    """MSE on the complete matrix of a neighbourhood with 30 % of its measured entries hidden."""

    def __init__(
        self,
        network: SpackleNetwork,
        train: TrainData,
        validation: ValidationData,
        batch_size: int,
        hidden_fraction: float,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.batch_size = min(batch_size, train.members.shape[0])
        self.hidden_fraction = hidden_fraction

    @property
    def module(self) -> SpackleNetwork:
        """The network."""
        return self.network

    @property
    def views_per_step(self) -> int:
        """Neighbourhoods of one step; each is one view of its centre."""
        return self.batch_size

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean squared error over all spots and genes of a batch, padding left out."""
        rows = torch.randperm(self.train.members.shape[0], generator=generator)[: self.batch_size]
        members = self.train.members[rows.to(self.train.members.device)]
        present = members >= 0
        slots = members.clamp(min=0)
        target = self.train.complete[slots]
        hidden = self.train.measured[slots] & self._drawn(target, generator)
        completed = self.network(target.masked_fill(hidden, 0.0), ~present)
        errors = (completed - target).square().mean(dim=2)
        return {"loss": (errors * present).sum() / present.sum()}

    def validate(self) -> dict[str, float]:
        """Return ``val_mse`` over hidden entries of centre spots, filled as in use."""
        judged = self.validation
        completed = complete_centres(self.network, judged.expression, judged.members)
        errors = (completed - judged.truth)[judged.hidden].square()
        return {"val_mse": float(errors.mean())}

    def _drawn(self, like: Tensor, generator: torch.Generator) -> Tensor:
        # Millions of draws per step belong on the device; the CPU generator only seeds them.
        seed = int(torch.randint(2**62, (), generator=generator))
        on_device = torch.Generator(like.device).manual_seed(seed)
        drawn = torch.rand(like.shape, generator=on_device, device=like.device)
        return drawn < self.hidden_fraction
