"""Image networks by name, with the weights and the normalisation that they were made for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import nn

from spared_benchmark.compat.torchvision import ensure_torchvision, import_timm
from spared_benchmark.errors import ConfigurationError, MissingInputError, nearest
from spared_benchmark.prediction.images import IMAGENET_MEAN, IMAGENET_STD
from spared_benchmark.prediction.random_conv import RandomConv
from spared_benchmark.study import EncoderSettings

RANDOM_CONV = "random_conv"
_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class ImageNetwork:
    """A network from normalised images ``(n, 3, side, side)`` to features ``(n, d)``.

    Attributes:
        network: The module.
        mean: Of each channel, scale 0 to 1, that is removed first.
        std: By which it is divided then.
    """

    network: nn.Module
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def build(wanted: EncoderSettings) -> ImageNetwork:
    """Return the network that ``wanted`` names; random weights come from torch's generator.

    Raises:
        ConfigurationError: For an unknown network, or weights that are not its own.
        MissingInputError: When weights cannot be fetched or found.
    """
    if wanted.network == RANDOM_CONV:
        if wanted.weights != "none":
            msg = f"{RANDOM_CONV} has no weights to load; found weights {wanted.weights!r}"
            raise ConfigurationError(msg)
        return ImageNetwork(RandomConv(**wanted.options))
    if wanted.network.startswith(_TORCHVISION):
        built = ImageNetwork(_of_torchvision(wanted))
    else:
        built = _of_timm(wanted)
    if wanted.weights_file is not None:
        _load_file(built.network, wanted.weights_file, wanted.network)
    return built


def _of_timm(wanted: EncoderSettings) -> ImageNetwork:
    timm, name = import_timm(), wanted.network
    if ":" not in name and not timm.is_model(name):
        close = nearest(name, [*timm.list_models(), RANDOM_CONV])
        msg = f"unknown image network {name!r}{close}; give a timm name or {RANDOM_CONV!r}"
        raise ConfigurationError(msg)
    config = timm.get_pretrained_cfg(name) if ":" not in name else None
    options: dict[str, Any] = {"num_classes": 0, "pretrained": wanted.weights == "pretrained"}
    if config is None or config.fixed_input_size:
        options["img_size"] = wanted.image_size
    try:
        network = timm.create_model(name, **{**options, **wanted.options})
    except (OSError, RuntimeError) as error:
        if wanted.weights == "none" and config is not None:
            raise
        raise _unfetched(name, error) from error
    data = timm.data.resolve_data_config({}, model=network)
    return ImageNetwork(network, tuple(data["mean"]), tuple(data["std"]))


def _of_torchvision(wanted: EncoderSettings) -> nn.Module:
    """Return a classifier of torchvision without its last layer: its features."""
    ensure_torchvision()
    models = importlib.import_module("torchvision.models")
    name = wanted.network.removeprefix(_TORCHVISION)
    known = models.list_models()
    if name not in known:
        msg = f"unknown image network {wanted.network!r}{nearest(name, known)}"
        raise ConfigurationError(msg)
    weights = "DEFAULT" if wanted.weights == "pretrained" else None
    try:
        network: nn.Module = models.get_model(name, weights=weights, **_plain(wanted.options))
    except (OSError, RuntimeError) as error:
        if weights is None:
            raise
        raise _unfetched(wanted.network, error) from error
    for last in ("fc", "classifier", "head"):
        if hasattr(network, last):
            setattr(network, last, nn.Identity())
            return network
    msg = f"{wanted.network}: no last layer called fc, classifier or head, so no features"
    raise ConfigurationError(msg)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with lists in place of tuples: torchvision checks the type."""
    return {key: list(one) if isinstance(one, tuple) else one for key, one in options.items()}


def _unfetched(name: str, error: Exception) -> MissingInputError:
    return MissingInputError(
        f"the weights of {name!r} cannot be fetched ({error}); allow access to the model hub, give "
        "a safetensors file, or weights: none"
    )


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
