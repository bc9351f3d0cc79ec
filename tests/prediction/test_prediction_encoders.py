"""Frozen features: by the seed, on what the image shows, independent of their company."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spared_benchmark.errors import ConfigurationError, MissingInputError
from spared_benchmark.prediction.encoders import PatchEncoder, encode
from spared_benchmark.study import EncoderSettings
from spared_benchmark.tissue.patches import PatchStore


@pytest.fixture(scope="module")
def store():
    array = np.random.default_rng(0).integers(0, 256, (70, 24, 24, 3), dtype=np.uint8)
    return PatchStore(array, tuple(f"s{i}" for i in range(70)), 1.0, "1d", "x")


def settings(**changes):
    return EncoderSettings(**{"network": "random_conv", "image_size": 16, **changes})


def test_features_are_finite_of_one_width_and_repeatable(store):
    features = encode(store, settings(), "cpu")
    assert features.shape == (70, 6 + 3 * 2 * 48)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features, encode(store, settings(), "cpu"))
    assert (features.std(axis=0) > 0).all()


def test_another_seed_is_another_network(store):
    assert not np.allclose(encode(store, settings(), "cpu"), encode(store, settings(seed=1), "cpu"))
    assert PatchEncoder(settings()).digest != PatchEncoder(settings(seed=1)).digest
    assert PatchEncoder(settings()).digest == PatchEncoder(settings()).digest


def test_a_spot_does_not_depend_on_the_others(store):
    alone = PatchStore(store.array[40:41], ("s40",), 1.0, "1d", "x")
    together = encode(store, settings(), "cpu")[40]
    np.testing.assert_allclose(encode(alone, settings(), "cpu")[0], together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "width"), [("resnet10t", 512), ("vit_tiny_patch16_224", 192)])
def test_a_timm_network_without_weights(store, network, width):
    few = PatchStore(store.array[:3], store.names[:3], 1.0, "1d", "x")
    features = encode(few, settings(network=network, image_size=32), "cpu")
    assert features.shape == (3, width)
    assert np.isfinite(features).all()


def test_weights_from_a_file(store, tmp_path):
    source = PatchEncoder(settings(network="resnet10t", seed=5))
    path = tmp_path / "weights.safetensors"
    save_file(source.network.state_dict(), path)
    loaded = PatchEncoder(settings(network="resnet10t", weights=str(path)))
    pixels = torch.from_numpy(store.array[:2]).permute(0, 3, 1, 2)
    assert torch.equal(source.encode(pixels), loaded.encode(pixels))
    save_file({"conv.weight": torch.zeros(2)}, path)
    with pytest.raises(ConfigurationError, match=r"lacks \d+ tensors.*another network"):
        PatchEncoder(settings(network="resnet10t", weights=str(path)))
    path.write_bytes(b"not weights")
    with pytest.raises(ConfigurationError, match="is no safetensors file"):
        PatchEncoder(settings(network="resnet10t", weights=str(path)))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network": "resnet18x"}, ConfigurationError, r"unknown image network.*did you mean"),
        ({"weights": "pretrained"}, ConfigurationError, "random_conv has no weights"),
        (
            {"network": "resnet10t", "weights": "nowhere.safetensors"},
            MissingInputError,
            "nowhere.safetensors is not there",
        ),
    ],
)
def test_settings_that_cannot_be(changes, error, message):
    with pytest.raises(error, match=message):
        PatchEncoder(settings(**changes))
