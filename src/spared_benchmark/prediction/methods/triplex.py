"""TRIPLEX: the target patch, the tiles around it and the whole slide, fused by attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.encoders import PatchEncoder
from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.methods._place_code import PlaceCode, cells_around
from spared_benchmark.prediction.methods._slide_rows import in_batch
from spared_benchmark.prediction.methods._spot_and_tiles import OnSpotAndTiles
from spared_benchmark.prediction.predictor import masked_mse, start_at_mean, train_mean
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import EncoderSettings

# Shares of the loss of a single stream: to the labels, and to what the fusion says.
_TO_LABELS, _TO_FUSION = 0.7, 0.3
_COMMON: dict[str, Any] = {
    "feature": "",
    "features": (),
    "network": "resnet18",
    "weights": "none",
    "trainable": True,
    "faithful": False,
}


def _own(
    side: int, options: Mapping[str, Any], width: int, heads: tuple[int, int, int]
) -> dict[str, Any]:
    image = {"image_size": side, "options": dict(options)}
    shape = {"width": width, "depths": (1, 1, 1), "heads": heads, "ratios": (2, 2, 2)}
    return {**_COMMON, **image, **shape}


_SMALL = {"layers": (1, 1, 1, 1), "channels": (24, 32, 48, 64), "output_stride": 8}
_TINY = {**_SMALL, "channels": (8, 8, 16, 16)}
_PAPER = {
    **_COMMON,
    "weights": "pretrained",
    "image_size": 224,
    "options": {},
    "width": 512,
    "depths": (1, 3, 3),
    "heads": (4, 16, 16),
    "ratios": (4, 2, 2),
}


class Triplex(OnSpotAndTiles):
    """Three streams and their fusion, each with a head.

    The target stream is an image network's tokens of the patch; the neighbour stream attends among
    frozen features of the tiles around it, with a learned bias by relative place; the slide stream
    attends among frozen features of all spots of the slide, placed by a convolution. The fusion
    asks the tokens of the first two with the spot's token of the third. The loss is the fusion's
    error, and of each other head its error and its distance from the fusion's output.

    A batch is a section of a slide, whose spots are predicted, and everything within ``halo`` steps
    of it, which the slide stream sees: with a halo wider than a capture area the whole slide, but
    for islands of tissue that no lattice step leads to.

    Settings of its sizes: ``feature`` and ``features`` as `OnSpotAndTiles` has them (of the tiles
    5 by 5 in the publication, over a window of five patches), ``network``, ``weights``,
    ``options``, ``image_size`` and ``trainable`` as a patch model's (the publication starts from
    weights learnt on histology, given as a file), ``width`` of tokens, ``depths``, ``heads`` and
    ``ratios`` (of the perceptrons) of fusion, slide and neighbour stream, ``tiles`` and ``halo``;
    ``faithful``: outputs are cut off at 0 and start at random. Tiles beyond the image's edge are
    seen as the encoder sees them: there is no telling them from others in features.

    The published convolution keeps the extent of the first slide for all; here each has its own.
    """

    card: ClassVar[Card] = Card(
        name="triplex",
        label="TRIPLEX",
        summary="Patch, tiles around it and whole slide, fused by attention",
        source="Chung et al., CVPR 2024",
        year=2024,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": {**_PAPER, "tiles": 4, "halo": 128},
            "small": {**_own(32, _SMALL, 96, (4, 4, 4)), "tiles": 2, "halo": 128},
            "tiny": {**_own(16, _TINY, 32, (2, 2, 2)), "tiles": 1, "halo": 0},
        },
        trained=True,
        weighs=True,
    )

    @property
    def sampling(self) -> Sampling:
        """Sections of a slide with what lies around them, pixels and features."""
        return Sampling(
            kind="slide",
            tiles=self.settings["tiles"],
            halo=self.settings["halo"],
            image_size=self.settings["image_size"],
            features=super().sampling.features,
            augment="each",
        )

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network; unless ``faithful`` all heads start at the mean of ``train``."""
        super().prepare(train)
        if not self.settings["faithful"]:
            for head in (self.head, *self._network.heads):
                start_at_mean(cast("nn.Linear", head), train_mean(train))

    def build(self, n_genes: int) -> nn.Module:
        """Return the network.

        Raises:
            ConfigurationError: When the tiles of a spot form no square.
            MissingInputError: When pretrained weights cannot be fetched.
        """
        side = round(self.n_tiles**0.5)
        if side**2 != self.n_tiles:
            msg = f"triplex: encoder {self.encoders[1]!r} gives {self.n_tiles} tiles; no square"
            raise ConfigurationError(msg)
        names = ("network", "weights", "options", "image_size")
        wanted = EncoderSettings(**{name: self.settings[name] for name in names})
        encoder = PatchEncoder(wanted, trainable=self.settings["trainable"])
        return _Network(encoder, self.widths, side, self.settings, n_genes)

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach the spots in the cells around each, which the convolution is over."""
        return {"row": np.arange(slide.n_spots), "around": cells_around(slide.array_rc)}

    @property
    def _network(self) -> _Network:
        return cast("_Network", self.module)

    def outputs(self, batch: NodeBatch) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what the fusion says of the queries, and what the three streams say."""
        around = in_batch(batch.attached["around"], batch.attached["row"])
        slide = self._network.slide(self.spots_of(batch), around)[batch.query]
        pixels = batch.images()[batch.query]
        fusion, streams = self.module(pixels, self.tiles_of(batch), slide)
        if self.settings["faithful"]:
            return fusion.relu(), tuple(one.relu() for one in streams)
        return fusion, streams

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the fusion's error and, in ``loss``, those of the other heads beside it."""
        y, weight = batch.labels()
        fusion, streams = self.outputs(batch)
        total = mse = masked_mse(fusion, y, weight)
        for stream in streams:
            total = total + _TO_LABELS * masked_mse(stream, y, weight)
            total = total + _TO_FUSION * masked_mse(stream, fusion, weight)
        return {"loss": total, "fusion_mse": mse.detach()}

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return what the fusion says of the queries."""
        return self.outputs(batch)[0]


class _Network(nn.Module):
    def __init__(
        self,
        encoder: PatchEncoder,
        widths: tuple[int, int],
        side: int,
        settings: Mapping[str, Any],
        n_genes: int,
    ) -> None:
        super().__init__()
        width = settings["width"]
        layers = [
            nn.ModuleList([_Layer(width, heads, ratio) for _ in range(depth)])
            for depth, heads, ratio in zip(
                settings["depths"], settings["heads"], settings["ratios"], strict=True
            )
        ]
        self.target = _PatchTokens(encoder, width)
        self.slide = _SlideTokens(widths[0], width, layers[1])
        self.neighbours = _TileTokens(widths[1], width, side, settings["heads"][2], layers[2])
        self.fusion, self.norm = layers[0], nn.LayerNorm(width)
        self.heads = nn.ModuleList([nn.Linear(width, n_genes) for _ in range(3)])
        self.head = nn.Linear(width, n_genes)

    def forward(
        self, pixels: Tensor, tiles: Tensor, slide: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the outputs of the fusion and of the streams, each ``(n_queries, n_genes)``."""
        target, neighbours = self.target(pixels), self.neighbours(tiles)
        fused = self.norm(self._asked(slide, target) + self._asked(slide, neighbours))
        seen = (target.mean(dim=1), neighbours.mean(dim=1), slide)
        streams = tuple(head(one) for head, one in zip(self.heads, seen, strict=True))
        return self.head(fused), streams

    def _asked(self, slide: Tensor, tokens: Tensor) -> Tensor:
        """Return what the slide's token finds among ``tokens``, by the same layers for both."""
        token = slide[:, None]
        for layer in self.fusion:
            token = layer(token, tokens)
        return token[:, 0]


