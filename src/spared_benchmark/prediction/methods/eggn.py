"""EGGN: a graph of the slide's spots and of train spots that look like them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.bank import Bank, Metric
from spared_benchmark.prediction.methods._exemplars import OnExemplars
from spared_benchmark.prediction.methods._graph import neighbour_mean
from spared_benchmark.prediction.tiles import tiles_of
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling
from spared_benchmark.registry import Card

_SLOPE = 0.2
_CLOSE = 3
# Each gate opens 12 successive channels of the three that a message joins, so a quarter as many
# gates as the network is wide.
_CHANNELS_A_GATE = 12
_SHARPNESS = 0.1
_PUBLISHED_NEIGHBOURS = 5
# Along each side of a slide that is its own bank.
_CUTS = 2
_NOWHERE = np.zeros((0, 2), dtype=np.int32)
_COMMON: dict[str, Any] = {"feature": "", "region": 0, "faithful": False}


class Eggn(OnExemplars):
    """Exemplar-guided graph network on frozen features alone.

    Windows are the spots of a slide, linked to their lattice neighbours and to their exemplars;
    examples are the distinct exemplars of the slide, linked to the three closest of them in
    features and expression. There is a graph for each slide, so that no other slide changes a
    prediction. The published encoder is a ResNet-18 of ImageNet; exemplars are found by the sum of
    absolute differences.

    In training on one slide alone its quarters are graphs of their own, and examples come from
    outside the quarter's neighbourhood: what a spot expresses could else come back to it through
    distant spots of which it is an example.

    With ``faithful``, besides what `OnExemplars` says, what examples express is read from the last
    channels of their embedding (a fault of the published code; the expression is meant), and of
    the neighbours no more than five are kept. The SpaRED benchmark's further changes, exemplars
    from the query's own slide and edges between slides, are not reproduced.

    Raises:
        ConfigurationError: When ``width`` is no multiple of 4.
    """

    card: ClassVar[Card] = Card(
        name="eggn",
        label="EGGN",
        summary="A graph network on the slide's spots and the train spots that look like them",
        source="Yang et al., Pattern Recognition 2024",
        year=2024,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": {**_COMMON, "width": 512, "depth": 4, "exemplars": 6},
            "small": {**_COMMON, "width": 96, "depth": 4, "exemplars": 6},
            "tiny": {**_COMMON, "width": 16, "depth": 2, "exemplars": 3},
        },
        version=2,
        trained=True,
    )
    metric: ClassVar[Metric] = "manhattan"
    published_features: ClassVar[int] = 512

    @property
    def sampling(self) -> Sampling:
        """Slides, or regions of them in training, with frozen features."""
        return replace(super().sampling, kind="slide", region=self.settings["region"])

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach the graph of each spot, its exemplars and their closest examples.

        ``graph`` ``(n_spots,)``, ``exemplars`` ``(n_spots, exemplars)`` and of each of these the
        examples of the same graph closest to it, ``close`` ``(n_spots, exemplars, 3)``.
        """
        graph = np.zeros(slide.n_spots, dtype=np.int64)
        if self.bank.exclude == "own_neighbourhood" and slide.slide in self.bank.slides:
            graph = tiles_of(slide.xy_um, _CUTS)
        rows = self.exemplars(slide, graph)
        close = np.full((*rows.shape, _CLOSE), -1, dtype=np.int64)
        for number in range(int(graph.max()) + 1):
            inside = (rows >= 0) & (graph == number)[:, None]
            if inside.any():
                distinct, place = np.unique(rows[inside], return_inverse=True)
                close[inside] = self._closest(slide, distinct)[place]
        return {"graph": graph, "exemplars": rows, "close": close}

    def build(self, n_genes: int) -> nn.Module:
        """Return the network."""
        if self.settings["width"] % 4:
            msg = f"eggn: width {self.settings['width']}; it must be a multiple of 4"
            raise ConfigurationError(msg)
        return _Network(self.settings, self.n_features, n_genes)

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries."""
        rows, close = batch.attached["exemplars"], batch.attached["close"]
        graph, known = batch.attached["graph"], rows >= 0
        # A train spot is an example of each graph by itself. Where there is no exemplar, the first
        # is one without any link.
        start = graph[:, None] * len(self.bank.keys)
        distinct, place = torch.unique(rows.clamp(min=0) + start, return_inverse=True)
        closest = torch.full((len(distinct), _CLOSE), -1, device=rows.device)
        closest[place[known]] = torch.where(close < 0, -1, close + start[:, :, None])[known]
        local = torch.searchsorted(distinct, closest).clamp(max=len(distinct) - 1)
        near = batch.lattice()
        near = torch.where(graph[near.clamp(min=0)] == graph[:, None], near, -1)
        if self.settings["faithful"]:
            order = (near < 0).int().argsort(dim=1, stable=True)  # those that there are, first
            near = near.take_along_dim(order, dim=1)[:, :_PUBLISHED_NEIGHBOURS]
        links = _Links(
            near=near,
            exemplars=torch.where(known, place, -1),
            close=torch.where(distinct[local] == closest, local, -1),
        )
        shown = self.shown(rows.device)
        features, expression = (values[distinct % len(values)] for values in shown)
        output: Tensor = self.module(self.standardised(batch), features, expression, links)
        return output[batch.query]

    def _closest(self, slide: BlindSlide, distinct: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the examples closest to each, itself left out, as bank rows; −1 for none."""
        points = torch.cat([values[distinct] for values in self.shown(torch.device("cpu"))], dim=1)
        empty = np.zeros((len(distinct), 0), dtype=np.float32)
        among = Bank(points.numpy(), empty, empty > 0, (), (), _NOWHERE, "none")
        found, _ = among.nearest(slide, points.numpy(), min(_CLOSE + 1, len(distinct)))
        own = found == np.arange(len(distinct))[:, None]
        # Itself last, to be cut off; among more doubles than are wanted it was not found at all.
        others = np.take_along_axis(found, np.argsort(own, axis=1, kind="stable"), 1)[:, :-1]
        closest = np.full((len(distinct), _CLOSE), -1, dtype=np.int64)
        closest[:, : min(_CLOSE, others.shape[1])] = distinct[others[:, :_CLOSE]]
        return closest


