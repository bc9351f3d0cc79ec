"""The network of `ours`: restores hidden entries from a spot and sums over its neighbours."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.completion.spatial_factors import neighbour_sums
from spared_benchmark.completion.visible import Visible

_RINGS = (1, 2)  # lattice steps within which neighbours are summed
_OFFSET_WEIGHT = 5.0
_NEAR_WEIGHT = 2.0  # neighbours that a mean of 0 is worth, for each lattice step
_SCALE_LEAST = 1e-3
_KEPT, _MEAN_DELAY = 0.99, 10.0  # of the mean of weights at each step, and at the first ones
_TILT = (
    1.5  # fall of log hiding rate per standard deviation of the value, where low ones are hidden
)


@dataclass(frozen=True, eq=False)
class Around:
    """Spots of one or more slides as tensors.

    Attributes:
        values: Deviations from the level, 0 wherever not visible ``(n_spots, n_genes)``.
        visible: ``(n_spots, n_genes)``.
        depth: ``(n_spots, 1)``.
        tables: Neighbours within each ring, −1 padded ``(n_spots, k)``.
        standing: How seldom a value like this is missed, in standard deviations
            ``(n_spots, n_genes)``: how far it lies above its level, plus how far the share of spots
            in which its gene is visible lies above that of other genes.
    """

    values: Tensor
    visible: Tensor
    depth: Tensor
    tables: tuple[Tensor, ...]
    standing: Tensor

    @classmethod
    def of(
        cls,
        given: Visible,
        level: NDArray[np.float64],
        depth: NDArray[np.float64],
        device: torch.device,
    ) -> Around:
        """Take what is visible as deviations from ``level`` ``(n_spots, n_genes)``."""
        values = np.where(given.visible, given.values - level, 0.0).astype(np.float32)
        share = given.visible.mean(axis=0)
        common = (share - share.mean()) / max(float(share.std()), _SCALE_LEAST)
        own = (
            values / max(float(values[given.visible].std()), _SCALE_LEAST) if values.any() else 0.0
        )
        standing = np.where(given.visible, own + common, 0.0)
        tables = [given.neighbours(hops).astype(np.int64) for hops in _RINGS]
        arrays = (values, given.visible, depth.astype(np.float32), *tables)
        first, second, third, *others = (torch.from_numpy(one).to(device) for one in arrays)
        low = torch.from_numpy(standing.astype(np.float32)).to(device)
        return cls(first, second, third, tuple(others), low)


class OursNetwork(nn.Module):
    """Two hidden layers from what is visible at and around a spot to all its genes.

    It begins at 0, the level: the last layer starts at 0. Inputs are standardised by what the train
    slides showed once (buffers ``centre`` and ``scale``).
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, genes: int, width: int, dropout: float) -> None:
        super().__init__()
        inputs = (2 + len(_RINGS)) * genes + 3
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.inward = nn.Linear(inputs, width)
        self.between = nn.Linear(width, width)
        self.readout = nn.Linear(width, genes)
        self.drop = nn.Dropout(dropout)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the expected deviation of every gene ``(n_spots, n_genes)``.

        Args:
            inputs: As `inputs_of` ``(n_spots, n_inputs)``.
        """
        given = self.drop((inputs - self.centre) / self.scale)
        first = self.drop(nn.functional.silu(self.inward(given)))
        second = first + self.drop(nn.functional.silu(self.between(first)))
        expected: Tensor = self.readout(second)
        return expected


class Averaged(nn.Module):
    """A network with the running mean of its weights, by which it is judged and used.

    Steps of a constant size end somewhere around the minimum; the mean of where they were is
    nearer to it (Polyak and Juditsky 1992). The mean is state like any other, so a training that
    is stopped goes on as if it had not been.
    """

    steps: Tensor

    def __init__(self, network: OursNetwork) -> None:
        super().__init__()
        self.moving = network
        self.mean = deepcopy(network).requires_grad_(requires_grad=False)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the moving network expects in training, and the mean one in use."""
        expected: Tensor = self.moving(inputs) if self.training else self.mean(inputs)
        return expected

    def follow(self) -> None:
        """Take the moving weights into the mean."""
        self.steps += 1
        kept = torch.minimum(self.steps / (self.steps + _MEAN_DELAY), self.steps.new_tensor(_KEPT))
        with torch.no_grad():
            for mean, now in zip(self.mean.parameters(), self.moving.parameters(), strict=True):
                mean.lerp_(now, 1 - kept)


