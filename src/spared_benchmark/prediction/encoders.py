"""Frozen image networks: patches become features once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn

from spared_benchmark.atomic import digest_of, file_digest
from spared_benchmark.compat.torchvision import import_timm
from spared_benchmark.errors import ConfigurationError, MissingInputError, nearest
from spared_benchmark.prediction.images import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalised,
    resized,
)
from spared_benchmark.prediction.random_conv import RandomConv
from spared_benchmark.prediction.types import Patches
from spared_benchmark.study import EncoderSettings
from spared_benchmark.training.seeds import isolated

if TYPE_CHECKING:
    from spared_benchmark.tissue.patches import PatchStore

RANDOM_CONV = "random_conv"
_BATCH = 64
# Raised when the same settings give other features.
_VERSION = 1


class PatchEncoder:
    """An image network in evaluation mode, with the normalisation that it was made for.

    Args:
        settings: ``network`` is a timm name (``hf-hub:`` names are timm names) or
            ``random_conv``; ``weights`` is ``none`` (random, by the seed), ``pretrained`` or a
            safetensors file.
        device: Where it runs.
    """

    def __init__(self, settings: EncoderSettings, device: str = "cpu") -> None:
        self.settings, self.device = settings, device
        self.mean: tuple[float, ...] = IMAGENET_MEAN
        self.std: tuple[float, ...] = IMAGENET_STD
        with isolated(settings.seed, "encoder"):
            self.network = self._build().to(device).eval()

    @property
    def digest(self) -> str:
        """What features depend on, beside the patches."""
        weights = self.settings.weights
        file = "" if weights in {"none", "pretrained"} else file_digest(Path(weights))
        return digest_of([_VERSION, self.settings, file])

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the features ``(n, d)`` of uint8 patches ``(n, 3, side, side)``."""
        with torch.inference_mode():
            features: Tensor = self.network(normalised(pixels, self.mean, self.std))
        return features.float()

    def _build(self) -> nn.Module:
        wanted = self.settings
        if wanted.network == RANDOM_CONV:
            if wanted.weights != "none":
                msg = f"{RANDOM_CONV} has no weights to load; found weights {wanted.weights!r}"
                raise ConfigurationError(msg)
            return RandomConv()
        timm = import_timm()
        name = wanted.network
        hub = ":" in name
        if not hub and not timm.is_model(name):
            close = nearest(name, [*timm.list_models(), RANDOM_CONV])
            msg = f"unknown image network {name!r}{close}; give a timm name or {RANDOM_CONV!r}"
            raise ConfigurationError(msg)
        network = self._create(timm)
        data = timm.data.resolve_data_config({}, model=network)
        self.mean, self.std = tuple(data["mean"]), tuple(data["std"])
        if wanted.weights not in {"none", "pretrained"}:
            _load_file(network, Path(wanted.weights), name)
        return network

    def _create(self, timm: Any) -> nn.Module:
        wanted = self.settings
        options: dict[str, Any] = {"num_classes": 0, "pretrained": wanted.weights == "pretrained"}
        config = timm.get_pretrained_cfg(wanted.network) if ":" not in wanted.network else None
        if config is None or config.fixed_input_size:
            options["img_size"] = wanted.image_size
        try:
            network: nn.Module = timm.create_model(wanted.network, **options)
        except (OSError, RuntimeError) as error:
            if wanted.weights == "none" and config is not None:
                raise
            msg = (
                f"the weights of {wanted.network!r} cannot be fetched ({error}); allow access to "
                "the model hub, give a safetensors file, or weights: none"
            )
            raise MissingInputError(msg) from error
        return network


def _load_file(network: nn.Module, path: Path, name: str) -> None:
    if not path.is_file():
        msg = f"weights of {name!r}: {path} is not there; give a safetensors file"
        raise MissingInputError(msg)
    try:
        missing, unexpected = network.load_state_dict(load(path.read_bytes()), strict=False)
    except Exception as error:
        msg = f"weights of {name!r}: {path} is no safetensors file of this network ({error})"
        raise ConfigurationError(msg) from error
    # A classifier's head may be in the file and is not used; anything missing would stay random.
    if missing:
        msg = (
            f"weights of {name!r}: {path} lacks {len(missing)} tensors, the first {missing[0]!r} "
            f"(and has {len(unexpected)} that are unknown); is it of another network?"
        )
        raise ConfigurationError(msg)


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
