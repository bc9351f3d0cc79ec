"""What a network is trained by cannot move unseen; ``python golden_losses.py`` prints the table."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from every_predictor import create
from golden_losses import WAYS, terms_of
from prediction_samples import cohort

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.training.seeds import isolated

GOLDEN = {
    "small_cnn": {"loss": 3.56764},
    "shufflenet": {"loss": 31.07246},
    "stnet": {"loss": 3.44823},
    "stnet, faithful": {"loss": 28.34452},
    "vit_b": {"loss": 28.22935},
    "vit_b_delta": {"loss": 3.66803},
    "vit_b_bias": {"loss": 3.66803},
    "histogene": {"loss": 3.30755},
    "histogene, faithful": {"loss": 35.72162},
    "hist2st": {"loss": 4.56966, "mse": 3.76684, "counts": 3.18649, "copies": 0.01239},
    "hist2st, faithful": {"loss": 34.82398, "mse": 34.02589, "counts": 3.19151, "copies": 0.00043},
    "hist2st, neighbours alone": {
        "loss": 4.69568,
        "mse": 3.89729,
        "counts": 3.19283,
        "copies": 0.00037,
    },
    "hggep": {"loss": 5.31695, "mse": 4.16667, "counts": 3.35215, "copies": 0.62448},
    "hggep, faithful": {"loss": 27.39665, "mse": 26.56253, "counts": 3.3365},
    "bleep": {"loss": 8.54597},
    "bleep, faithful": {"loss": 5.91549},
    "mclstexp": {"loss": 7.47023},
    "mclstexp, faithful": {"loss": 7.73723},
    "sepal": {"loss": 4.24177},
    "sepal, faithful": {"loss": 4.01215},
    "sepal, st": {"loss": 7.45321},
    "sepal, st, faithful": {"loss": 6.69667},
    "egn": {"loss": 4.09582, "mse": 3.49965, "correlation": -0.19233},
    "egn, faithful": {"loss": 25.71201, "mse": 25.39739, "correlation": 0.37076},
    "eggn": {"loss": 3.82377, "mse": 3.23206, "correlation": -0.18343},
    "eggn, faithful": {"loss": 29.63963, "mse": 28.96564, "correlation": -0.34798},
    "deepspot": {"loss": 1.04584, "standard_mse": 1.04584, "cosine": 1.01783},
    "triplex": {"loss": 11.70156, "fusion_mse": 3.25739},
    "triplex, faithful": {"loss": 80.90465, "fusion_mse": 27.32033},
    "stflow": {"loss": 3.42205},
    "stflow, faithful": {"loss": 26.68321},
}


def test_every_network_is_golden():
    assert list(GOLDEN) == list(WAYS)
    trained = {name for name in predictors.available() if predictors.card(name).trained}
    assert {name for name, _ in WAYS.values()} == trained


@pytest.mark.parametrize("way", [way for way in WAYS if not way.endswith("faithful")])
def test_entries_that_do_not_count_are_nothing_to_a_loss(way):
    train = cohort(target="measured").of("train")
    strange = [replace(one, y=np.where(one.weight, one.y, np.float32(50))) for one in train]
    assert terms_of(way, strange) == pytest.approx(terms_of(way, train), rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_loss_of_a_step_is_what_it_was(way):
    found = terms_of(way)
    assert found == pytest.approx(GOLDEN[way], rel=2e-3, abs=5e-5)


STARTS_AT_MEAN = ("histogene", "hist2st", "hggep", "egn", "eggn", "triplex", "stflow")


@pytest.mark.parametrize(("name", "faithful"), product(STARTS_AT_MEAN, (False, True)))
def test_heads_start_at_the_train_mean_and_published_ones_at_random(name, faithful):
    train = cohort(target="measured").of("train")
    predictor = create(name, faithful=faithful)
    with isolated(0, "network"):
        predictor.prepare(train)
    head = predictor.head
    start = 0 if faithful else train_mean(train)
    apart = np.abs(head.bias.detach().numpy() - start)
    assert 0 < apart.max() <= head.in_features**-0.5 < 1 < train_mean(train).min()
