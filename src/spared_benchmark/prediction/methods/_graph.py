"""Operators of graph networks on padded tables of neighbours, in plain torch.

A table ``neighbours`` is int ``(n_nodes, k)`` with rows of the nodes, −1 where there is none. The
weights of a layer are a network's own; here is what its nodes exchange.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS_AT_ONCE = 512


def present(neighbours: Tensor) -> Tensor:
    """Return how many neighbours each node has, ``(n_nodes, 1)``, as float32."""
    return (neighbours >= 0).sum(dim=1, keepdim=True).float()


def with_self(neighbours: Tensor) -> Tensor:
    """Return the table with each node as its own first neighbour, ``(n_nodes, 1 + k)``."""
    own = torch.arange(len(neighbours), device=neighbours.device, dtype=neighbours.dtype)
    return torch.cat([own[:, None], neighbours], dim=1)


def gathered(values: Tensor, neighbours: Tensor) -> Tensor:
    """Return what neighbours hold, ``(n_nodes, k, d)``, 0 where there is none."""
    # A row of zeros stands for −1: nothing but the table is kept for the gradient.
    padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
    return padded[torch.where(neighbours >= 0, neighbours, len(values))]


def neighbour_sum(values: Tensor, neighbours: Tensor) -> Tensor:
    """Return the sum over neighbours ``(n_nodes, d)``: GraphConv is ``W₁ x + W₂ sum + b``."""
    return gathered(values, neighbours).sum(dim=1)


def neighbour_mean(values: Tensor, neighbours: Tensor) -> Tensor:
    """Return the mean over neighbours, 0 without any: SAGE is ``W₁ mean + b + W₂ x``."""
    return neighbour_sum(values, neighbours) / present(neighbours).clamp(min=1)


def hypergraph_mean(values: Tensor, members: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return ``D⁻¹ H B⁻¹ Hᵀ x`` of hyperedges that are numbered as nodes are.

    Each hyperedge takes the mean of its nodes, each node the mean of its hyperedges. A node of
    none gets 0.

    Args:
        values: ``(n_nodes, d)``.
        members: Hyperedges of each node ``(n_nodes, k)``, −1 padded.
        weight: Of each hyperedge ``(n_nodes,)``, 1 when not given. Weights enter ``D`` alone, so
            that a constant stays one only where those of a node sum to their number.
    """
    n_nodes, k = members.shape
    edge = torch.where(members >= 0, members, n_nodes).flatten().long()
    node = torch.arange(n_nodes, device=values.device).repeat_interleave(k)
    total = values.new_zeros(n_nodes + 1, values.shape[1]).index_add(0, edge, values[node])
    size = values.new_zeros(n_nodes + 1).index_add(
        0, edge, torch.ones_like(edge, dtype=values.dtype)
    )
    mean = (total / size.clamp(min=1)[:, None])[:n_nodes]
    each = torch.ones_like(values[:, 0]) if weight is None else weight.to(values.dtype)
    degree = neighbour_sum(each[:, None], members)
    safe = torch.where(degree > 0, degree, 1.0)
    return neighbour_sum(mean, members) / safe


def nearest_in_array(array_rc: Tensor, k: int, longest: float) -> Tensor:
    """Return the ``k`` nearest other nodes by array row and column, ``(n_nodes, k)``, −1 padded.

    As published graphs have it. On a hexagonal array rows and columns are not in proportion: the
    two neighbours of the same row are 2 columns away, farther than the four diagonal ones. Of
    equally far nodes those of the lower row, then column come first.

    Args:
        array_rc: Row and column of each node, integers ``(n_nodes, 2)``.
        k: How many.
        longest: Nodes farther away, in rows and columns, are none.
    """
    place, n_nodes = array_rc.long(), len(array_rc)
    rows = []
    for start in range(0, n_nodes, _ROWS_AT_ONCE):
        step = place - place[start : start + _ROWS_AT_ONCE, None]
        far = step.square().sum(dim=2)
        # One integer orders by distance, then by the step itself, whatever the nodes' order.
        key = (far << 40) + ((step[:, :, 0] + (1 << 19)) << 20) + step[:, :, 1] + (1 << 19)
        own = torch.arange(len(step), device=place.device)
        outside = far > longest**2
        outside[own, start + own] = True
        key = key.masked_fill(outside, torch.iinfo(torch.int64).max)
        value, index = key.topk(min(k, n_nodes), dim=1, largest=False)
        rows.append(torch.where(value < torch.iinfo(torch.int64).max, index, -1))
    table = torch.cat(rows)
    return torch.nn.functional.pad(table, (0, k - table.shape[1]), value=-1)
