"""HGGEP: three levels of a convolutional network, each over the slide, joined by a hypergraph."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from spared_benchmark.prediction.methods._graph import (
    gathered,
    hypergraph_mean,
    nearest_in_array,
    present,
)
from spared_benchmark.prediction.methods._joined_steps import joined_steps
from spared_benchmark.prediction.methods._levels import Levels
from spared_benchmark.prediction.methods._slide_predictor import (
    SLIDE_SETTINGS,
    DistilledModule,
    DistilledPredictor,
    Layout,
    trust_layers,
)
from spared_benchmark.prediction.methods._slide_transformer import (
    PlaceTables,
    Shape,
    SlideTransformer,
    again,
)
from spared_benchmark.prediction.methods._zinb import ZinbHead
from spared_benchmark.prediction.types import NodeBatch
from spared_benchmark.registry import Card

_HALVINGS = 32  # of the patch's side over that of the last maps
_NEAREST, _LONGEST = 8, 2.0
_ROWS_AT_ONCE = 512
_LEVELS = 3
_DROPPED = 0.5


def _shape(**sizes: Any) -> dict[str, Any]:
    fixed = {"weights": "none", "associates": 4, "copies": 5, "dropout": 0.2}
    return {**SLIDE_SETTINGS, **fixed, **sizes}


class Hggep(DistilledPredictor):
    """Edges, ShuffleNet, three transformers, and a hypergraph of neighbours that look alike.

    At size ``paper`` the width is ``64 · 4²``, of patches of 112 pixels. Settings, beside those of
    `DistilledPredictor`: ``associates``, how many lattice neighbours a spot is associated with,
    those nearest in features.

    ``faithful``: the four associates are those of the highest sum of adjacency and feature
    distance, each over its row's total, so the least similar of eight neighbours by array row and
    column. That sum also weighs hyperedges, but is read by place in a list four times too long,
    so that each takes another's. Half of the hidden values are dropped at prediction too. Two
    things differ from publication, so that a prediction can be repeated: spots are listed by array
    row and column and not as the file has them, and at prediction a spot's place decides which
    values are dropped.
    """

    card: ClassVar[Card] = Card(
        name="hggep",
        label="HGGEP",
        summary="Three levels of a ShuffleNet over the slide, joined by a hypergraph and an LSTM",
        source="Li et al., Briefings in Bioinformatics 2024",
        year=2024,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": {
                **_shape(depth=4, heads=16, head_width=64, lstm_layers=4, level_channels=64),
                "repeats": (4, 8, 4),
                "channels": (24, 48, 96, 192, 1024),
                "weights": "pretrained",
                "image_size": 112,
                "checkpoint": True,
            },
            "small": {
                **_shape(depth=2, heads=4, head_width=16, lstm_layers=4, level_channels=64),
                "repeats": (2, 4, 2),
                "channels": (24, 48, 96, 192, 256),
                "image_size": 32,
            },
            "tiny": {
                **_shape(depth=1, heads=2, head_width=16, lstm_layers=1, level_channels=32),
                "repeats": (1, 1, 1),
                "channels": (8, 16, 16, 32, 64),
                "image_size": 16,
                "copies": 0,
                "dropout": 0.0,
            },
        },
        trained=True,
    )

    def build(self, n_genes: int) -> DistilledModule:
        """Return the network.

        Raises:
            MissingInputError: When pretrained weights cannot be fetched.
        """
        return _Network(self.settings, n_genes)

    def neighbours(self, batch: NodeBatch) -> Tensor:
        """Return the spots among which associates are chosen, −1 padded."""
        if self.faithful:
            return nearest_in_array(batch.array_rc, _NEAREST, _LONGEST)
        return batch.lattice()


class _Network(DistilledModule):
    def __init__(self, settings: dict[str, Any], n_genes: int) -> None:
        super().__init__()
        self.remember, self.associates = not settings["checkpoint"], settings["associates"]
        self.faithful: bool = settings["faithful"]
        side = -(-settings["image_size"] // _HALVINGS)
        width = settings["level_channels"] * side**2
        self.levels = Levels(settings, width)
        self.place = PlaceTables(settings["positions"], width, blank=not self.faithful)
        shape = Shape.of({**settings, "width": width, "hidden": width})
        self.transformers = nn.ModuleList(
            SlideTransformer(shape, remember=self.remember) for _ in range(_LEVELS)
        )
        self.hypergraph = _Hypergraph(width, faithful=self.faithful)
        self.join = nn.LSTM(width, width, settings["lstm_layers"], batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_genes)
        self.counts = ZinbHead(width, n_genes)
        self.trust = trust_layers(width)

    def features(self, images: Tensor, layout: Layout) -> Tensor:
        levels = again(self.levels, images, remember=self.remember)
        place = self.place(layout.array_rc)
        steps = [
            transformer(level + place, layout.mask)
            for transformer, level in zip(self.transformers, levels.unbind(dim=1), strict=True)
        ]
        total = torch.stack(steps).sum(dim=0)
        with torch.no_grad():
            members, weight = self._association(total.float(), layout)
        steps.append(self.hypergraph(total, members, weight, layout.array_rc))
        return joined_steps(self.join, steps)

    def _association(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Tensor | None]:
        if self.faithful:
            members, score = published_associates(tokens, layout.neighbours, self.associates)
            return members, published_weight(score, layout.array_rc)
        return nearest_associates(tokens, layout.neighbours, self.associates), None


class _Hypergraph(nn.Module):
    """Two hypergraph convolutions with a way around them."""

    def __init__(self, width: int, *, faithful: bool) -> None:
        super().__init__()
        hidden, self.faithful = width // 2, faithful
        self.narrow = nn.Linear(width, hidden, bias=False)
        self.narrow_bias = nn.Parameter(torch.zeros(hidden))
        self.norm = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, width, bias=False)
        self.widen_bias = nn.Parameter(torch.zeros(width))

    def forward(
        self, tokens: Tensor, members: Tensor, weight: Tensor | None, array_rc: Tensor
    ) -> Tensor:
        hidden = hypergraph_mean(self.narrow(tokens), members, weight) + self.narrow_bias
        hidden = self.norm(hidden.relu())
        if self.faithful and not self.training:
            hidden = hidden * kept_by_place(array_rc, hidden.shape[1]) / (1 - _DROPPED)
        hidden = dropout(hidden, _DROPPED, training=self.training)
        return tokens + hypergraph_mean(self.widen(hidden), members, weight) + self.widen_bias


def nearest_associates(tokens: Tensor, neighbours: Tensor, k: int) -> Tensor:
    """Return the ``k`` neighbours nearest in features, ``(n_spots, k)``, −1 padded."""
    far = (gathered(tokens, neighbours) - tokens[:, None]).square().sum(dim=2)
    far = far.masked_fill(neighbours < 0, torch.inf)
    chosen = far.topk(min(k, neighbours.shape[1]), dim=1, largest=False).indices
    return neighbours.take_along_dim(chosen, dim=1)


def published_associates(tokens: Tensor, neighbours: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` spots of the highest score and their scores, both ``(n_spots, k)``.

    Any spot of the slide may be one, in principle: the score is adjacency plus feature distance,
    each over its row's total.
    """
    members, scores, n_spots = [], [], len(tokens)
    for start in range(0, n_spots, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        far = torch.cdist(tokens[rows], tokens, compute_mode="donot_use_mm_for_euclid_dist")
        score = far / far.sum(dim=1, keepdim=True).clamp(min=torch.finfo(far.dtype).tiny)
        around = neighbours[rows]
        share = (around >= 0) / present(around).clamp(min=1)
        score.scatter_add_(1, around.clamp(min=0), share.to(score.dtype))
        best = score.topk(min(k, n_spots), dim=1)
        members.append(best.indices)
        scores.append(best.values)
    return torch.cat(members), torch.cat(scores)


def published_weight(scores: Tensor, array_rc: Tensor) -> Tensor:
    """Return what is read as the weight of each hyperedge, ``(n_spots,)``.

    The scores of all choices are one list, spot after spot, and hyperedge ``e`` reads its entry
    ``e``: a score of spot ``e // k``.
    """
    row, column = array_rc.long().unbind(dim=1)
    order = torch.argsort(row * (column.max() + 1) + column)
    weight = torch.empty_like(scores[:, 0])
    weight[order] = scores[order].flatten()[: len(scores)]
    return weight


def kept_by_place(array_rc: Tensor, width: int) -> Tensor:
    """Return which half of values is kept, by a hash of places, bool ``(n_spots, width)``."""
    row, column = array_rc.long().unbind(dim=1)
    channel = torch.arange(width, device=array_rc.device)
    mixed = (row * 73_856_093 + column * 19_349_663)[:, None] + channel * 83_492_791
    for _ in range(2):
        mixed = ((mixed ^ (mixed >> 15)) * 668_265_261) & 0xFFFFFFFF
    return (mixed >> 16) & 1 == 1
