"""What MLflow holds after a run: parent, sweeps and trials, also when something goes wrong."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner, ThreadRunner
from tracked import CARD, catalog_with_digests, run, stored, sweep_node

from spared_benchmark.refusal import RunRefusedError
from spared_benchmark.tracking import TrackingHooks
from spared_benchmark.tracking.results import pooled_scores, split_numbers
from spared_benchmark.tracking.store import ParentRun, RunStore
from spared_benchmark.training.observer import Silent, current


def train(target):
    """Two trials of two validations, the second of which diverges."""
    for trial, status in (("lr=0.001 seed=42", "finished"), ("lr=1 seed=42", "diverged")):
        current().trial_started(trial, {"learning_rate": 0.001, "seed": 42})
        current().validated(trial, 10, {"step": 10, "val_mse": 2.0})
        current().validated(trial, 20, {"step": 20, "val_mse": 1.0})
        current().trial_ended(trial, status, {"seed": 42, "best_step": 20, "seconds": 0.5})
    return SimpleNamespace(card=CARD)


def break_down(target):
    current().trial_started("lr=0.001 seed=42", {})
    raise ValueError("no spots left")


def interrupt(target):
    current().trial_started("lr=0.001 seed=42", {})
    raise KeyboardInterrupt


def score(*cards):
    rows = [("vit_b", "raw", "test", "", "mse", seed_value, "combat") for seed_value in (0.5, 0.7)]
    rows.append(("vit_b", "raw", "test", "slide_1", "mse", 9.0, "combat"))
    columns = ["predictor", "target", "split", "slide", "metric", "value", "space"]
    return pd.DataFrame(rows, columns=columns).assign(cohort="VLO")


@pytest.mark.parametrize("runner", [SequentialRunner, ThreadRunner])
def test_a_run_has_sweeps_and_a_sweep_has_trials(project, runner):
    scoring = Node(score, ["card-raw", "card-spackle"], "scores", name="score", namespace="VLO")
    nodes = [sweep_node(train), sweep_node(train, "spackle"), scoring]
    run(project, Pipeline(nodes), runner())
    client, runs = stored(project)
    everything = client.search_runs([runs["real · VLO · benchmark"].info.experiment_id])
    parent, child = runs["real · VLO · benchmark"], runs["vit_b on raw · VLO"]
    assert len(everything) == 1 + 2 + 4
    assert parent.info.status == "FINISHED"
    assert parent.data.params["cohorts"] == "VLO"
    assert parent.data.params["runner"] == "SequentialRunner"
    assert parent.data.tags["protocol"] == "inductive"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    tags = ("cohort", "target", "predictor", "study", "protocol", "digest")
    assert [child.data.tags[tag] for tag in tags] == [
        "VLO",
        "raw",
        "vit_b",
        "real",
        "inductive",
        "d1",
    ]
    assert child.data.params == {
        "method": "vit_b",
        "sizes.width": "8",
        "genes": "A, B",
    }
    assert child.data.metrics == {"val_mse": 0.9, "test_mse.combat": pytest.approx(0.6)}
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["card.json"]
    trials = [
        one for one in everything if one.data.tags.get("mlflow.parentRunId") == child.info.run_id
    ]
    assert {one.info.run_name: one.info.status for one in trials} == {
        "lr=0.001 seed=42": "FINISHED",
        "lr=1 seed=42": "FAILED",
    }
    curve = client.get_metric_history(trials[0].info.run_id, "val_mse")
    assert [(point.step, point.value) for point in curve] == [(10, 2.0), (20, 1.0)]
    assert trials[0].data.metrics.keys() == {"val_mse", "best_step", "seconds"}


def test_the_observer_is_gone_after_the_node(project):
    run(project, Pipeline([sweep_node(train)]))
    assert isinstance(current(), Silent)
    assert ParentRun.current() is None


def test_a_failed_node_leaves_failed_runs_with_the_reason(project):
    with pytest.raises(ValueError, match="no spots left"):
        run(project, Pipeline([sweep_node(break_down)]))
    _, runs = stored(project)
    assert {entry.info.status for entry in runs.values()} == {"FAILED"}
    assert len(runs) == 3
    assert runs["vit_b on raw · VLO"].data.tags["error"] == "ValueError: no spots left"
    assert runs["real · VLO · benchmark"].data.tags["error"] == "ValueError: no spots left"
    assert isinstance(current(), Silent)


def test_an_interrupted_run_is_killed_when_the_process_ends(project):
    hooks = TrackingHooks()
    with pytest.raises(KeyboardInterrupt):
        run(project, Pipeline([sweep_node(interrupt)]), hooks=hooks)
    hooks._abandon()  # what atexit calls
    _, runs = stored(project)
    assert len(runs) == 3
    assert {entry.info.status for entry in runs.values()} == {"KILLED"}
    assert isinstance(current(), Silent)


def test_the_next_run_closes_an_interrupted_one(project):
    hooks = TrackingHooks()
    with pytest.raises(KeyboardInterrupt):
        run(project, Pipeline([sweep_node(interrupt)]), hooks=hooks)
    run(project, Pipeline([sweep_node(train, "measured")]), hooks=hooks)
    _, runs = stored(project)
    assert runs["vit_b on raw · VLO"].info.status == "KILLED"
    assert runs["vit_b on measured · VLO"].info.status == "FINISHED"


def test_a_server_that_is_lost_at_the_start_loses_nothing(project, caplog):
    unreachable = {"tracking_uri": f"sqlite:///{project}/no/such/folder/{'x' * 300}/mlflow.db"}
    (project / "no").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        run(project, Pipeline([sweep_node(train)]), settings=unreachable)
    warnings = [entry.getMessage() for entry in caplog.records if "untracked" in entry.getMessage()]
    assert len(warnings) == 1
    assert "results are not affected" in warnings[0]


def test_a_server_that_is_lost_on_the_way_loses_nothing(project, caplog, monkeypatch):
    from mlflow import MlflowClient

    def lost(*arguments, **settings):
        raise OSError("connection reset")

    finished = []

    def lose_then_train(target):
        monkeypatch.setattr(MlflowClient, "log_batch", lost)
        finished.append(train(target))
        return finished[0]

    with caplog.at_level(logging.WARNING):
        run(project, Pipeline([sweep_node(lose_then_train)]))
    assert [model.card for model in finished] == [CARD]
    assert sum("connection reset" in entry.getMessage() for entry in caplog.records) == 1


def test_disabled_tracking_writes_nothing(project):
    (project / "mlflow.db").unlink()
    run(project, Pipeline([sweep_node(train)]), settings={"enabled": False})
    assert list(project.iterdir()) == []


def test_an_unknown_setting_names_the_nearest(project):
    with pytest.raises(RunRefusedError, match="did you mean 'experiment'"):
        run(project, Pipeline([sweep_node(train)]), settings={"experimnt": "x"})


def test_the_environment_variable_goes_before_the_file(project, monkeypatch):
    (project / "mlflow.db").rename(project / "elsewhere.db")
    uri = f"sqlite:///{project / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run(project, Pipeline([sweep_node(train)]), settings={"tracking_uri": "sqlite:///nowhere.db"})
    assert len(stored(project, "elsewhere.db")[1]) == 4


def test_another_process_attaches_to_the_parent(project):
    store = RunStore(f"sqlite:///{project / 'mlflow.db'}")
    experiment = store.experiment("spared-benchmark", (project / "mlruns").as_uri())
    run_id = store.start(experiment, "parent", {}, {})
    ParentRun(store.uri, experiment, run_id, {"study": "real"}).export()
    worker = TrackingHooks()  # has seen neither context nor pipeline
    node = sweep_node(train)
    worker.before_node_run(node=node, catalog=catalog_with_digests())
    worker.after_node_run(node=node, outputs={"VLO.card-raw": train("raw")})
    _, runs = stored(project)
    assert runs["vit_b on raw · VLO"].data.tags["mlflow.parentRunId"] == run_id
    assert runs["vit_b on raw · VLO"].data.tags["study"] == "real"


def test_controls_share_a_run_and_keep_their_names(project):
    tags = ["sweep", "cohort.VLO", "target.raw", "predictor.vit_b", "predictor.train_mean"]
    controls = Node(train, "target", "card-raw", name="train-raw-controls", tags=tags)
    run(
        project,
        Pipeline([controls, Node(score, "card-raw", "scores", name="score", namespace="VLO")]),
    )
    _, runs = stored(project)
    child = runs["controls on raw · VLO"]
    assert child.data.tags["predictor"] == "train_mean, vit_b"
    assert child.data.metrics["vit_b.test_mse.combat"] == pytest.approx(0.6)


def test_a_card_tells_how_it_was_run_from_what_was_measured():
    card = {
        "version": 1,
        "seconds": 1.5,
        "42": {"best_step": 30, "learning_rate": 0.01},
        "trained": True,
        "val_mse": float("nan"),
        "genes": [f"gene_{number}" for number in range(128)],
        "trials": [{"learning_rate": 0.01}],
    }
    parameters, metrics = split_numbers(card)
    assert metrics == {"seconds": 1.5, "42.best_step": 30.0}
    assert parameters.keys() == {"version", "42.learning_rate", "trained", "val_mse"}


def test_only_pooled_scores_of_the_headline_regime_are_shown():
    columns = ["completer", "split", "slide", "metric", "value", "space", "regime"]
    columns.append("hidden_fraction")
    rows = [
        ("spackle", "val", "", "mse", 0.4, "log_tpm", "entries", 0.3),
        ("spackle", "val", None, "mse", 0.6, "log_tpm", "entries", 0.3),
        ("spackle", "val", "", "mse", 7.0, "log_tpm", "entries", 0.5),
        ("spackle", "val", "", "mse", 8.0, "log_tpm", "blocks", 0.3),
        ("spackle", "val", "A1", "mse", 9.0, "log_tpm", "entries", 0.3),
    ]
    table = pd.DataFrame(rows, columns=columns)
    genes = table.assign(gene="ACTB")
    found = list(
        pooled_scores(
            {"scores": table, "genes": genes, "other": pd.DataFrame({"x": [1]}), "text": "no"}
        )
    )
    assert found == [({"completer": "spackle"}, {"val_mse.log_tpm": pytest.approx(0.5)})]


def test_importing_the_hooks_does_not_import_mlflow_or_torch():
    code = (
        "import sys, spared_benchmark.tracking; "
        "print(sorted({'mlflow', 'torch', 'scanpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
