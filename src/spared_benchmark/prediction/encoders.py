"""One object for image networks, frozen or fine-tuned: patches in, features out."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.atomic import digest_of, file_digest
from spared_benchmark.prediction.image_networks import build
from spared_benchmark.prediction.images import normalised, resized
from spared_benchmark.prediction.types import Patches
from spared_benchmark.study import EncoderSettings
from spared_benchmark.training.seeds import isolated

if TYPE_CHECKING:
    from spared_benchmark.tissue.patches import PatchStore

_BATCH = 64
# Raised when the same settings give other features.
_VERSION = 1


class PatchEncoder(nn.Module):
    """An image network with the normalisation that it was made for.

    Frozen, it is in evaluation mode for good, has no trainable weights, and random ones come from
    the settings' seed. Trainable, it is a part of a predictor's network like any other, and random
    weights come from the predictor's seed.

    Args:
        settings: ``network`` is a timm name (``hf-hub:`` names are timm names),
            ``torchvision:<name>`` or ``random_conv``; ``weights`` is ``none`` (random),
            ``pretrained`` or a safetensors file.
        device: Where it runs; where torch makes tensors by default when not given.
        trainable: Whether it is fine-tuned.
    """

    def __init__(
        self, settings: EncoderSettings, device: str | None = None, *, trainable: bool = False
    ) -> None:
        super().__init__()
        self.settings, self.trainable = settings, trainable
        with nullcontext() if trainable else isolated(settings.seed, "encoder"):
            built = build(settings)
        self.network, self.mean, self.std = built.network, built.mean, built.std
        if device is not None:
            self.to(device)
        if not trainable:
            self.network.requires_grad_(requires_grad=False)
            self.eval()

    @property
    def digest(self) -> str:
        """What features depend on, beside the patches."""
        path = self.settings.weights_file
        file = "" if path is None else file_digest(path)
        return digest_of([_VERSION, self.settings, file])

    def train(self, mode: bool = True) -> PatchEncoder:  # noqa: FBT001, FBT002 - torch's signature
        """Change the mode of a trainable encoder; a frozen one stays as it is."""
        super().train(mode and self.trainable)
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features ``(n, d)`` of uint8 patches ``(n, 3, side, side)``."""
        features: Tensor = self.network(normalised(pixels, self.mean, self.std))
        return features

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the features of patches as numbers, float32 ``(n, d)``."""
        with torch.inference_mode():
            features: Tensor = self(pixels)
        return features.float()


def encode(
    patches: PatchStore, settings: EncoderSettings, device: str | None = None
) -> NDArray[np.float32]:
    """Return the features of every stored patch, float32 ``(n_spots, d)``.

    Args:
        patches: Of a slide.
        settings: Of the encoder.
        device: The first CUDA device where there is one, else the CPU, when not given.
    """
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder = PatchEncoder(settings, chosen)
    stored = Patches(patches.array, np.arange(len(patches.array)))
    pixels = resized(stored, len(patches.array), settings.image_size, chosen)
    parts = [
        encoder.encode(pixels[start : start + _BATCH].permute(0, 3, 1, 2)).cpu()
        for start in range(0, len(pixels), _BATCH)
    ]
    features: NDArray[np.float32] = torch.cat(parts).numpy()
    return features
