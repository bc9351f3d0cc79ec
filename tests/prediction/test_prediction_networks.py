"""Sizes of networks: what the paper says, and what a small one may cost."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from spared_benchmark.errors import ConfigurationError, ContractError, MissingInputError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.images import normalised
from spared_benchmark.training.sweep import parameter_counts

TRAINED = [name for name in predictors.available() if predictors.card(name).trained]


def test_vit_b_of_the_paper_has_the_printed_number_of_parameters():
    predictor = predictors.create("vit_b", size="paper", weights="none")
    with torch.device("meta"):
        network = predictor.build(128)
    assert parameter_counts(network) == (85_897_088, 85_897_088)


@pytest.mark.parametrize("name", ["small_cnn", "vit_b"])
@pytest.mark.parametrize("size", ["small", "tiny"])
def test_small_is_small(name, size):
    predictor = predictors.create(name, size=size)
    network = predictor.build(128)
    side = predictor.sampling.image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(normalised(torch.zeros(1, 3, side, side, dtype=torch.uint8)))
    assert parameter_counts(network)[0] <= 1_000_000
    assert 0 < counter.get_total_flops() <= 0.1e9


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