def inputs_of(
    values: Tensor, visible: Tensor, depth: Tensor, near: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Return the network's inputs ``(n_spots, n_inputs)``.

    Args:
        values: Deviations, 0 wherever not visible ``(n_spots, n_genes)``.
        visible: As numbers ``(n_spots, n_genes)``.
        depth: ``(n_spots, 1)``.
        near: Sums of the neighbours' deviations and of how many are visible, for each ring.
    """
    offset = values.sum(dim=1, keepdim=True) / (visible.sum(dim=1, keepdim=True) + _OFFSET_WEIGHT)
    means = [
        total / (count + _NEAR_WEIGHT * hops)
        for hops, (total, count) in zip(_RINGS, near, strict=True)
    ]
    share = visible.mean(dim=1, keepdim=True)
    return torch.cat([values, visible, *means, depth, share, offset], dim=1)


def all_inputs(around: Around) -> Tensor:
    """Return the inputs of every spot ``(n_spots, n_inputs)``, nothing hidden."""
    visible = around.visible.to(around.values.dtype)
    near = [
        (neighbour_sums(around.values, table), neighbour_sums(visible, table))
        for table in around.tables
    ]
    return inputs_of(around.values, visible, around.depth, near)


class OursProblem:
    """Squared error on hidden entries of random train spots, neighbours hidden in like manner.

    Each spot of a batch has its own share of hidden entries, its neighbours the same; in a third of
    the spots low values are hidden more often than high ones.

    Args:
        network: What is trained.
        train: On the network's device.
        judged: Inputs of val spots, which of their entries are judged, and the deviations there.
        batch_size: Spots of one step.
        hidden: Least and largest share hidden.
    """

    def __init__(
        self,
        network: Averaged,
        train: Around,
        judged: tuple[Tensor, Tensor, Tensor],
        batch_size: int,
        hidden: tuple[float, float],
    ) -> None:
        self.module, self.train, self.judged = network, train, judged
        self.batch_size = min(batch_size, len(train.values))
        self.hidden = hidden

    @property
    def views_per_step(self) -> int:
        """Spots of one step."""
        return self.batch_size

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean squared error of one batch on what is hidden of it."""
        self.module.follow()
        inputs, target, hidden = self.draw(generator)
        errors = (self.module(inputs) - target).square() * hidden
        return {"loss": errors.sum() / hidden.sum().clamp(min=1)}

    def validate(self) -> dict[str, float]:
        """Return the error on the judged entries of val."""
        inputs, hidden, truth = self.judged
        return {"val_mse": float((self.module(inputs) - truth)[hidden].square().mean())}

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs, deviations and what is hidden of random spots.

        Shapes ``(n, n_inputs)``, ``(n, n_genes)`` and ``(n, n_genes)``.
        """
        train = self.train
        device = train.values.device
        rows = torch.randperm(len(train.values), generator=generator)[: self.batch_size].to(device)
        least, most = self.hidden
        share = least + (most - least) * torch.rand((len(rows), 1, 1), generator=generator)
        tilted = torch.rand((len(rows), 1, 1), generator=generator) < 1 / 3
        share, tilted = share.to(device), tilted.to(device)
        outer = torch.cat([rows[:, None], train.tables[-1][rows]], dim=1)
        seen = self._seen(outer, share, tilted, generator)
        values = train.values[outer.clamp(min=0)] * seen
        inner = (outer[:, 1:, None] == train.tables[0][rows][:, None, :]).any(dim=2)
        inner &= outer[:, 1:] >= 0
        weight = inner[..., None].to(values.dtype)
        near = [
            ((values[:, 1:] * weight).sum(dim=1), (seen[:, 1:] * weight).sum(dim=1)),
            (values[:, 1:].sum(dim=1), seen[:, 1:].sum(dim=1)),
        ]
        inputs = inputs_of(values[:, 0], seen[:, 0], train.depth[rows], near)
        hidden = train.visible[rows] & (seen[:, 0] == 0)
        return inputs, train.values[rows], hidden

    def _seen(
        self, members: Tensor, share: Tensor, tilted: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return as numbers what stays visible of neighbourhoods ``(n, slots, n_genes)``."""
        at = members.clamp(min=0)
        there = self.train.visible[at] & (members >= 0)[..., None]
        low = torch.exp(-_TILT * self.train.standing[at])
        rate = torch.where(tilted, share / (1 - share) * low, share / (1 - share))
        uniform = torch.rand(there.shape, generator=generator).to(rate.device)
        return (there & (uniform >= rate / (1 + rate))).to(self.train.values.dtype)


def standardise(network: OursNetwork, inputs: Tensor) -> None:
    """Let a network standardise its inputs as those of ``inputs`` ``(n_spots, n_inputs)``."""
    network.centre.copy_(inputs.mean(dim=0))
    network.scale.copy_(inputs.std(dim=0, correction=0).clamp(min=_SCALE_LEAST))


def weights_of(network: nn.Module, prefix: str) -> dict[str, NDArray[Any]]:
    """Return a network's weights as arrays, each name behind ``prefix``."""
    return {
        prefix + name: value.detach().cpu().numpy().copy()
        for name, value in network.state_dict().items()
    }
