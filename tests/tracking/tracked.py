"""Runs pipelines as a Kedro session does, and reads what MLflow holds of them."""

from types import SimpleNamespace

from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node
from kedro.runner import SequentialRunner

from spared_benchmark.tracking import TrackingHooks

CARD = {
    "method": "vit_b",
    "val_mse": 0.9,
    "sizes": {"width": 8},
    "genes": ["A", "B"],
}


def sweep_node(function, target="raw", predictor="vit_b"):
    tags = ["sweep", "cohort.VLO", f"target.{target}", f"predictor.{predictor}"]
    return Node(
        function, "target", f"card-{target}", name=f"train-{target}", tags=tags, namespace="VLO"
    )


def context(settings=None, study_name="real"):
    loader = {
        "mlflow": {"mlflow": settings or {}},
        "parameters": {"study": {"protocol": "inductive"}},
    }

    class Loader(dict):
        pass

    config_loader = Loader(loader)
    config_loader.study_name = study_name
    return SimpleNamespace(config_loader=config_loader)


def catalog_with_digests():
    """A catalog whose outputs know what made them, as the project's datasets do."""
    catalog = DataCatalog()
    catalog["target"] = "raw"
    for name in ("card-raw", "card-spackle", "card-measured"):
        dataset = MemoryDataset()
        dataset.expected = "d1"
        catalog[name] = dataset
    return catalog


def run(project, pipeline, runner=None, hooks=None, settings=None):
    """Run as a Kedro session does: the same hooks in the same order."""
    hooks = hooks or TrackingHooks()
    manager = _create_hook_manager()
    manager.register(hooks)
    catalog = catalog_with_digests()
    run_params = {
        "project_path": str(project),
        "env": "real",
        "pipeline_names": ["benchmark"],
        "run_id": "now",
        "namespaces": ["VLO"],
        "runner": "<kedro.runner.SequentialRunner object at 0x7f>",
    }
    manager.hook.after_context_created(context=context(settings))
    manager.hook.before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)
    arguments = {"run_params": run_params, "pipeline": pipeline, "catalog": catalog}
    try:
        (runner or SequentialRunner()).run(pipeline, catalog, manager)
    except Exception as error:
        manager.hook.on_pipeline_error(error=error, **arguments)
        raise
    manager.hook.after_pipeline_run(run_result={}, **arguments)


def stored(project, database="mlflow.db"):
    """Return every run by its name, from the store that ``mlflow ui`` opens by itself."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / database}")
    experiment = client.get_experiment_by_name("spared-benchmark")
    assert experiment.artifact_location == (project / "mlruns").as_uri()
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    return client, {entry.info.run_name: entry for entry in runs}
