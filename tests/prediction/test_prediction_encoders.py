"""Frozen features: by the seed, on what the image shows, independent of their company."""

import logging

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spared_benchmark.errors import ConfigurationError, MissingInputError
from spared_benchmark.prediction import encoders
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


def test_a_spot_does_not_depend_on_the_others(store):
    alone = PatchStore(store.array[40:41], ("s40",), 1.0, "1d", "x")
    together = encode(store, settings(), "cpu")[40]
    np.testing.assert_allclose(encode(alone, settings(), "cpu")[0], together, rtol=1e-4, atol=1e-5)


def test_sub_tiles_are_seen_alone_and_row_by_row(store):
    large = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    names = store.names[:5]
    tiled = encode(PatchStore(large, names, 1.0, "1d", "x"), settings(tiles=2), "cpu")
    assert tiled.shape == (5, 4, 6 + 3 * 2 * 48)
    corners = [(0, 0), (0, 16), (16, 0), (16, 16)]
    for place, (row, column) in enumerate(corners):
        cut = np.ascontiguousarray(large[:, row : row + 16, column : column + 16])
        alone = encode(PatchStore(cut, names, 1.0, "1d", "x"), settings(), "cpu")
        np.testing.assert_allclose(tiled[:, place], alone, rtol=1e-4, atol=1e-5)


def test_long_encoding_goes_in_parts_and_tells_how_far_it_is(store, monkeypatch, caplog):
    whole = encode(store, settings(tiles=2), "cpu")
    monkeypatch.setattr(encoders, "_IMAGES_AT_ONCE", 12)
    monkeypatch.setattr(encoders, "_SECONDS_BETWEEN_REPORTS", -1.0)
    caplog.set_level(logging.INFO)
    seen = []
    original = encoders.sub_tiles
    monkeypatch.setattr(
        encoders, "sub_tiles", lambda *given: (seen.append(len(given[0])), original(*given))[1]
    )
    parts = encode(store, settings(tiles=2), "cpu")
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    assert max(seen) == 3  # four sub-tiles each
    assert "random_conv: 3 of 70 spots" in caplog.text
    assert "random_conv: 70 of 70 spots" in caplog.text


@pytest.mark.parametrize(
    ("network", "side"), [("random_conv", 64), ("uni", 224), ("resnet10t", 176)]
)
def test_images_have_the_size_that_the_network_was_made_for(network, side):
    own = EncoderSettings(network=network)
    with torch.device("meta"):
        assert PatchEncoder(own).side == side
        assert PatchEncoder(own.model_copy(update={"image_size": 32})).side == 32


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
        (
            {"network": "vit_tiny_patch16_224", "options": {"global_pool": ""}},
            ConfigurationError,
            r"gives tokens and no vector; add options: \{global_pool: token\}",
        ),
        (
            {"network": "vit_tiny_patch16_224", "options": {"mlp_layer": "swiglu"}},
            ConfigurationError,
            r"options.mlp_layer: found 'swiglu' \(did you mean 'swiglu_packed'",
        ),
        (
            {"network": "resnet10t", "options": {"wings": 2}},
            ConfigurationError,
            r"options of 'resnet10t': .*'wings'",
        ),
    ],
)
def test_settings_that_cannot_be(changes, error, message):
    with pytest.raises(error, match=message):
        PatchEncoder(settings(**changes))
