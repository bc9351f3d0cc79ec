"""The bases of predictors that see all spots of a slide, a tile or a region at once."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.methods._slide_transformer import computed_again, mask_of
from spared_benchmark.prediction.methods._zinb import size_factors, zinb_loss
from spared_benchmark.prediction.predictor import (
    NetworkPredictor,
    masked_mse,
    start_at_mean,
    train_mean,
)
from spared_benchmark.prediction.types import (
    Attached,
    Augment,
    BlindSlide,
    NodeBatch,
    Sampling,
    Slide,
)

_log = logging.getLogger(__name__)
_GREY_ONCE_IN, _FLIP_ONCE_IN, _DEGREES = 10, 5, 90.0
_GREY = (0.299, 0.587, 0.114)
_COUNTS_SHARE, _COPIES_SHARE = 0.25, 0.5

# The settings of every size, but for what a size says otherwise.
SLIDE_SETTINGS: dict[str, Any] = {
    "tiles": 1,
    "halo": 0,
    "region": 0,
    "positions": 128,
    "checkpoint": False,
    "faithful": False,
}


@dataclass(frozen=True)
class Layout:
    """Where the spots of a batch lie.

    Attributes:
        array_rc: Array row and column ``(n_spots, 2)``.
        neighbours: Rows of each spot's neighbours ``(n_spots, k)``, −1 padded.
        mask: Which spots may see which; none when all may.
    """

    array_rc: Tensor
    neighbours: Tensor
    mask: Tensor | None


class SlideModule(nn.Module, ABC):
    """A network whose output layer works on normalised features of spots that saw one another."""

    norm: nn.Module
    head: nn.Linear

    @abstractmethod
    def features(self, images: Tensor, layout: Layout) -> Tensor:
        """Return the features ``(n_spots, width)`` of images ``(n_spots, 3, side, side)``."""


class SlidePredictor(NetworkPredictor):
    """A network over all spots of a slide.

    A method defines its card and ``build``, which returns a `SlideModule`. The settings of its
    sizes, beside the network's own:

    * ``tiles``, ``halo``, ``region``: what is processed together, see `Sampling`;
    * ``image_size``: side of a patch, pixels;
    * ``positions``: rows, and columns, of the array that the network knows;
    * ``checkpoint``: activations are computed again for the gradient instead of being kept, and
      with altered copies the whole pass of each;
    * ``faithful``: as the published code has it. Of all slide models: pixels from 0 to 255 as they
      are, none turned; an output bias that starts at random; random vectors for rows and columns
      that no train spot lies in.
    """

    trained_places: tuple[NDArray[np.int64], ...] = ()

    @property
    def faithful(self) -> bool:
        """Whether the published faults are kept."""
        return bool(self.settings["faithful"])

    @property
    def sampling(self) -> Sampling:
        """Whole slides, or their tiles or regions, with pixels."""
        cut = {name: self.settings[name] for name in ("tiles", "halo", "region")}
        side = self.settings["image_size"]
        augment: Augment = "none" if self.faithful else "each"
        return Sampling(kind="slide", image_size=side, augment=augment, **cut)

    @abstractmethod
    def build(self, n_genes: int) -> SlideModule:
        """Return a fresh network, drawn from torch's global generator."""

    @property
    def network(self) -> SlideModule:
        """The network."""
        module = self.module
        assert isinstance(module, SlideModule)  # noqa: S101 - what build returns
        return module

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network; unless ``faithful`` it starts at the mean of ``train``."""
        super().prepare(train)
        if not self.faithful:
            start_at_mean(self.head, train_mean(train))
        places = np.concatenate([slide.array_rc for slide in train]).astype(np.int64)
        self.trained_places = tuple(np.unique(places[:, axis]) for axis in (0, 1))

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach nothing; tell how many spots lie where no train spot did.

        Raises:
            ConfigurationError: When a spot lies outside the positions that the network knows.
        """
        low, high = int(slide.array_rc.min()), int(slide.array_rc.max())
        positions = self.settings["positions"]
        if low < 0 or high >= positions:
            msg = (
                f"{self.card.name}: array rows and columns of slide {slide.slide!r} go from {low} "
                f"to {high}; the network knows 0 to {positions - 1}; raise the setting 'positions'"
            )
            raise ConfigurationError(msg)
        if self.trained_places:
            known = [np.isin(slide.array_rc[:, axis], self.trained_places[axis]) for axis in (0, 1)]
            share = float(np.mean(~(known[0] & known[1])))
            if share > 0:
                text = "%s: %.1f %% of the spots of %s lie in rows or columns of no train spot"
                _log.info(text, self.card.name, 100 * share, slide.slide)
        return {}

    def layout(self, batch: NodeBatch) -> Layout:
        """Return where the spots lie, with their lattice neighbours."""
        return Layout(batch.array_rc, self.neighbours(batch), mask_of(batch.block))

    def neighbours(self, batch: NodeBatch) -> Tensor:
        """Return the graph of the spots ``(n_spots, k)``, −1 padded."""
        return batch.lattice()

    def scaled(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels as the network takes them."""
        return pixels.float() if self.faithful else normalised(pixels)

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries."""
        features = self.network.features(self.scaled(batch.images()), self.layout(batch))
        return self.output(features[batch.query])

    def output(self, features: Tensor) -> Tensor:
        """Return the expression of features, ``(n_spots, n_genes)``."""
        output: Tensor = self.network.head(self.network.norm(features))
        return output


class DistilledModule(SlideModule):
    """A network that also tells counts, and how far each spot of an altered copy is trusted."""

    counts: nn.Module
    trust: nn.Module


class DistilledPredictor(SlidePredictor):
    """A network over a slide whose loss is Hist2ST's: expression, counts, altered copies.

    Settings, beside those of `SlidePredictor`: ``copies``, how many altered copies of the slide the
    network sees in a step. They are combined with a trust learnt for each spot, and their combined
    prediction is drawn to the plain one and the other way round.
    """

    @property
    def sampling(self) -> Sampling:
        """Whole slides with pixels and molecules."""
        own = super().sampling
        return Sampling(**{**vars(own), "counts": True})

    @property
    def distilled(self) -> DistilledModule:
        """The network."""
        module = self.module
        assert isinstance(module, DistilledModule)  # noqa: S101 - what build returns
        return module

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return squared error + ¼ likelihood of counts + ½ distance to the altered copies."""
        y, weight = batch.labels()
        layout, query, pixels = self.layout(batch), batch.query, batch.images()
        features = self.network.features(self.scaled(pixels), layout)[query]
        predicted = self.output(features)
        terms = {"mse": masked_mse(predicted, y, weight)}
        terms["counts"] = self._counts_loss(features, batch)
        loss = terms["mse"] + _COUNTS_SHARE * terms["counts"]
        if self.settings["copies"]:
            combined = self._combined(pixels, layout, query)
            terms["copies"] = (combined - predicted).square().mean()
            loss = loss + _COPIES_SHARE * terms["copies"]
        return {"loss": loss, **terms}

    def _counts_loss(self, features: Tensor, batch: NodeBatch) -> Tensor:
        if batch.counts is None:
            batch.labels()
        assert batch.counts is not None  # noqa: S101 - the sampling asks for them
        factor = size_factors(batch.counts)[batch.query]
        mean, dispersion, lost = self.distilled.counts(features)
        return zinb_loss(batch.counts[batch.query].float(), factor * mean, dispersion, lost)

    def _combined(self, pixels: Tensor, layout: Layout, query: Tensor) -> Tensor:
        def seen(copy: Tensor) -> Tensor:
            features = self.network.features(self.scaled(copy), layout)[query]
            return torch.cat([self.output(features), self.distilled.trust(features)], dim=1)

        # All copies are passed before the gradient comes: kept, each would take as much as the
        # slide itself.
        remember = not self.settings["checkpoint"]
        copies = torch.stack(
            [
                computed_again(seen, altered(pixels), module=self.network, remember=remember)
                for _ in range(self.settings["copies"])
            ]
        )
        predicted, trust = copies[:, :, :-1], copies[:, :, -1:]
        return (trust.softmax(dim=0) * predicted).sum(dim=0)


def altered(pixels: Tensor) -> Tensor:
    """Return all patches altered in one random way: grey or not, turned, mirrored or not.

    Drawn from torch's global generator; the angle is uniform between −90° and 90°.

    Args:
        pixels: uint8 ``(n, 3, side, side)``.
    """
    grey, angle, flip = torch.rand(3).tolist()
    if grey * _GREY_ONCE_IN < 1:
        weights = torch.tensor(_GREY, device=pixels.device)[:, None, None]
        pixels = (pixels * weights).sum(1, keepdim=True).round().byte().expand_as(pixels)
    pixels = turned(pixels, (2 * angle - 1) * _DEGREES)
    return pixels.flip(-1) if flip * _FLIP_ONCE_IN < 1 else pixels


def turned(pixels: Tensor, degrees: float) -> Tensor:
    """Return uint8 patches turned about their centre; corners that come in are black."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0]], dtype=torch.float32)
    grid = affine_grid(turn[None], [1, 1, *pixels.shape[2:]], align_corners=False)
    # One grid for all: the patches are channels of a single image.
    image = pixels.reshape(1, -1, *pixels.shape[2:]).float()
    sampled = grid_sample(image, grid.to(pixels.device), mode="nearest", align_corners=False)
    return sampled.byte().reshape(pixels.shape)


def trust_layers(width: int) -> nn.Module:
    """Return the layers that tell how far a spot of an altered copy is trusted."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
