"""Weights of image networks: fetched from a hub or read from a file, and never half loaded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load
from torch import Tensor, nn

from spared_benchmark.compat.torchvision import import_timm
from spared_benchmark.errors import ConfigurationError, MissingInputError
from spared_benchmark.prediction.encoder_zoo import KnownEncoder
from spared_benchmark.study import EncoderSettings

State = dict[str, Tensor]
_OTHERWISE = "or give a safetensors file (docs/encoders.md says how to make one), or weights: none"


def fetched(wanted: EncoderSettings, known: KnownEncoder) -> State:
    """Return the tensors of a known encoder from the hub's cache on disk, or from the hub.

    Raises:
        MissingInputError: When they cannot be fetched; says what access they need.
    """
    import_timm()
    models = importlib.import_module("timm.models")
    try:
        state: State = models.load_state_dict_from_hf(known.hub)
    except Exception as error:  # which errors of the connection come through, its client decides
        raise unfetched(wanted.network, error, known) from error
    return state


def unfetched(name: str, error: Exception, known: KnownEncoder | None = None) -> MissingInputError:
    """Return the error that says why weights are not there and how one gets them."""
    reason = " ".join(str(error).split()) or type(error).__name__
    how = "allow access to the model hub"
    if known is not None:
        page = f"https://huggingface.co/{known.hub}"
        how = f"it is open: allow access to {page}"
        if known.access == "gated":
            how = (
                f"it is gated: accept its terms at {page} with an account there, then log in with "
                "`hf auth login` or set HF_TOKEN"
            )
    return MissingInputError(
        f"the weights of {name!r} cannot be fetched ({reason}); {how}, {_OTHERWISE}"
    )


def read_state(wanted: EncoderSettings) -> State:
    """Return the tensors of the file of weights.

    Raises:
        MissingInputError: When it is not there.
        ConfigurationError: When it is no safetensors file.
    """
    path = wanted.weights_file
    if path is None or not path.is_file():
        msg = f"weights of {wanted.network!r}: {path} is not there; give a safetensors file"
        raise MissingInputError(msg)
    try:
        state: State = load(path.read_bytes())
    except Exception as error:
        msg = f"weights of {wanted.network!r}: {path} is no safetensors file ({error})"
        raise ConfigurationError(msg) from error
    return state


def load_state(network: nn.Module, state: State, wanted: EncoderSettings) -> None:
    """Give a network its weights, all of them.

    Position embeddings of another image size are resampled. A classifier's head may be among the
    tensors and is not used.

    Raises:
        ConfigurationError: When the tensors are of another network.
    """
    name, source = wanted.network, wanted.weights
    try:
        given = _resampled(network, state)
        missing, unexpected = network.load_state_dict(given, strict=False)
    except RuntimeError as error:
        msg = f"weights of {name!r}: those of {source} are not of this network ({error})"
        raise ConfigurationError(msg) from error
    if missing:  # they would stay random
        msg = (
            f"weights of {name!r}: {source} lacks {len(missing)} tensors, the first {missing[0]!r} "
            f"(and has {len(unexpected)} that are unknown); is it of another network?"
        )
        raise ConfigurationError(msg)


def _resampled(network: Any, state: Mapping[str, Tensor]) -> State:
    own = getattr(network, "pos_embed", None)
    given = state.get("pos_embed")
    if own is None or given is None or own.shape == given.shape:
        return dict(state)
    layers = importlib.import_module("timm.layers")
    resampled: Tensor = layers.resample_abs_pos_embed(
        given,
        new_size=network.patch_embed.grid_size,
        num_prefix_tokens=0 if network.no_embed_class else network.num_prefix_tokens,
    )
    return {**state, "pos_embed": resampled}
