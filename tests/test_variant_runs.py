"""Variants of a completer in whole runs of a small study."""

import pandas as pd
import pytest

from project_copy import STUDY, Project

pytestmark = pytest.mark.project

COMPLETERS = "[gene_mean, slide_gene_mean, spackle]"
VARIED = """
completion:
  assays: 2
  sizes: {spackle: tiny}
  budgets:
    spackle: {steps: 4, batch_size: 16, learning_rates: [0.001], validate_every: 2}
  variants:
    raw_zeros: {of: spackle, settings: {pre_completion: none}}
    more: {of: spackle, context: true}
    seen: {of: spackle, features: random}
"""
WRONG = VARIED.replace("pre_completion: none", "pre_completion: zeros")


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("varied"))
    study = STUDY.replace(COMPLETERS, COMPLETERS[:-1] + ", raw_zeros, more, seen]")
    assert study != STUDY
    study = study.replace("[raw, spackle]", "[raw, more]").replace(", small_cnn]", "]")
    project.add_study("varied", study)
    project.write("conf/varied/parameters_completion.yml", VARIED)
    project.kedro("run", "--env=varied", "--tags=ablation")
    return project


def table(project, name):
    return pd.read_parquet(project.root / "data/07_model_output/varied/SMALL" / name)


def test_the_tag_runs_the_variants_alone_with_what_they_need(varied):
    folder = varied.root / "data/07_model_output/varied/SMALL/completion"
    assert {path.stem for path in folder.glob("*.parquet")} == {"raw_zeros", "more", "seen"}
    scores = table(varied, "completion/more.parquet")
    assert set(scores["completer"]) == {"more", "more (paper evaluation)"}


def test_a_whole_run_keeps_them_and_reports_them_beside_the_rest(varied):
    before = table(varied, "completion/more.parquet")
    done = varied.kedro("run", "--env=varied", "--only-missing-outputs")
    assert "Running node: SMALL.complete-more" not in done.stdout + done.stderr
    assert "Running node: SMALL.complete-spackle" in done.stdout + done.stderr
    assert table(varied, "completion/more.parquet").equals(before)
    scores = table(varied, "completion_scores.parquet")
    assert {"spackle", "raw_zeros", "more", "seen", "floor"} <= set(scores["completer"])
    training = table(varied, "training.parquet")
    assert {"spackle", "raw_zeros", "more", "seen"} <= set(training["method"])
    # A variant completes what predictors are trained on as any completer does.
    assert set(table(varied, "prediction_scores.parquet")["target"]) >= {"more"}
    assert "raw_zeros" in (varied.root / "data/08_reporting/varied/report.html").read_text()


def test_a_variant_that_cannot_be_ends_the_run_before_the_first_node(varied):
    varied.write("conf/varied/parameters_completion.yml", WRONG)
    try:
        done = varied.kedro("run", "--env=varied", "--pipelines=completion", check=False)
    finally:
        varied.write("conf/varied/parameters_completion.yml", VARIED)
    assert done.returncode != 0
    assert "pre_completion is 'zeros'" in done.stdout + done.stderr
    assert "Running node" not in done.stdout + done.stderr