@dataclass(frozen=True)
class _Links:
    """Who is linked to whom, as rows, −1 for none.

    Attributes:
        near: Windows beside each window ``(n_windows, ≤ neighbours)``.
        exemplars: Examples of each window ``(n_windows, k)``.
        close: Examples close to each example ``(n_examples, 3)``.
    """

    near: Tensor
    exemplars: Tensor
    close: Tensor


class _Network(nn.Module):
    def __init__(self, settings: dict[str, Any], n_features: int, n_genes: int) -> None:
        super().__init__()
        width, self.faithful = settings["width"], settings["faithful"]
        self.window = nn.Linear(n_features, width, bias=False)
        self.example = nn.Linear(n_features + n_genes, width, bias=False)
        self.post = nn.Sequential(
            nn.LeakyReLU(_SLOPE), nn.Linear(width, width, bias=False), nn.LeakyReLU(_SLOPE)
        )
        self.n_values = min(n_genes, width) if self.faithful else n_genes
        self.value = nn.Linear(self.n_values, width, bias=False)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(settings["depth"]))
        self.pool = _ExemplarPool(width)
        self.head = nn.Linear(width, n_genes)

    def forward(self, seen: Tensor, features: Tensor, expression: Tensor, links: _Links) -> Tensor:
        """Return the output for all windows ``(n_windows, n_genes)``.

        Args:
            seen: Features of the windows ``(n_windows, n_features)``.
            features: Of the examples ``(n_examples, n_features)``.
            expression: Of the examples ``(n_examples, n_genes)``.
            links: Among them.
        """
        windows = self.post(self.window(seen))
        examples = self.post(self.example(torch.cat([features, expression], dim=1)))
        known = examples[:, -self.n_values :] if self.faithful else expression
        values = self.value(known)
        for layer in self.layers:
            windows, examples = layer(windows, examples, values, links)
            windows, examples, values = (
                leaky_relu(nodes, _SLOPE) for nodes in (windows, examples, values)
            )
        output: Tensor = self.head(self.pool(windows, examples, links.exemplars))
        return output


