"""Weights that have seen public slides: told by the settings or by the network's name."""

import pandas as pd
import pytest

from spared_benchmark.prediction.cards import kind_of
from spared_benchmark.prediction.contamination import contaminated
from spared_benchmark.reporting import tables
from spared_benchmark.reporting.prediction_grids import CONTAMINATED, prediction_grid
from spared_benchmark.reporting.schemas import SCHEMAS
from spared_benchmark.study import BenchmarkSettings


def settings(**changed):
    given = {
        "encoders": {"own": {"network": "resnet18"}, "omi": {"network": "hf-hub:someone/OmiCLIP"}},
        "features": {"feature_ridge": "own", "deepspot": ["own", "omi"]},
    }
    return BenchmarkSettings.model_validate({**given, **changed})


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, {"deepspot", "deepspot_smoothed"}),
        ({"contaminated": ["own"]}, {"deepspot", "deepspot_smoothed", "feature_ridge"}),
        ({"contaminated": ["stnet"]}, {"deepspot", "deepspot_smoothed", "stnet"}),
        (
            {"settings": {"stnet": {"weights": "/weights/loki.safetensors"}}},
            {"deepspot", "deepspot_smoothed", "stnet"},
        ),
    ],
)
def test_named_networks_and_known_ones_are_found_in_every_variant(changed, names):
    every = ("deepspot", "deepspot_smoothed", "feature_ridge", "stnet", "small_cnn")
    assert {name for name in every if contaminated(name, settings(**changed))} == names


def test_other_settings_may_bring_contaminated_weights_or_clean_ones():
    given = settings(
        features={"feature_ridge": "omi", "feature_ridge-clean": "own"},
        settings={"feature_ridge-clean": {}, "stnet-own": {"weights": "/weights/loki.safetensors"}},
    )
    expected = {"feature_ridge": True, "feature_ridge-clean": False, "stnet": False}
    expected |= {"stnet-own": True}
    for name, seen in expected.items():
        assert contaminated(name, given) == contaminated(f"{name}_smoothed", given) == seen


def test_what_was_fitted_to_exchanged_labels_stays_a_control():
    assert kind_of("deepspot_shuffled", settings()) == "control"
    assert kind_of("deepspot", settings()) == "contaminated"
    assert kind_of("train_mean", settings()) == "control"


def test_a_contaminated_predictor_is_shown_and_not_ranked():
    told = {
        "cohort": "A",
        "protocol": "inductive",
        "space": "log_tpm",
        "target": "measured",
        "seed": 0,
        "split": "test",
        "slide": "",
        "metric": "mse",
        "n": 100,
    }
    rows = [("deepspot", "contaminated", 0.1), ("stnet", "method", 0.5), ("mean", "control", 0.9)]
    scores = pd.DataFrame(
        [{**told, "predictor": name, "kind": kind, "value": mse} for name, kind, mse in rows]
    )
    summary = tables.prediction_summary(
        tables.collect({"A": scores[list(SCHEMAS["prediction_scores"].columns)]})
    )

    assert list(summary.loc[summary["best_mse"], "predictor"]) == ["stnet"]
    assert list(summary["predictor"]) == ["stnet", "deepspot", "mean"]
    groups = prediction_grid(summary, SCHEMAS["comparisons"].empty(), "").groups
    assert [(group.label, len(group.rows)) for group in groups][1] == (CONTAMINATED, 1)
    assert len(groups) == 3
