"""Sizes of networks: what the paper says, and what a small one may cost."""

import numpy as np
import pytest
import torch
from every_predictor import create, fitted, predict
from prediction_samples import cohort
from torch.utils.flop_counter import FlopCounterMode

from spared_benchmark.errors import ConfigurationError, ContractError, MissingInputError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.encoders import PatchEncoder
from spared_benchmark.prediction.images import normalised
from spared_benchmark.study import EncoderSettings
from spared_benchmark.training.sweep import parameter_counts

TRAINED = [name for name in predictors.available() if predictors.card(name).trained]


# models.md, "Parameter summary", 128 genes.
PAPER = {
    "shufflenet": 472_992,
    "stnet": 7_085_056,
    "vit_b": 85_897_088,
    "vit_b_delta": 85_897_088,
    "vit_b_bias": 85_897_088,
}


def network(name, size, **settings):
    """The network of a predictor, or of the one that it wraps."""
    predictor = predictors.create(name, size=size, **settings)
    return getattr(predictor, "within", predictor).build(128)


@pytest.mark.parametrize(("name", "count"), PAPER.items())
def test_models_of_the_paper_have_the_printed_number_of_parameters(name, count):
    with torch.device("meta"):
        module = network(name, "paper", weights="none")
    assert parameter_counts(module) == (count, count)


@pytest.mark.parametrize("name", [*PAPER, "small_cnn"])  # others say so in tests of their own
@pytest.mark.parametrize("size", ["small", "tiny"])
def test_small_is_small(name, size):
    module = network(name, size).eval()
    side = predictors.create(name, size=size).sampling.image_size
    pixels = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(normalised(pixels) if name == "small_cnn" else pixels)
    assert parameter_counts(module)[0] <= 1_000_000
    assert 0 < counter.get_total_flops() <= 0.1e9


@pytest.mark.parametrize("name", PAPER)
def test_any_patch_model_can_be_frozen(name):
    module = network(name, "tiny", trainable=False)
    trainable, total = parameter_counts(module)
    assert trainable == parameter_counts(module.head)[0]
    assert trainable < total
    module.train()
    assert not module.encoder.network.training  # running averages stay as they were loaded


def test_frozen_and_fine_tuned_are_one_encoder():
    settings = EncoderSettings(network="resnet10t", image_size=32)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    frozen, tuned = PatchEncoder(settings), PatchEncoder(settings, trainable=True)
    tuned.load_state_dict(frozen.state_dict())
    with torch.no_grad():
        assert torch.equal(frozen(pixels), tuned.eval()(pixels))


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_method_has_every_size(name):
    assert set(predictors.card(name).sizes) == {"paper", "small", "tiny"}


def test_settings_are_checked():
    with pytest.raises(ConfigurationError, match=r"'image' \(did you mean 'image_size'"):
        predictors.create("vit_b", size="tiny", image=3)
    with pytest.raises(ConfigurationError, match="no encoder is named"):
        _ = predictors.create("feature_ridge").sampling


def test_a_network_that_was_not_prepared_says_so():
    with pytest.raises(ContractError, match="not prepared yet"):
        _ = predictors.create("small_cnn", size="tiny").module


def test_weights_that_cannot_be_fetched_are_one_clear_error(monkeypatch):
    from spared_benchmark.compat.torchvision import import_timm

    def offline(*names, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(import_timm(), "create_model", offline)
    with pytest.raises(MissingInputError, match=r"cannot be fetched.*no route.*weights: none"):
        predictors.create("vit_b", size="paper").build(2)


@pytest.mark.parametrize("name", ["stnet", "hggep", "triplex", "bleep"])
def test_a_trained_network_is_loaded_without_what_it_started_from(name, monkeypatch):
    from spared_benchmark.compat.torchvision import import_timm

    timm = import_timm()
    create_model = timm.create_model

    def offline(*names, **options):
        assert not options.get("pretrained")
        return create_model(*names, **options)

    train = cohort(target="measured").of("train")
    trained = fitted(name, train, steps=1)
    again = create(name, weights="pretrained")
    monkeypatch.setattr(timm, "create_model", offline)
    again.load_state(trained.state())
    assert getattr(again, "within", again).settings["weights"] == "pretrained"
    again.module.eval()
    np.testing.assert_array_equal(predict(again, train), predict(trained, train))
