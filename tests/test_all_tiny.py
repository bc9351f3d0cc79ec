"""The study that runs every method, from simulated slides to the report."""

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
    assert set(predictors.available()) == set(prediction["predictor"])
    page = (reporting / "report.html").read_text(encoding="utf-8")
    assert [
        name for name in [*completers.available(), *predictors.available()] if name not in page
    ] == []
