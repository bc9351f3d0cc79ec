"""Hist2ST: convolutions within patches, attention over the slide, a graph of neighbours."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import normalize

from spared_benchmark.prediction.methods._graph import (
    nearest_in_array,
    neighbour_mean,
    with_self,
)
from spared_benchmark.prediction.methods._joined_steps import joined_steps
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

_NARROWER = 8  # channels before the features over those after
_NEAREST, _LONGEST = 4, 2.0


def _shape(**sizes: int) -> dict[str, Any]:
    honest = {"self_loop": True, "own_token": True}
    fixed = {"copies": 5, "kernel": 5, "patch": 7, "dropout": 0.2}
    return {**SLIDE_SETTINGS, **honest, **fixed, **sizes}


class Hist2St(DistilledPredictor):
    """ConvMixer, transformer and mean-aggregating graph layers, whose outputs an LSTM joins.

    The width of everything follows from the patch's side: ``(side // 7)² · 4`` at size ``paper``,
    1024 for the publication's 112 pixels and 4096 for the 224 of the SpaRED benchmark (which also
    has heads of 128: 893 M parameters). 128 positions hold a Visium slide; the publication's 64
    do not.

    As published, a spot is not its own neighbour and only the graph's outputs reach the head: its
    own patch counts by way of its neighbours alone, and what is particular to it is lost. Settings,
    beside those of `DistilledPredictor`:

    * ``self_loop``: a spot is its own neighbour in the graph;
    * ``own_token``: the LSTM's sequence begins with the spot's token as it enters the graph. This
      is ours and needs no parameter: a self loop alone adds one spot in seven to a mean.

    ``faithful``: neither of both, and for a graph the four nearest spots by array row and column,
    at most 2 away: on a hexagonal array the four diagonal ones. The default has all neighbours of
    the lattice. Where there is none, the mean is 0 and not undefined as published.
    """

    card: ClassVar[Card] = Card(
        name="hist2st",
        label="Hist2ST",
        summary="ConvMixer on patches, a transformer over the slide, a graph of lattice neighbours",
        source="Zeng et al., Briefings in Bioinformatics 2022",
        year=2022,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": {
                **_shape(channels=32, mixers=2, depth=8, heads=16, head_width=64, layers=4),
                "image_size": 112,
                "checkpoint": True,
            },
            "small": {
                **_shape(channels=32, mixers=2, depth=4, heads=4, head_width=16, layers=4),
                "image_size": 28,
            },
            "tiny": {
                **_shape(channels=16, mixers=1, depth=1, heads=2, head_width=16, layers=2),
                "image_size": 14,
                "patch": 4,
                "copies": 1,
                "dropout": 0.0,
            },
        },
        trained=True,
    )

    def build(self, n_genes: int) -> DistilledModule:
        """Return the network."""
        return _Network(self.settings, n_genes)

    def neighbours(self, batch: NodeBatch) -> Tensor:
        """Return the graph ``(n_spots, k)``, −1 padded."""
        if self.faithful:
            return nearest_in_array(batch.array_rc, _NEAREST, _LONGEST)
        around = batch.lattice()
        return with_self(around) if self.settings["self_loop"] else around


class _Network(DistilledModule):
    def __init__(self, settings: dict[str, Any], n_genes: int) -> None:
        super().__init__()
        channels, self.remember = settings["channels"], not settings["checkpoint"]
        self.own_token = settings["own_token"] and not settings["faithful"]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, settings["patch"], stride=settings["patch"]),
            nn.Dropout(settings["dropout"]),
        )
        mixers = (_Mixer(channels, settings["kernel"]) for _ in range(settings["mixers"]))
        self.mixers = nn.ModuleList(mixers)
        self.narrow = nn.Conv2d(channels, channels // _NARROWER, 1)
        width = (settings["image_size"] // settings["patch"]) ** 2 * (channels // _NARROWER)
        self.place = PlaceTables(settings["positions"], width, blank=not settings["faithful"])
        shape = Shape.of({**settings, "width": width, "hidden": width})
        self.transformer = SlideTransformer(shape, remember=self.remember)
        self.graph = nn.ModuleList(_GraphLayer(width) for _ in range(settings["layers"]))
        self.join = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_genes)
        self.counts = ZinbHead(width, n_genes)
        self.trust = trust_layers(width)

    def features(self, images: Tensor, layout: Layout) -> Tensor:
        maps = self.stem(images)
        for mixer in self.mixers:
            maps = again(mixer, maps, remember=self.remember)
        tokens = self.narrow(maps).flatten(1) + self.place(layout.array_rc)
        tokens = self.transformer(tokens, layout.mask)
        steps = [tokens] if self.own_token else []
        for layer in self.graph:
            tokens = layer(tokens, layout.neighbours)
            steps.append(tokens)
        return joined_steps(self.join, steps)


class _Mixer(nn.Module):
    """Two depthwise convolutions beside a way around them, then one over channels."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        depthwise: list[nn.Module] = []
        for _ in range(2):
            depthwise += [
                nn.Conv2d(channels, channels, kernel, padding="same", groups=channels),
                nn.BatchNorm2d(channels),
                nn.GELU(),
            ]
        self.depthwise = nn.Sequential(*depthwise)
        self.pointwise = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.GELU(), nn.BatchNorm2d(channels)
        )

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.pointwise(maps + self.depthwise(maps))
        return output


class _GraphLayer(nn.Module):
    """The mean over neighbours, one matrix, a rectifier, rows of length 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(width, width, bias=False)
        nn.init.xavier_uniform_(self.weight.weight)

    def forward(self, tokens: Tensor, neighbours: Tensor) -> Tensor:
        return normalize(self.weight(neighbour_mean(tokens, neighbours)).relu())
