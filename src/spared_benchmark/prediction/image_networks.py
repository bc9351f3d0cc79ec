"""Image networks by name, with the weights and the normalisation that they were made for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from spared_benchmark.compat.torchvision import ensure_torchvision, import_timm
from spared_benchmark.errors import ConfigurationError, nearest
from spared_benchmark.prediction.encoder_zoo import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RANDOM_CONV,
    ZOO,
    KnownEncoder,
    known_encoder,
)
from spared_benchmark.prediction.random_conv import RandomConv
from spared_benchmark.prediction.weights import fetched, load_state, read_state, unfetched
from spared_benchmark.study import EncoderSettings

_TORCHVISION = "torchvision:"
_HUB = ("hf-hub:", "hf_hub:")
_SIDE = 224


@dataclass(frozen=True)
class ImageNetwork:
    """A network from normalised images ``(n, 3, side, side)`` to features ``(n, d)``.

    Attributes:
        network: The module.
        side: Of the images, pixels.
        mean: Of each channel, scale 0 to 1, that is removed first.
        std: By which it is divided then.
    """

    network: nn.Module
    side: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class ClassAndMean(nn.Module):
    """A vision transformer's class token beside the mean of its patches' tokens, ``(n, 2 d)``.

    Registers are left out (Virchow2: Zimmermann et al. 2024).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.num_features = 2 * int(network.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of normalised ``images`` ``(n, 3, side, side)``."""
        tokens = self.network.forward_features(images)
        patches = tokens[:, self.network.num_prefix_tokens :]
        return torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)


def build(wanted: EncoderSettings) -> ImageNetwork:
    """Return the network that ``wanted`` names; random weights come from torch's generator.

    Raises:
        ConfigurationError: For an unknown network, or weights that are not its own.
        MissingInputError: When weights cannot be fetched or found.
    """
    known = known_encoder(wanted.network)
    if wanted.network == RANDOM_CONV:
        return _random(wanted, ZOO[RANDOM_CONV])
    if known is not None:
        return _of_zoo(wanted, known)
    of = _of_torchvision if wanted.network.startswith(_TORCHVISION) else _of_timm
    built = of(wanted)
    if wanted.weights_file is not None:
        load_state(built.network, read_state(wanted), wanted)
    return built


def _random(wanted: EncoderSettings, known: KnownEncoder) -> ImageNetwork:
    if wanted.weights != "none":
        msg = f"{RANDOM_CONV} has no weights to load; found weights {wanted.weights!r}"
        raise ConfigurationError(msg)
    return ImageNetwork(RandomConv(**wanted.options), wanted.image_size or known.side)


def _of_zoo(wanted: EncoderSettings, known: KnownEncoder) -> ImageNetwork:
    timm, side = import_timm(), wanted.image_size or known.side
    options = {**known.options, **wanted.options}
    if timm.get_pretrained_cfg(known.architecture).fixed_input_size:
        options["img_size"] = side
    network = _made(known.architecture, wanted, {"num_classes": 0, **options})
    if wanted.weights != "none":
        state = fetched(wanted, known) if wanted.weights_file is None else read_state(wanted)
        load_state(network, state, wanted)
    pooled = ClassAndMean(network) if known.pooling == "class_and_mean" else network
    return ImageNetwork(pooled, side, known.mean, known.std)


def _of_timm(wanted: EncoderSettings) -> ImageNetwork:
    """Return a network by its timm name, or by the hub id of one that is not in the zoo."""
    timm, name = import_timm(), wanted.network
    on_hub = name.startswith(_HUB)
    if not on_hub and not timm.is_model(name):
        close = nearest(name, [*ZOO, *timm.list_models()])
        msg = (
            f"unknown image network {name!r}{close}; give one of {', '.join(ZOO)}, a timm name, "
            f"hf-hub:<id> or {_TORCHVISION}<name>"
        )
        raise ConfigurationError(msg)
    config = _hub_config(wanted) if on_hub else vars(timm.get_pretrained_cfg(name))
    side = wanted.image_size or int(config.get("input_size", (3, _SIDE, _SIDE))[-1])
    options: dict[str, Any] = {"num_classes": 0, "pretrained": wanted.weights == "pretrained"}
    if config.get("fixed_input_size"):
        options["img_size"] = side
    try:
        network = _made(name, wanted, {**options, **wanted.options})
    except (OSError, RuntimeError, SafetensorError) as error:
        if wanted.weights != "pretrained":
            raise
        raise unfetched(name, error) from error
    if getattr(network, "global_pool", None) == "":
        msg = f"{name} gives tokens and no vector; add options: {{global_pool: token}} (or avg)"
        raise ConfigurationError(msg)
    data = timm.data.resolve_data_config({}, model=network)
    return ImageNetwork(network, side, tuple(data["mean"]), tuple(data["std"]))


def _hub_config(wanted: EncoderSettings) -> Mapping[str, Any]:
    """Return what the hub says of a network, its architecture's settings beneath.

    Raises:
        MissingInputError: When the hub cannot be asked: the architecture is told there alone.
    """
    timm, models = import_timm(), importlib.import_module("timm.models")
    try:
        told, architecture, _ = models.load_model_config_from_hf(wanted.network[len(_HUB[0]) :])
    except (OSError, RuntimeError) as error:
        raise unfetched(wanted.network, error) from error
    return {**vars(timm.get_pretrained_cfg(architecture)), **told}


def _made(architecture: str, wanted: EncoderSettings, options: Mapping[str, Any]) -> nn.Module:
    try:
        network: nn.Module = import_timm().create_model(architecture, **_layers(options))
    except TypeError as error:
        msg = f"options of {wanted.network!r}: {error}; found {wanted.options}"
        raise ConfigurationError(msg) from error
    return network


def _layers(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the layer in place of its name; timm knows activations by name."""
    layers = importlib.import_module("timm.layers")
    named = {"swiglu_packed": layers.SwiGLUPacked}
    kind = options.get("mlp_layer")
    if kind is None:
        return dict(options)
    if kind not in named:
        msg = f"options.mlp_layer: found {kind!r}{nearest(kind, named)}; known: {', '.join(named)}"
        raise ConfigurationError(msg)
    return {**options, "mlp_layer": named[kind]}


def _of_torchvision(wanted: EncoderSettings) -> ImageNetwork:
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
        raise unfetched(wanted.network, error) from error
    for last in ("fc", "classifier", "head"):
        if hasattr(network, last):
            setattr(network, last, nn.Identity())
            return ImageNetwork(network, wanted.image_size or _SIDE)
    msg = f"{wanted.network}: no last layer called fc, classifier or head, so no features"
    raise ConfigurationError(msg)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with lists in place of tuples: torchvision checks the type."""
    return {key: list(one) if isinstance(one, tuple) else one for key, one in options.items()}