class _Layer(nn.Module):
    """The mean of what a node hears from its like and from the other kind."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near, self.close = _Sage(width), _Sage(width)
        self.bridge = _Bridge(width)

    def forward(
        self, windows: Tensor, examples: Tensor, values: Tensor, links: _Links
    ) -> tuple[Tensor, Tensor]:
        to_windows, to_examples = self.bridge(windows, examples, values, links.exemplars)
        return (
            (self.near(windows, links.near) + to_windows) / 2,
            (self.close(examples, links.close) + to_examples) / 2,
        )


class _Sage(nn.Module):
    """``W₁ · mean of the neighbours + b + W₂ x``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Linear(width, width)
        self.own = nn.Linear(width, width, bias=False)

    def forward(self, nodes: Tensor, neighbours: Tensor) -> Tensor:
        heard: Tensor = self.around(neighbour_mean(nodes, neighbours)) + self.own(nodes)
        return heard


class _Bridge(nn.Module):
    """Gated messages between windows and their exemplars, both ways."""

    def __init__(self, width: int) -> None:
        super().__init__()
        n_gates = 3 * width // _CHANNELS_A_GATE
        self.example, self.window, self.value = (
            nn.Linear(width, width, bias=False) for _ in range(3)
        )
        self.code = nn.Linear(width, n_gates, bias=False)
        self.gates = nn.Linear(n_gates, 2 * n_gates)
        self.window_bias = nn.Parameter(torch.zeros(width))
        self.example_bias = nn.Parameter(torch.zeros(width))
        self.to_windows, self.to_examples = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, windows: Tensor, examples: Tensor, values: Tensor, exemplars: Tensor
    ) -> tuple[Tensor, Tensor]:
        known, rows = exemplars >= 0, exemplars.clamp(min=0)
        source, target, value = self.example(examples), self.window(windows), self.value(values)
        apart = self._coded(source)[rows] - self._coded(target)[:, None]
        gates = self.gates(leaky_relu(apart, _SLOPE)).sigmoid().chunk(2, dim=2)
        source, value, target = source[rows], value[rows], target[:, None]
        for_windows = _gated(gates[0], (source, value, target))
        for_examples = _gated(gates[1], (target, source, value))
        heard = _masked_mean(for_windows, known)
        answered = _mean_by(for_examples[known], rows[known], len(examples))
        return (
            self.to_windows(heard + self.window_bias),
            self.to_examples(answered + self.example_bias),
        )

    def _coded(self, nodes: Tensor) -> Tensor:
        code: Tensor = self.code(leaky_relu(nodes, _SLOPE))
        return code


def _gated(gate: Tensor, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the mean of three parts, each ``(n, k, width)``, channels opened by their gates."""
    opened = gate.repeat_interleave(_CHANNELS_A_GATE, dim=2).chunk(3, dim=2)
    first, second, third = (share * part for share, part in zip(opened, parts, strict=True))
    return (first + second + third) / 3


def _masked_mean(values: Tensor, known: Tensor) -> Tensor:
    """Return the mean over the second axis of those ``known``; 0 where there is none."""
    total = (values * known[:, :, None]).sum(1)
    return total / known.sum(1, keepdim=True).clamp(min=1)


def _mean_by(values: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return the mean of ``values`` ``(n, width)`` in each group; 0 where there is none."""
    total = values.new_zeros((n_groups, values.shape[1])).index_add_(0, groups, values)
    return total / torch.bincount(groups, minlength=n_groups).clamp(min=1)[:, None]


class _ExemplarPool(nn.Module):
    """A window with its exemplars, weighted by channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.window = nn.Linear(width, width)
        self.share = nn.Parameter(torch.tensor(0.1))

    def forward(self, windows: Tensor, examples: Tensor, exemplars: Tensor) -> Tensor:
        own, known = self.window(windows), (exemplars >= 0)[:, :, None]
        shown = examples[exemplars.clamp(min=0)]
        score = (_SHARPNESS * (shown - own[:, None])).float().masked_fill(~known, -torch.inf)
        score = torch.where(known.any(1, keepdim=True), score, 0.0)
        attention = score.softmax(dim=1) * known
        pooled: Tensor = own + self.share * (attention * shown).sum(1)
        return pooled
