"""Tables of a slide's rows, attached to its spots, as rows of a batch that holds some of them."""

from __future__ import annotations

import torch
from torch import Tensor


def in_batch(table: Tensor, own: Tensor) -> Tensor:
    """Return ``table`` with rows of the batch, −1 where the spot is not in it.

    Args:
        table: Rows of the slide ``(n_nodes, k)``; −1 for none.
        own: Row of the slide of each node, all of one slide ``(n_nodes,)``.
    """
    ordered, order = torch.sort(own)
    place = torch.searchsorted(ordered, table).clamp(max=len(own) - 1)
    found = (ordered[place] == table) & (table >= 0)
    return torch.where(found, order[place], -1)
