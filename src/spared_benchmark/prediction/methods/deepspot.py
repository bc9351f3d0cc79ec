"""DeepSpot: one network for a spot, its tiles and its neighbours, pooled as sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, dropout

from spared_benchmark.errors import ConfigurationError, nearest
from spared_benchmark.prediction.methods._spot_and_tiles import OnSpotAndTiles
from spared_benchmark.prediction.predictor import masked_mse, train_mean
from spared_benchmark.prediction.types import NodeBatch, Sampling, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import Size

_LOSSES = ("mse", "cosine", "mse_cosine")


def _own(width: int, copies: int, rate: float) -> dict[str, Any]:
    named = {"feature": "", "features": ()}
    return {**named, "width": width, "copies": copies, "dropout": rate, "hops": 1, "loss": "mse"}


class DeepSpot(OnSpotAndTiles):
    """Deep sets over frozen features.

    A layer φ, of which there are copies whose median is taken, sees the spot, each of its tiles
    (added) and each of its neighbours (the largest of each feature; 0 where there are none). A
    layer ρ, of which there are copies whose mean is taken, turns the three into genes.

    Settings of its sizes: ``feature`` and ``features`` as `OnSpotAndTiles` has them (both encoders
    must give as many features, which φ is shared by), ``width`` of φ, ``copies`` and ``dropout`` of
    both layers, ``hops`` (how far neighbours lie), ``loss``: ``mse``, ``cosine`` (of each spot's
    genes) or their sum ``mse_cosine``, on targets standardised over the train entries that count.
    So the output starts near the train mean.

    Trained here as every model is: Adam without weight decay, where the publication has AdamW.
    """

    card: ClassVar[Card] = Card(
        name="deepspot",
        label="DeepSpot",
        summary="Deep sets over frozen features of a spot, its tiles and its neighbours",
        source="Nonchev et al. 2025",
        year=2025,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": _own(width=512, copies=10, rate=0.3),
            "small": _own(width=64, copies=5, rate=0.3),
            "tiny": _own(width=16, copies=3, rate=0.0),
        },
        trained=True,
    )

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        loss = self.settings["loss"]
        if loss not in _LOSSES:
            msg = f"deepspot: loss {loss!r}{nearest(loss, _LOSSES)}; one of {', '.join(_LOSSES)}"
            raise ConfigurationError(msg)
        # A cosine is of a spot, and parts of a batch are weighed by their entries.
        self.loss_is_a_mean = loss == "mse"

    @property
    def sampling(self) -> Sampling:
        """Features of the spot and of its neighbourhood."""
        return Sampling(kind="ego", hops=self.settings["hops"], features=super().sampling.features)

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network and take mean and deviation of each gene over train."""
        super().prepare(train)
        mean = train_mean(train)
        with torch.no_grad():
            for name, values in (("mean", mean), ("scale", _deviation(train, mean))):
                getattr(self._network, name).copy_(torch.from_numpy(values))

    def build(self, n_genes: int) -> nn.Module:
        """Return the network.

        Raises:
            ConfigurationError: When the encoders differ in the number of their features.
        """
        spots, tiles = self.widths
        if spots != tiles:
            first, second = self.encoders
            msg = (
                f"deepspot: encoder {first!r} gives {spots} features of a spot and {second!r} "
                f"{tiles} of a tile; one network sees both, so name encoders that give as many"
            )
            raise ConfigurationError(msg)
        shape = (self.settings["width"], self.settings["copies"], self.settings["dropout"])
        return _DeepSets(spots, *shape, n_genes)

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the loss on standardised targets, and both of its terms."""
        y, weight = batch.labels()
        output, target = self._standard(batch), (y - self._network.mean) / self._network.scale
        mse = masked_mse(output, target, weight)
        similarity = cosine_similarity(output * weight, target * weight, dim=1)
        cosine = 1 - similarity.mean()
        terms = {"mse": mse, "cosine": cosine, "mse_cosine": mse + cosine}
        parts = {"standard_mse": mse.detach(), "cosine": cosine.detach()}
        return {"loss": terms[self.settings["loss"]], **parts}

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries, in units of the target."""
        network = self._network
        return network.mean + network.scale * self._standard(batch)

    @property
    def _network(self) -> _DeepSets:
        return cast("_DeepSets", self.module)

    def _standard(self, batch: NodeBatch) -> Tensor:
        output: Tensor = self.module(
            self.spots_of(batch), self.tiles_of(batch), batch.block, batch.query
        )
        return output


class _Copies(nn.Module):
    """Linear layers side by side, each with a dropout of its own on what it is given or gives."""

    def __init__(self, inputs: int, outputs: int, copies: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs, copies).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        """Return ``(copies, n, outputs)`` of ``(n, inputs)`` or ``(copies, n, inputs)``."""
        return values @ self.weight + self.bias.T[:, None]


class _DeepSets(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, width: int, copies: int, rate: float, n_genes: int) -> None:
        super().__init__()
        self.rate = rate
        self.phi = _Copies(inputs, width, copies)
        self.head = _Copies(3 * width, n_genes, copies)
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("scale", torch.ones(n_genes))

    def forward(self, spots: Tensor, tiles: Tensor, block: Tensor, query: Tensor) -> Tensor:
        seen = self._phi(spots)
        parts = self._phi(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2]).sum(dim=1)
        around = _largest(seen.masked_fill(query[:, None], 0.0), block, len(tiles))
        whole = torch.cat([seen[query], parts, around], dim=1)
        each = whole.expand(len(self.head.weight), *whole.shape)
        copies: Tensor = self.head(dropout(each, self.rate, self.training).relu())
        return copies.mean(dim=0)

    def _phi(self, features: Tensor) -> Tensor:
        copies = dropout(self.phi(features), self.rate, self.training).relu()
        return copies.median(dim=0).values


def _largest(values: Tensor, block: Tensor, n_blocks: int) -> Tensor:
    """Return the largest of each column in each block; values are 0 or more, and so is it."""
    index = block[:, None].expand_as(values)
    return values.new_zeros(n_blocks, values.shape[1]).scatter_reduce(0, index, values, "amax")


def _deviation(train: Sequence[Slide], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the deviation of each gene over entries that count; 1 where nothing varies."""
    squares, count = np.zeros(len(mean)), np.zeros(len(mean))
    for slide in train:
        error = np.where(slide.weight, slide.y - mean, 0)
        squares += np.square(error, dtype=np.float64).sum(axis=0)
        count += slide.weight.sum(axis=0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    varies = deviation > 1e-6 * (1 + np.abs(mean))
    return np.where(varies, deviation, 1.0).astype(np.float32)
