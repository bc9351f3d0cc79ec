"""What MLflow holds of trials: what they were, how they ended, who won, what is to be seen."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.pipeline import Node, Pipeline
from matplotlib.figure import Figure
from tracked import CARD, run, stored, sweep_node

from spared_benchmark.errors import ContractError
from spared_benchmark.reporting.figures.style import png
from spared_benchmark.tracking.artifacts import written
from spared_benchmark.training.observer import current


def picture():
    return png(Figure(figsize=(1, 1)))


def train_and_show(target):
    """Two seeds, each with one trial that is shown and selected."""
    for seed in (42, 43):
        trial = f"lr=0.001 seed={seed}"
        parameters = {"learning_rate": 0.001, "seed": seed, "method": "vit_b"}
        current().trial_started(trial, {**parameters, "trial": "t1", "data": "d2"})
        current().validated(trial, 10, {"step": 10, "val_mse": 2.0})
        rows = [{"gene": "ACTB", "pcc": 0.5}, {"gene": "CD74", "pcc": 0.25}]
        current().shown(trial, lambda rows=rows: {"genes": rows, "maps": picture()})
        summary = {
            "parameters_trainable": 7,
            "parameters_total": 9,
            "micro_batches": 2,
            "views_per_second": 100.0,
            "peak_memory_mb": 12.5,
            "device": "cpu",
        }
        current().trial_ended(trial, "finished", {**parameters, **summary})
        current().selected(trial)
    return SimpleNamespace(card=CARD)


def children(client, run):
    runs = client.search_runs([run.info.experiment_id], max_results=100)
    return [one for one in runs if one.data.tags.get("mlflow.parentRunId") == run.info.run_id]


def test_a_trial_is_described_shown_and_tagged_when_it_wins(project, tmp_path_factory):
    run(project, Pipeline([sweep_node(train_and_show)]))
    client, runs = stored(project)
    trial, sweep = runs["lr=0.001 seed=42"], runs["vit_b on raw · VLO"]
    params = ("learning_rate", "seed", "parameters_trainable", "parameters_total", "micro_batches")
    assert [trial.data.params[key] for key in params] == ["0.001", "42", "7", "9", "2"]
    assert trial.data.metrics == {"val_mse": 2.0, "views_per_second": 100.0, "peak_memory_mb": 12.5}
    tags = ("trial_digest", "data_digest", "digest", "winner", "trial_status")
    assert [trial.data.tags[tag] for tag in tags] == ["t1", "d2", "d1", "true", "finished"]
    assert sweep.data.tags["winner"] == "lr=0.001 seed=42, lr=0.001 seed=43"
    files = {file.path for file in client.list_artifacts(trial.info.run_id)}
    assert files == {"genes.csv", "maps.png"}
    folder = tmp_path_factory.mktemp("artifacts")
    table = pd.read_csv(client.download_artifacts(trial.info.run_id, "genes.csv", str(folder)))
    assert table.to_dict("list") == {"gene": ["ACTB", "CD74"], "pcc": [0.5, 0.25]}
    path = client.download_artifacts(trial.info.run_id, "maps.png", str(folder))
    assert Path(path).read_bytes() == picture()


def test_a_trial_that_lost_or_diverged_is_no_winner(project):
    def lose(target):
        for trial, status in (("lr=0.001 seed=42", "halted"), ("lr=1 seed=42", "finished")):
            current().trial_started(trial, {"method": "vit_b"})
            current().trial_ended(trial, status, {})
        current().selected("lr=1 seed=42")
        return SimpleNamespace(card=CARD)

    run(project, Pipeline([sweep_node(lose)]))
    _, runs = stored(project)
    halted, winner = runs["lr=0.001 seed=42"], runs["lr=1 seed=42"]
    assert "winner" not in halted.data.tags
    assert (halted.info.status, halted.data.tags["trial_status"]) == ("FINISHED", "halted")
    assert winner.data.tags["winner"] == "true"
    assert runs["vit_b on raw · VLO"].data.tags["winner"] == "lr=1 seed=42"


def test_winners_of_several_methods_in_one_node_are_told_apart(project):
    def two_stages(target):
        for method, seed in (("shufflenet", 1), ("vit_b", 2)):
            trial = "lr=0.001 seed=42"
            current().trial_started(trial, {"method": method, "number": seed})
            current().trial_ended(trial, "finished", {})
            current().selected(trial)
        return SimpleNamespace(card=CARD)

    run(project, Pipeline([sweep_node(two_stages)]))
    client, runs = stored(project)
    sweep = runs["vit_b on raw · VLO"]
    assert sweep.data.tags["winner"] == "lr=0.001 seed=42"
    assert sweep.data.tags["winner.shufflenet"] == "lr=0.001 seed=42"
    trials = children(client, sweep)
    assert {one.data.params["method"] for one in trials} == {"shufflenet", "vit_b"}
    assert all(one.data.tags["winner"] == "true" for one in trials)


FAILED = {"predictor": "vit_b", "status": "failed", "reason": "ValueError: no spots left"}


def fail(target):
    """A predictor that failed is told of in its card; the node itself succeeds."""
    current().trial_started("lr=0.001 seed=42", {"method": "vit_b"})
    current().trial_ended("lr=0.001 seed=42", "failed", {"error": "ValueError: no spots left"})
    return SimpleNamespace(card=FAILED)


def test_a_predictor_that_failed_is_a_failed_sweep_with_the_reason(project):
    run(project, Pipeline([sweep_node(fail)]))
    _, runs = stored(project)
    for name in ("vit_b on raw · VLO", "lr=0.001 seed=42"):
        assert runs[name].info.status == "FAILED"
        assert runs[name].data.tags["error"] == "ValueError: no spots left"
    assert runs["real · VLO · benchmark"].info.status == "FINISHED"


def test_of_controls_the_one_that_failed_is_named(project):
    def controls(target):
        good = {"predictor": "train_mean", "status": "fitted", "val_mse": 1.0}
        return SimpleNamespace(card={"predictors": {"train_mean": good, "vit_b": FAILED}})

    tags = ["sweep", "cohort.VLO", "target.raw", "predictor.vit_b", "predictor.train_mean"]
    run(project, Pipeline([Node(controls, "target", "card-raw", name="train-raw", tags=tags)]))
    _, runs = stored(project)
    sweep = runs["controls on raw · VLO"]
    assert sweep.info.status == "FAILED"
    assert sweep.data.tags["error.vit_b"] == "ValueError: no spots left"
    assert not {"error", "error.train_mean"} & sweep.data.tags.keys()


def test_nothing_is_drawn_for_a_lost_server(project, monkeypatch):
    from mlflow import MlflowClient

    def lost(*arguments, **settings):
        raise OSError("connection reset")

    def lose_then_show(target):
        current().trial_started("lr=0.001 seed=42", {})
        monkeypatch.setattr(MlflowClient, "log_batch", lost)
        current().validated("lr=0.001 seed=42", 10, {"val_mse": 1.0})
        current().shown("lr=0.001 seed=42", lambda: drawn.append(1) or {})
        return SimpleNamespace(card=CARD)

    drawn = []
    run(project, Pipeline([sweep_node(lose_then_show)]))
    assert drawn == []


@pytest.mark.parametrize("content", [b"no picture", "text", 1.0])
def test_an_artifact_that_is_neither_table_nor_picture_is_refused(content):
    with pytest.raises(ContractError, match="artifact 'genes' is a"):
        written("genes", content)
