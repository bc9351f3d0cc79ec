"""What networks that learn from hidden entries are given: deviations, and what is visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import InputError

# Visible entries that the train mean of a gene, and an offset of 0, are worth.
MEAN_WEIGHT = OFFSET_WEIGHT = 5.0


@dataclass(frozen=True, eq=False)
class MaskedData:
    """Spots of one or more slides as tensors.

    Attributes:
        values: Deviations from a level, such as the slide gene means, 0 wherever not visible
            ``(n_spots, n_genes)``.
        visible: ``(n_spots, n_genes)``.
        members: Each spot and its lattice neighbours, −1 padded ``(n_spots, n_slots)``.
        slide: Number of each spot's slide, from 0 ``(n_spots,)``.
    """

    values: Tensor
    visible: Tensor
    members: Tensor
    slide: Tensor

    @classmethod
    def of(
        cls, given: Visible, level: NDArray[np.float64], hops: int, device: torch.device
    ) -> MaskedData:
        """Take what is visible as deviations from ``level`` ``(n_spots, n_genes)``."""
        values = np.where(given.visible, given.values - level, 0.0).astype(np.float32)
        itself = np.arange(given.n_spots)[:, None]
        members = np.concatenate([itself, given.neighbours(hops)], axis=1).astype(np.int64)
        slide = np.unique(given.slide, return_inverse=True)[1].astype(np.int64)
        arrays = (values, given.visible, members, slide)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))

    def spread(self) -> Tensor:
        """Return the root mean square of each gene's visible values ``(n_genes,)``."""
        count = self.visible.sum(dim=0).clamp(min=1)
        return (self.values.square().sum(dim=0) / count).sqrt()

    def by_slide(self) -> list[MaskedData]:
        """Return the slides one by one, members numbered within them."""
        parts = []
        for number in range(int(self.slide.max()) + 1):
            rows = torch.nonzero(self.slide == number)[:, 0]
            place = torch.full((len(self.slide) + 1,), -1, device=rows.device)
            place[rows] = torch.arange(len(rows), device=rows.device)
            # The last place stands for −1, no spot.
            members = place[self.members[rows]]
            parts.append(
                MaskedData(self.values[rows], self.visible[rows], members, self.slide[rows])
            )
        return parts


@dataclass(frozen=True, eq=False)
class Judged:
    """Val slides as a network sees them, with the entries it is judged on.

    Attributes:
        data: What is visible.
        hidden: ``(n_spots, n_genes)``.
        truth: Deviations from the same means at hidden entries ``(n_spots, n_genes)``.
    """

    data: MaskedData
    hidden: Tensor
    truth: Tensor

    @classmethod
    def of(
        cls,
        name: str,
        selection: Selection,
        level: NDArray[np.float64],
        hops: int,
        device: torch.device,
    ) -> Judged:
        """Take the selection entries as deviations from ``level`` ``(n_spots, n_genes)``.

        Raises:
            InputError: When no entry is hidden for selection.
        """
        if not selection.hidden.any():
            msg = f"{name}: no entry is hidden for selection; give val slides with measured entries"
            raise InputError(msg)
        truth = np.where(selection.hidden, selection.truth - level, 0.0).astype(np.float32)
        return cls(
            MaskedData.of(selection.visible, level, hops, device),
            torch.from_numpy(selection.hidden).to(device),
            torch.from_numpy(truth).to(device),
        )

    def error(self, completed: Tensor) -> float:
        """Return the mean squared error of deviations ``(n_spots, n_genes)`` on hidden entries."""
        return float((completed - self.truth)[self.hidden].square().mean())


def offset_of(values: Tensor, visible: Tensor) -> Tensor:
    """Return each spot's shrunken mean deviation ``(n_spots, 1)``; absent values are 0."""
    return values.sum(dim=1, keepdim=True) / (visible.sum(dim=1, keepdim=True) + OFFSET_WEIGHT)


def network_input(values: Tensor, visible: Tensor, offset: Tensor) -> Tensor:
    """Return deviations less the spot offset beside what is visible ``(n_spots, 2 n_genes)``."""
    shown = visible.to(values.dtype)
    return torch.cat([shown * (values - offset), shown], dim=1)


def hide(visible: Tensor, least: float, most: float, generator: torch.Generator) -> Tensor:
    """Draw which visible entries a network does not get to see ``(n_spots, n_genes)``.

    Args:
        visible: ``(n_spots, n_genes)``.
        least: Smallest share hidden; every spot has its own share.
        most: Largest share.
        generator: On the CPU.
    """
    share = least + (most - least) * torch.rand((len(visible), 1), generator=generator)
    drawn = torch.rand(visible.shape, generator=generator) < share
    return visible & drawn.to(visible.device)
