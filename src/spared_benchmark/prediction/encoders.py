"""One object for image networks, frozen or fine-tuned: patches in, features out."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.prediction.image_networks import build
from spared_benchmark.prediction.images import normalised, sub_tiles
from spared_benchmark.study import EncoderSettings
from spared_benchmark.training.precision import product_type
from spared_benchmark.training.seeds import isolated

if TYPE_CHECKING:
    from spared_benchmark.tissue.patches import PatchStore

_IMAGES_AT_ONCE = 64
_IMAGES_AT_ONCE_ON_GPU = 256
_SECONDS_BETWEEN_REPORTS = 30.0

_log = logging.getLogger(__name__)


class PatchEncoder(nn.Module):
    """An image network with the normalisation that it was made for.

    Frozen, it is in evaluation mode for good, has no trainable weights, and random ones come from
    the settings' seed. Trainable, it is a part of a predictor's network like any other, and random
    weights come from the predictor's seed.

    Args:
        settings: Which network with which weights; see `EncoderSettings`.
        device: Where it runs; where torch makes tensors by default when not given.
        trainable: Whether it is fine-tuned.

    Attributes:
        side: Of the images that it takes, pixels.
    """

    def __init__(
        self, settings: EncoderSettings, device: str | None = None, *, trainable: bool = False
    ) -> None:
        super().__init__()
        self.settings, self.trainable = settings, trainable
        with nullcontext() if trainable else isolated(settings.seed, "encoder"):
            built = build(settings)
        self.network, self.side = built.network, built.side
        self.mean, self.std = built.mean, built.std
        if device is not None:
            self.to(device)
        if not trainable:
            self.network.requires_grad_(requires_grad=False)
            self.eval()

    def train(self, mode: bool = True) -> PatchEncoder:  # noqa: FBT001, FBT002 - torch's signature
        """Change the mode of a trainable encoder; a frozen one stays as it is."""
        super().train(mode and self.trainable)
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features ``(n, d)`` of uint8 patches ``(n, 3, side, side)``."""
        features: Tensor = self.network(normalised(pixels, self.mean, self.std))
        return features

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the features of patches as numbers, float32 ``(n, d)``.

        On a GPU that multiplies bfloat16 natively, products are computed in it.
        """
        narrow = pixels.is_cuda and product_type("auto", pixels.device) is torch.bfloat16
        with (
            torch.inference_mode(),
            torch.autocast(pixels.device.type, torch.bfloat16, enabled=narrow),
        ):
            features: Tensor = self(pixels)
        return features.float()


def encode(
    patches: PatchStore, settings: EncoderSettings, device: str | None = None
) -> NDArray[np.float32]:
    """Return the features of every stored patch, or of its sub-tiles where settings ask for them.

    Only some patches are in memory at a time.

    Args:
        patches: Of a slide, of the window that the settings name.
        settings: Of the encoder.
        device: The first CUDA device where there is one, else the CPU, when not given.

    Returns:
        float32 ``(n_spots, d)``; ``(n_spots, tiles * tiles, d)`` with more than one tile.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder = PatchEncoder(settings, chosen)
    n_spots, n_tiles = len(patches.array), settings.tiles**2
    images_at_once = _IMAGES_AT_ONCE_ON_GPU if chosen.startswith("cuda") else _IMAGES_AT_ONCE
    at_once = max(1, images_at_once // n_tiles)
    parts, told = [], time.monotonic()
    for start in range(0, n_spots, at_once):
        stored = torch.from_numpy(np.array(patches.array[start : start + at_once]))
        images = sub_tiles(stored.to(chosen), encoder.side, settings.tiles)
        parts.append(encoder.encode(images).cpu().numpy())
        if time.monotonic() - told > _SECONDS_BETWEEN_REPORTS:
            told = time.monotonic()
            _log.info("%s: %d of %d spots", settings.network, start + len(stored), n_spots)
    features: NDArray[np.float32] = np.concatenate(parts)
    return features.reshape(n_spots, n_tiles, -1) if n_tiles > 1 else features
