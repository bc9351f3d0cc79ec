"""A target weighted by its completer's uncertainty, in a whole run of a small study."""

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad

from project_copy import STUDY, Project

pytestmark = pytest.mark.project

COMPLETION = """
completion:
  assays: 2
  spaces: [log_tpm]
  sizes: {ours: tiny}
  budgets:
    ours: {steps: 4, batch_size: 16, learning_rates: [0.001], validate_every: 2}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("weighted"))
    study = STUDY.replace("slide_gene_mean, spackle]", "slide_gene_mean, ours]")
    study = study.replace("[raw, spackle]", "[ours, ours_weighted]")
    study = study.replace("[feature_ridge, small_cnn]", "[small_cnn]")
    project.add_study("weighted", study)
    project.write("conf/weighted/parameters_completion.yml", COMPLETION)
    project.kedro("run", "--env=weighted")
    return project


def table(project, name):
    return pd.read_parquet(project.root / "data/07_model_output/weighted/SMALL" / name)


def test_the_completed_file_tells_uncertainty_and_intervals_are_scored(project):
    (path,) = (project.root / "data/05_model_input/weighted/SMALL").rglob("ours.h5ad")
    completed = read_h5ad(path)
    assert set(completed.layers) == {"ours", "ours_sd", "ours_lower", "ours_upper"}
    assert (completed.layers["ours_lower"] <= completed.layers["ours_upper"]).all()
    scores = table(project, "completion_scores.parquet")
    told = scores[scores["metric"] == "coverage"]
    assert set(told["completer"]) == {"ours"}
    assert told["value"].between(0, 1).all()


def test_both_targets_are_trained_on_scored_alike_and_compared(project):
    scores = table(project, "prediction_scores.parquet")
    mse = scores[(scores["metric"] == "mse") & (scores["kind"] == "method")]
    assert set(mse["target"]) == {"ours", "ours_weighted"}
    # Every target is judged on the same measured entries.
    assert mse.groupby(["space", "split", "slide"])["n"].nunique().eq(1).all()
    keys = ["predictor", "space", "split", "slide"]
    by_target = mse.pivot_table("value", keys, "target")
    changes = by_target["ours_weighted"] - by_target["ours"]
    assert np.isfinite(changes).all()
    assert (changes != 0).any()
    compared = table(project, "comparisons.parquet")
    assert "ours" in set(compared.loc[compared["target"] == "ours_weighted", "against"])
    report = (project.root / "data/08_reporting/weighted/report.html").read_text()
    assert "ours_weighted" in report
