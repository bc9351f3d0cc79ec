"""The Dask runner: the same graph in other processes, with hooks and one parent run."""

import json
import os
import subprocess
import sys

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.runners import DaskRunner
from spared_benchmark.tracking.store import ParentRun

LEFT_OUT = ("MLFLOW_TRACKING_URI", "KEDRO_ENV", "SPARED_TRACKING_PARENT")
PYPROJECT = """
[tool.kedro]
package_name = "toy_project"
project_name = "toy"
kedro_init_version = "1.7.0"
source_dir = "src"
"""
SETTINGS = """
import os
from kedro.framework.hooks import hook_impl
from spared_benchmark.tracking import TrackingHooks


class Witness:
    @hook_impl
    def before_pipeline_run(self):
        os.environ["SPARED_TEST_DRIVER"] = str(os.getpid())

    @hook_impl
    def before_node_run(self, node, inputs):
        return {"witness": str(os.getpid())} if "witness" in node.inputs else None


HOOKS = (TrackingHooks(), Witness())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry", "kedro-viz")
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "base",
                      "config_patterns": {"mlflow": ["mlflow*.yml"]}}
"""
NODES = """
import os

from spared_benchmark.training.observer import current


def train(name, witness):
    current().trial_started("lr=0.001 seed=42", {})
    current().validated("lr=0.001 seed=42", 1, {"val_mse": 0.5})
    current().trial_ended("lr=0.001 seed=42", "finished", {})
    return {"process": os.getpid(), "witness": int(witness), "name": name}


def collect(*cards):
    driver = int(os.environ["SPARED_TEST_DRIVER"])
    return {"processes": [card["process"] for card in cards], "here": os.getpid(), "driver": driver}


def fail(name, witness):
    raise ValueError("this spot has no image")
"""
REGISTRY = """
from kedro.pipeline import Node, Pipeline

from toy_project.nodes import collect, fail, train

TAGS = ["sweep", "cohort.VLO", "target.raw"]


def sweep(name, function=train):
    return Node(function, ["params:" + name, "witness"], "card-" + name, name="train-" + name,
                tags=[*TAGS, "predictor." + name])


def register_pipelines():
    last = Node(collect, ["card-a", "card-b"], "collected", name="collect")
    return {
        "__default__": Pipeline([sweep("a"), sweep("b"), last]),
        "failing": Pipeline([sweep("a", fail)]),
    }
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A Kedro project of three nodes."""
    root = tmp_path_factory.mktemp("toy")
    package, conf = root / "src" / "toy_project", root / "conf" / "base"
    package.mkdir(parents=True)
    conf.mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text("")
    (package / "settings.py").write_text(SETTINGS)
    (package / "nodes.py").write_text(NODES)
    (package / "pipeline_registry.py").write_text(REGISTRY)
    entries = ["card-a", "card-b", "collected", "witness"]
    catalog = {
        name: {"type": "json.JSONDataset", "filepath": f"data/{name}.json"} for name in entries
    }
    (conf / "catalog.yml").write_text(json.dumps(catalog))
    (conf / "parameters.yml").write_text("a: a\nb: b\n")
    (conf / "mlflow.yml").write_text("mlflow: {experiment: toy}\n")
    (root / "data").mkdir()
    (root / "data" / "witness.json").write_text('"0"')
    return root


def kedro_run(project, *options):
    """Run the command of a person; a process of its own keeps this one's Kedro settings."""
    silent = {"KEDRO_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    inherited = {key: value for key, value in os.environ.items() if key not in LEFT_OUT}
    runner = ["--runner=spared_benchmark.runners.DaskRunner", *options]
    return subprocess.run(
        [sys.executable, "-m", "kedro", "run", *runner],
        cwd=project,
        env={**inherited, **silent},
        capture_output=True,
        text=True,
        check=False,
    )


def runs_of(toy):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{toy / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    return {entry.info.run_name: entry for entry in found}


def test_nodes_run_in_workers_with_hooks_and_one_parent_run(toy):
    done = kedro_run(toy, "--runner-params=n_workers=2")
    assert done.returncode == 0, done.stderr
    collected = json.loads((toy / "data" / "collected.json").read_text())
    card = json.loads((toy / "data" / "card-a.json").read_text())
    assert collected["driver"] not in [collected["here"], *collected["processes"]]
    assert card["witness"] == card["process"]  # the project's own hook ran in the worker
    runs = runs_of(toy)
    parent = runs["base · whole study"]
    assert parent.info.status == "FINISHED"
    for name in ("a", "b"):
        child = runs[f"{name} on raw · VLO"]
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert runs["lr=0.001 seed=42"].data.metrics == {"val_mse": 0.5}


def test_the_error_of_a_worker_reaches_the_driver(toy):
    done = kedro_run(toy, "--runner-params=n_workers=1", "--pipelines=failing")
    assert done.returncode != 0
    assert "this spot has no image" in done.stdout + done.stderr
    runs = runs_of(toy)
    assert runs["base · failing"].info.status == "FAILED"
    assert "this spot has no image" in runs["base · failing"].data.tags["error"]


def one_node():
    return Pipeline([Node(str.upper, "text", "loud", name="shout")])


def test_a_dataset_in_memory_is_refused_before_any_worker_starts():
    catalog = DataCatalog({"text": MemoryDataset("spot")})
    with pytest.raises(ConfigurationError, match=r"in memory .*: loud; give each an entry"):
        DaskRunner(n_workers=1).run(one_node(), catalog)


def test_a_local_tracking_database_is_refused_on_other_machines(tmp_path, monkeypatch):
    from kedro_datasets.json import JSONDataset

    catalog = DataCatalog(
        {"text": MemoryDataset("spot"), "loud": JSONDataset(filepath=str(tmp_path / "loud.json"))}
    )
    monkeypatch.setenv("SPARED_TRACKING_PARENT", "")
    ParentRun("sqlite:///mlflow.db", "1", "run", {}).export()
    with pytest.raises(ConfigurationError, match="set MLFLOW_TRACKING_URI to a tracking server"):
        DaskRunner(address="tcp://192.0.2.1:8786").run(one_node(), catalog)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "tcp://127.0.0.1:8786", "n_workers": 2}, "give one of the two"),
        ({"n_workers": 0}, "n_workers of at least 1, found 0"),
    ],
)
def test_contradicting_parameters_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        DaskRunner(**settings)


def test_a_missing_dask_names_the_extra(monkeypatch, tmp_path):
    from kedro_datasets.json import JSONDataset

    catalog = DataCatalog(
        {"text": MemoryDataset("spot"), "loud": JSONDataset(filepath=str(tmp_path / "loud.json"))}
    )
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'spared-benchmark\[dask\]'"):
        DaskRunner(n_workers=1).run(one_node(), catalog)


def test_importing_the_runner_does_not_import_dask():
    heavy = "{'distributed', 'dask', 'mlflow', 'torch'}"
    code = f"import sys, spared_benchmark.runners; sys.exit(len({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