class _PatchTokens(nn.Module):
    def __init__(self, encoder: PatchEncoder, width: int) -> None:
        super().__init__()
        if not hasattr(encoder.network, "forward_features"):
            name = encoder.settings.network
            msg = f"triplex: {name} gives no tokens of places; give a network of timm (resnet18)"
            raise ConfigurationError(msg)
        self.encoder = encoder
        self.narrow = nn.Linear(cast("int", encoder.network.num_features), width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return ``(n, n_places, width)`` of uint8 patches."""
        images = normalised(pixels, self.encoder.mean, self.encoder.std)
        tokens = cast("Any", self.encoder.network).forward_features(images)
        if tokens.ndim > 3:  # a convolutional network's map
            tokens = tokens.flatten(2).transpose(1, 2)
        narrow: Tensor = self.narrow(tokens)
        return narrow


class _SlideTokens(nn.Module):
    """All spots attend to all; after the first layer they are placed."""

    def __init__(self, inputs: int, width: int, layers: nn.ModuleList) -> None:
        super().__init__()
        self.narrow, self.layers, self.norm = nn.Linear(inputs, width), layers, nn.LayerNorm(width)
        self.place = PlaceCode(width)

    def forward(self, spots: Tensor, around: Tensor) -> Tensor:
        """Return ``(n_nodes, width)``."""
        tokens = self.narrow(spots)
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens[None])[0]
            if number == 0:
                tokens = self.place(tokens, around)
        normed: Tensor = self.norm(tokens)
        return normed


class _TileTokens(nn.Module):
    """The tiles of a spot attend to one another, with a bias by relative place and head."""

    def __init__(
        self, inputs: int, width: int, side: int, heads: int, layers: nn.ModuleList
    ) -> None:
        super().__init__()
        self.narrow, self.layers, self.norm = nn.Linear(inputs, width), layers, nn.LayerNorm(width)
        places = [(row, column) for row in range(side) for column in range(side)]
        span = 2 * side - 1
        steps = [
            [(a - c + side - 1) * span + (b - d + side - 1) for c, d in places] for a, b in places
        ]
        self.register_buffer("steps", torch.tensor(steps), persistent=False)
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(heads, span**2)) for _ in layers])

    def forward(self, tiles: Tensor) -> Tensor:
        """Return ``(n, n_tiles, width)``."""
        tokens = self.narrow(tiles)
        for layer, bias in zip(self.layers, self.bias, strict=True):
            tokens = layer(tokens, bias=bias[:, self.steps])
        normed: Tensor = self.norm(tokens)
        return normed


class _Layer(nn.Module):
    """Attention to a context, or among the tokens themselves, and a perceptron; both pre-normed."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        inner = ratio * width
        self.perceptron = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(
        self, tokens: Tensor, context: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        normed = self.before(tokens)
        seen = normed if context is None else self.before(context)
        query = self._split(self.query(normed))
        key, value = (self._split(one) for one in self.key_value(seen).chunk(2, dim=2))
        bias = None if bias is None else bias.to(query.dtype)
        found = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        changed: Tensor = tokens + self.perceptron(self.between(tokens))
        return changed

    def _split(self, values: Tensor) -> Tensor:
        split: Tensor = values.unflatten(2, (self.heads, -1)).transpose(1, 2)
        return split
