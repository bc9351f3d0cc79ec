"""The study that runs every method, from simulated slides to the report."""

import json

import pandas as pd
import pytest

from project_copy import Project
from spared_benchmark.completion import completers
from spared_benchmark.prediction import predictors

pytestmark = pytest.mark.project


def test_every_method_reaches_the_report(tmp_path):
    project = Project(tmp_path)

    project.kedro("run", "--env=all_tiny")

    reporting = tmp_path / "data/08_reporting/all_tiny"
    completion = pd.read_parquet(reporting / "completion_scores.parquet")
    prediction = pd.read_parquet(reporting / "prediction_scores.parquet")
    assert set(completers.available()) <= set(completion["completer"])
    scored = set(prediction["predictor"])
    assert set(predictors.available()) <= scored
    assert {"small_cnn_shuffled", "small_cnn_smoothed", "feature_knn-few"} <= scored
    kinds = prediction.groupby("predictor")["kind"].first()
    assert kinds["small_cnn_shuffled"] == "control"
    assert kinds["small_cnn_smoothed"] == "method"
    assert {"floor", "truth_neighbours", "truth_low_rank"} <= set(kinds[kinds == "ceiling"].index)
    compared = pd.read_parquet(reporting / "comparisons.parquet").query("comparison == 'settings'")
    assert set(compared["predictor"]) == {"feature_knn-few"}
    assert set(compared["against"]) == {"feature_knn"}
    page = (reporting / "report.html").read_text(encoding="utf-8")
    assert [
        name for name in [*completers.available(), *predictors.available()] if name not in page
    ] == []

    cards = {
        target: json.loads(
            (tmp_path / f"data/06_models/all_tiny/SIM_HEX/{target}/stnet/card.json").read_text()
        )
        for target in ("raw", "measured", "spackle")
    }
    assert len(cards["raw"]["trials"]) == 2  # the rate is searched on the first target
    for target in ("measured", "spackle"):
        (trial,) = cards[target]["trials"]
        assert [trial["learning_rate"]] == cards["raw"]["learning_rates"]
