"""SpaCKLE's training: a whole cohort resident on the device, neighbourhoods gathered per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spared_benchmark.completion.methods._spackle_layers import Layout, Weights
from spared_benchmark.completion.methods._spackle_network import (
    SpackleNetwork,
    complete_centres,
    encode,
)
from spared_benchmark.training.dropout import Dropout

# What a CPU computes at once for one copy stays in its cache. It must not depend on the number of
# copies: each part draws its own dropout.
_SPOTS_AT_ONCE = 1216


@dataclass(frozen=True, eq=False)
class TrainData:
    """Train slides as tensors.

    Attributes:
        complete: Measured values with medians, or 0, elsewhere ``(n_spots, n_genes)``.
        measured: ``(n_spots, n_genes)``.
        members: Each spot and its neighbours, −1 padded ``(n_spots, n_slots)``.
        hide: Probability that a measured entry of each gene is hidden ``(n_genes,)``.
        image: What stands beside the genes of each spot ``(n_spots, n_features)``, if anything.
    """

    complete: Tensor
    measured: Tensor
    members: Tensor
    hide: Tensor
    image: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ValidationData:
    """Val slides as the completer sees them, with the entries it is judged on.

    Attributes:
        expression: Input ``(n_spots, n_inputs)``.
        members: Neighbourhoods of the spots with a hidden entry ``(n_judged, n_slots)``.
        hidden: Judged entries of their centres ``(n_judged, n_genes)``.
        truth: Values there ``(n_judged, n_genes)``.
    """

    expression: Tensor
    members: Tensor
    hidden: Tensor
    truth: Tensor


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """One batch.

    Attributes:
        members: Rows of the spots that attend to one another, −1 padded ``(n_sets, n_slots)``.
        hidden: Entries set to 0 ``(n_sets, n_slots, n_genes)``.
        entries: How many entries the loss is the mean over ``()``.
    """

    members: Tensor
    hidden: Tensor
    entries: Tensor


class SpackleProblem:
    """Squared error of neighbourhoods some of whose measured entries are hidden.

    Args:
        network: What is trained.
        train: On the network's device.
        validation: On the network's device.
        batch_size: Neighbourhoods of one step.
        loss_over: The mean is over the ``complete`` matrix (the paper) or ``measured`` entries.
        products: Type in which the encoder's products are computed.
    """

    def __init__(
        self,
        network: SpackleNetwork,
        train: TrainData,
        validation: ValidationData,
        batch_size: int,
        loss_over: Literal["complete", "measured"] = "complete",
        products: torch.dtype = torch.float32,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.batch_size = min(batch_size, train.members.shape[0])
        self.loss_over, self.products = loss_over, products

    @property
    def module(self) -> SpackleNetwork:
        """The network."""
        return self.network

    @property
    def views_per_step(self) -> int:
        """Neighbourhoods of one step; each is one view of its centre."""
        return self.batch_size

    def draw(self, generator: torch.Generator) -> Neighbourhoods:
        """Return random neighbourhoods with entries hidden in each of their slots."""
        rows = torch.randperm(self.train.members.shape[0], generator=generator)[: self.batch_size]
        members = self._sets(self.train.members[rows.to(self.train.members.device)])
        present = (members >= 0)[..., None]
        measured = self.train.measured[members.clamp(min=0)] & present
        counted = measured if self.loss_over == "measured" else present.expand_as(measured)
        hidden = measured & (self._uniform(measured.shape, generator) < self.train.hide)
        return Neighbourhoods(members, hidden, counted.sum())

    def parts(
        self, weights: Weights, batch: Neighbourhoods, noise: Sequence[int]
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the mean squared error, padding left out, of a few neighbourhoods at a time."""
        device = batch.members.device
        drop = Dropout(self.network.dropout, noise, device)
        sets, slots = batch.members.shape
        at_once = max(1, _SPOTS_AT_ONCE // slots) if device.type == "cpu" else sets
        pieces = (batch.members.split(at_once), batch.hidden.split(at_once))
        for members, hidden in zip(*pieces, strict=True):
            layout = Layout.packed(members >= 0)
            rows, blank = members.flatten(), hidden.flatten(0, 1)
            if layout.places is not None:
                rows, blank = rows[layout.places], blank[layout.places]
            target = self.train.complete[rows]
            given = target.masked_fill(blank, 0.0)
            if self.train.image is not None:
                given = torch.cat([given, self.train.image[rows]], dim=1)
            errors = encode(weights, given, layout, drop, self.products) - target
            if self.loss_over == "measured":
                errors = errors * self.train.measured[rows]
            yield {"loss": errors.square().sum(dim=(1, 2)) / batch.entries}

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean squared error of one batch for the network itself."""
        batch = self.draw(generator)
        noise = [int(torch.randint(2**62, (), generator=generator))] if self.training else None
        weights = {name: weight[None] for name, weight in self.network.named_parameters()}
        parts = [part["loss"][0] for part in self.parts(weights, batch, noise or ())]
        return {"loss": torch.stack(parts).sum()}

    @property
    def training(self) -> bool:
        """Whether units are dropped."""
        return self.network.training

    def validations(self, weights: Weights) -> dict[str, Tensor]:
        """Return ``val_mse`` over hidden entries of centre spots, filled as in use."""
        completed = complete_centres(
            weights, self.validation.expression, self.validation.members, self.products
        )
        return {"val_mse": self._errors(completed)}

    def validate(self) -> dict[str, float]:
        """Return ``val_mse`` of the network itself."""
        return {"val_mse": float(self.validations(self.network.weights())["val_mse"][0])}

    def _errors(self, completed: Tensor) -> Tensor:
        """Return each copy's mean squared error over the judged entries of the first rows."""
        rows = completed.shape[1]
        hidden, truth = self.validation.hidden[:rows], self.validation.truth[:rows]
        return (completed - truth)[:, hidden].square().mean(dim=1)

    def _sets(self, members: Tensor) -> Tensor:
        """Return the spots that attend to one another: those of each neighbourhood."""
        return members

    def _uniform(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        # Millions of draws per step belong on the device; the CPU generator only seeds them.
        device = self.train.complete.device
        seed = int(torch.randint(2**62, (), generator=generator))
        on_device = torch.Generator(device).manual_seed(seed)
        return torch.rand(shape, generator=on_device, device=device)
