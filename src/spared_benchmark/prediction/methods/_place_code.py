"""A code of place by convolution over the spots of a slide, without a dense grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_STEPS = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])


def cells_around(array_rc: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the spots of the 3 by 3 cells around each spot, row by row; −1 for an empty cell.

    A cell is an array row and column; where rows and columns of all spots differ by an even number
    or all by an odd one, as on a hexagonal lattice, every second column of a row is no site, and
    two columns are one cell.

    Args:
        array_rc: Of one slide ``(n_spots, 2)``.

    Returns:
        ``(n_spots, 9)``; the fifth is the spot itself (or another at its place).
    """
    row, column = array_rc.astype(np.int64).T
    parity = (row + column) % 2
    cell = np.column_stack([row, column // 2 if (parity == parity[0]).all() else column])
    cell -= cell.min(axis=0) - 1
    width = cell[:, 1].max() + 2
    key = cell @ (width, 1)
    order = np.argsort(key, kind="stable")
    wanted = key[:, None] + _STEPS @ (width, 1)
    place = np.searchsorted(key[order], wanted).clip(max=len(key) - 1)
    found = order[place]
    return np.where(key[found] == wanted, found, -1)


class PlaceCode(nn.Module):
    """Tokens and a depth-wise 3 by 3 convolution of them over the slide, added (Chu et al. 2023).

    It sees the edge of the tissue, and so tells where a token is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        bound = len(_STEPS) ** -0.5
        self.weight = nn.Parameter(torch.empty(len(_STEPS), width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, tokens: Tensor, around: Tensor) -> Tensor:
        """Return ``tokens`` ``(n, width)`` with the code; ``around`` ``(n, 9)``, −1 for none."""
        coded = tokens + self.bias
        # By tap: all at once would hold nine copies of the tokens.
        for weight, rows in zip(self.weight, around.unbind(dim=1), strict=True):
            coded = coded + weight * torch.where((rows >= 0)[:, None], tokens[rows], 0.0)
        return coded
