"""Small graphs around spots, padded to one size, and the layers that work on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from spared_benchmark.prediction.types import BlindSlide, NodeBatch

_LONGEST_WAVE = 10_000.0
# As many spots of a hexagonal or square lattice may lie equally far.
_TIES = 12


@dataclass(frozen=True)
class LocalGraphs:
    """The graphs of a batch of ``ego`` neighbourhoods, one for each query, in the queries' order.

    Attributes:
        rows: Nodes of each graph as rows of the batch ``(n_graphs, size)``; 0 where padded.
        known: Which of them are not padding, bool ``(n_graphs, size)``.
        edges: 1 between nodes that are joined, no loops, float ``(n_graphs, size, size)``.
        centre: Place of the query in its graph ``(n_graphs,)``.
    """

    rows: Tensor
    known: Tensor
    edges: Tensor
    centre: Tensor

    @classmethod
    def of(cls, batch: NodeBatch, hops: int) -> LocalGraphs:
        """Join the nodes of each block that are within ``hops`` steps of one another inside it.

        Args:
            batch: Its nodes sorted by block, as they are drawn.
            hops: Steps; the published graph joins more than lattice neighbours where it is above 1.
        """
        block = batch.block
        sizes = torch.bincount(block)
        first = sizes.cumsum(0) - sizes
        node = torch.arange(len(block), device=block.device)
        position = node - first[block]
        shape = (len(sizes), int(sizes.max()))
        rows = torch.zeros(shape, dtype=torch.int64, device=block.device)
        known = torch.zeros(shape, dtype=torch.bool, device=block.device)
        rows[block, position], known[block, position] = node, True
        lattice = batch.lattice()
        found = lattice >= 0
        source = node[:, None].expand_as(lattice)[found]
        edges = torch.zeros((*shape, shape[1]), device=block.device)
        edges[block[source], position[source], position[lattice[found]]] = 1.0
        return cls(rows, known, _within(edges, hops), position[batch.query])


def nearest_spots(slide: BlindSlide, k: int) -> NDArray[np.int32]:
    """Return the ``k`` nearest other spots of each by place, ``(n_spots, k)``, −1 padded.

    As published graphs have it: on a border and beside holes they lie farther off than lattice
    neighbours. Of equally far ones those of the lower row, then column come first.
    """
    n_spots = slide.n_spots
    asked = min(n_spots, k + 1 + _TIES)
    places = slide.xy_um.astype(np.float64)
    found = np.asarray(cKDTree(places).query(places, list(range(1, asked + 1)))[1])
    step = slide.array_rc[found] - slide.array_rc[:, None]
    row, column = step[:, :, 0], step[:, :, 1]
    far = (3 if slide.lattice == "hexagonal" else 1) * row**2 + column**2
    far[found == np.arange(n_spots)[:, None]] = -1  # itself first, to be cut off
    order = np.lexsort((column, row, far))[:, 1 : k + 1]
    nearest = np.full((n_spots, k), -1, dtype=np.int32)
    nearest[:, : order.shape[1]] = np.take_along_axis(found, order, axis=1)
    return nearest


def _within(edges: Tensor, hops: int) -> Tensor:
    loops = torch.eye(edges.shape[1], device=edges.device)
    reached = loops.expand_as(edges)
    for _ in range(hops):
        reached = ((edges + loops) @ reached > 0).float()
    return reached * (1 - loops)


class GcnConv(nn.Module):
    """``D^-1/2 (A + I) D^-1/2 X W + b`` (Kipf and Welling 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return ``(n_graphs, size, outputs)`` of ``nodes`` ``(n_graphs, size, inputs)``."""
        looped = edges + torch.eye(edges.shape[1], device=edges.device)
        scale = looped.sum(dim=2, keepdim=True).rsqrt()
        spread: Tensor = scale * (looped @ (scale * self.linear(nodes))) + self.bias
        return spread


class GraphConv(nn.Module):
    """``X W1 + (A X) W2 + b`` (Morris et al. 2019)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, outputs, bias=False)
        self.around = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return ``(n_graphs, size, outputs)`` of ``nodes`` ``(n_graphs, size, inputs)``."""
        # Narrow first: the outputs are never more than the inputs here.
        result: Tensor = self.own(nodes) + edges @ self.around(nodes) + self.bias
        return result


class TopNode(nn.Module):
    """Self-attention pooling that keeps one node: the best score's, times its tanh."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = GraphConv(width, 1)

    def forward(self, nodes: Tensor, graphs: LocalGraphs) -> Tensor:
        """Return ``(n_graphs, width)`` of ``nodes`` ``(n_graphs, size, width)``."""
        score = self.score(nodes, graphs.edges)[:, :, 0]
        best = score.masked_fill(~graphs.known, -torch.inf).argmax(dim=1, keepdim=True)
        kept = nodes.take_along_dim(best[:, :, None], dim=1)[:, 0]
        return kept * torch.tanh(score.gather(1, best))


def centre_node(nodes: Tensor, graphs: LocalGraphs) -> Tensor:
    """Return the query's row of ``nodes`` ``(n_graphs, size, width)``."""
    return nodes.take_along_dim(graphs.centre[:, None, None], dim=1)[:, 0]


def waves(offset: Tensor, width: int) -> Tensor:
    """Return the sinusoidal code of two-dimensional offsets ``(n, 2)``, ``(n, width)``.

    Half of it is of rows and half of columns, each sines, then cosines, of waves from 2π to
    20,000π long.

    Args:
        offset: In array rows and columns.
        width: A multiple of four.
    """
    n_waves = width // 4
    exponent = torch.arange(n_waves, device=offset.device) / n_waves
    angle = offset[:, :, None].float() * _LONGEST_WAVE**-exponent
    return torch.cat([angle.sin(), angle.cos()], dim=2).flatten(1)
