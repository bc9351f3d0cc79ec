"""One MLflow run for each ``kedro run``, below it one for each sweep, below it one for each trial.

A node is a sweep when it carries the tag ``sweep``; its other tags (``cohort.VLO``,
``target.raw``, ``predictor.vit_b`` or ``completer.spackle``) say of what. Kedro allows no colon.
"""

from __future__ import annotations

import atexit
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl

from spared_benchmark.atomic import digest_of
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.refusal import RunRefusedError
from spared_benchmark.settings_model import parsed
from spared_benchmark.tracking.observer import TrialObserver
from spared_benchmark.tracking.results import cards, failures, pooled_scores, split_numbers
from spared_benchmark.tracking.store import ParentRun, RunStore, Status, TrackingSettings
from spared_benchmark.training.observer import observing

SWEEP_TAG = "sweep"
_TAG = re.compile(r"(?P<key>cohort|target|predictor|completer|space)\.(?P<value>.+)")
_SEVERAL = ", "
_LOCAL = ("sqlite:", "file:")


@dataclass
class _Sweep:
    run: str
    observer: TrialObserver
    observing: ExitStack


class TrackingHooks:
    """Opens, fills and closes the runs; any process may hold one, attached by its environment."""

    def __init__(self) -> None:
        self._context: Any = None
        self._store: RunStore | None = None
        self._sweeps: dict[str, _Sweep] = {}
        self._opened_by = 0

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Remember the context: it knows the configuration and the project's folder."""
        self._context = context

    @hook_impl
    def before_pipeline_run(self, run_params: Mapping[str, Any], pipeline: Any) -> None:
        """Open the store and the parent run, before any worker can.

        Raises:
            RunRefusedError: When ``mlflow.yml`` cannot be used as written.
        """
        self._abandon()
        ParentRun.forget()
        try:
            settings = _settings(self._context)
        except ConfigurationError as error:
            raise RunRefusedError(str(error)) from error
        if not settings.enabled:
            return
        project = Path(run_params["project_path"])
        database = f"sqlite:///{(project / 'mlflow.db').as_posix()}"
        uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.tracking_uri or database
        self._store = RunStore(uri)
        artifacts = (project / "mlruns").as_uri() if uri.startswith(_LOCAL) else None
        experiment = self._store.experiment(settings.experiment, artifacts)
        if experiment is None:
            return
        study = getattr(self._context.config_loader, "study_name", None)
        name = study or run_params.get("env") or "base"
        tags = _run_tags(name, self._context, project)
        parameters = _run_parameters(run_params, name, _cohorts(pipeline))
        run = self._store.start(experiment, _run_name(parameters), tags, parameters)
        if run is not None:
            ParentRun(uri, experiment, run, tags).export()
            self._opened_by = os.getpid()
            atexit.register(self._abandon)

    @hook_impl
    def before_node_run(self, node: Any, catalog: Any) -> None:
        """Open the run of a sweep and let its training loop show its trials."""
        parent = ParentRun.current()
        if parent is None or SWEEP_TAG not in node.tags:
            return
        store = self._attached(parent)
        own = _node_tags(node)
        tags = {**parent.tags, **own, **_digest(node, catalog)}
        name = _sweep_name(own, node.name)
        run = store.start(parent.experiment, name, tags, {}, parents=(parent.run,))
        if run is None:
            return
        observer = TrialObserver(store, parent, run, tags)
        stack = ExitStack()
        stack.enter_context(observing(observer))
        self._sweeps[node.name] = _Sweep(run, observer, stack)

    @hook_impl
    def after_node_run(self, node: Any, outputs: Mapping[str, Any]) -> None:
        """Add what the node's card and score tables say, and close the sweep."""
        parent = ParentRun.current()
        if parent is None:
            return
        store = self._attached(parent)
        sweep = self._sweeps.pop(node.name, None)
        if sweep is not None:
            sweep.observing.close()
            store.attempt(lambda _: _show_cards(store, sweep.run, outputs))
        if node.namespace:  # the tables of a report repeat those of its cohorts
            store.attempt(lambda _: _show_scores(store, parent, outputs))
        if sweep is not None:
            errors = failures(outputs)
            status: Status = "FAILED" if errors else "FINISHED"
            for tag, reason in errors.items():
                store.tag(sweep.run, tag, reason)
            sweep.observer.close(status)
            store.end(sweep.run, status)

    @hook_impl
    def on_node_error(self, error: Exception, node: Any) -> None:
        """Mark the sweep and its open trials as failed, with the reason."""
        sweep = self._sweeps.pop(node.name, None)
        if sweep is None or self._store is None:
            return
        sweep.observing.close()
        sweep.observer.close("FAILED")
        self._store.tag(sweep.run, "error", f"{type(error).__name__}: {error}")
        self._store.end(sweep.run, "FAILED")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the parent run."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the parent run as failed, with the reason."""
        parent = ParentRun.current()
        if parent is not None:
            self._attached(parent).tag(parent.run, "error", f"{type(error).__name__}: {error}")
        self._close("FAILED")

    def _attached(self, parent: ParentRun) -> RunStore:
        if self._store is None or self._store.uri != parent.uri:
            self._store = RunStore(parent.uri)
        return self._store

    def _close(self, status: Status) -> None:
        parent = ParentRun.current()
        if parent is None:
            return
        store = self._attached(parent)
        store.end_open(parent, "KILLED")
        store.end(parent.run, status)
        ParentRun.forget()
        self._opened_by = 0
        atexit.unregister(self._abandon)

    def _abandon(self) -> None:
        """Close what Ctrl-C left open in this process: it reaches no hook of Kedro's."""
        if self._opened_by == os.getpid():
            for sweep in self._sweeps.values():
                with suppress(ValueError):  # a node's thread has its own context
                    sweep.observing.close()
            self._sweeps.clear()
            self._close("KILLED")


def _show_cards(store: RunStore, run: str, outputs: Mapping[str, Any]) -> None:
    for card in cards(outputs):
        parameters, metrics = split_numbers(card)
        store.log_parameters(run, parameters)
        store.log_metrics(run, metrics)
        store.artifact(run, card, "card.json")


def _settings(context: Any) -> TrackingSettings:
    try:
        content = context.config_loader["mlflow"]
    except (KeyError, MissingConfigException):
        content = {}
    return parsed(TrackingSettings, content.get("mlflow", {}), "mlflow")


def _run_tags(study: str, context: Any, project: Path) -> dict[str, str]:
    parameters = context.config_loader["parameters"]
    protocol = parameters.get("study", {}).get("protocol", "")
    commit = _git_commit(project)
    tags = {
        "study": study,
        "protocol": protocol,
        "git_commit": commit,
        "mlflow.source.git.commit": commit,
        "digest": digest_of(parameters),
    }
    return {key: value for key, value in tags.items() if value}


def _git_commit(project: Path) -> str:
    command = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(  # noqa: S603  a fixed command
            command, cwd=project, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _cohorts(pipeline: Any) -> list[str]:
    return sorted({node.namespace.partition(".")[0] for node in pipeline.nodes if node.namespace})


def _run_parameters(
    run_params: Mapping[str, Any], study: str, cohorts: list[str]
) -> dict[str, Any]:
    chosen = {
        key: ", ".join(map(str, run_params[key]))
        for key in ("tags", "from_nodes", "to_nodes", "node_names", "namespaces")
        if run_params.get(key)
    }
    return {
        "study": study,
        "cohorts": ", ".join(cohorts),
        "pipelines": ", ".join(run_params.get("pipeline_names") or ["__default__"]),
        "runner": _class_name(run_params.get("runner", "")),
        "only_missing_outputs": run_params.get("only_missing_outputs", False),
        **chosen,
    }


def _class_name(described: str) -> str:
    return described.partition(" object at ")[0].lstrip("<").rpartition(".")[2]


def _run_name(parameters: Mapping[str, Any]) -> str:
    pipelines = parameters["pipelines"].replace("__default__", "whole study")
    return " · ".join(
        part for part in (parameters["study"], parameters["cohorts"], pipelines) if part
    )


def _node_tags(node: Any) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for match in filter(None, map(_TAG.fullmatch, sorted(node.tags))):
        values.setdefault(match["key"], []).append(match["value"])
    return {key: _SEVERAL.join(found) for key, found in values.items()}


def _digest(node: Any, catalog: Any) -> dict[str, str]:
    """Return the digest of all that makes the node's outputs, where they carry one."""
    carried = (getattr(catalog.get(name), "expected", None) for name in node.outputs)
    found = next(filter(None, carried), None)
    return {"digest": found} if found else {}


def _sweep_name(tags: Mapping[str, str], node_name: str) -> str:
    method = tags.get("predictor") or tags.get("completer")
    if method is None:
        return node_name
    method = "controls" if _SEVERAL in method else method
    target = f" on {tags['target']}" if "target" in tags else ""
    space = f" in {tags['space']}" if "space" in tags else ""
    cohort = f" · {tags['cohort']}" if "cohort" in tags else ""
    return f"{method}{target}{space}{cohort}"


def _show_scores(store: RunStore, parent: ParentRun, outputs: Mapping[str, Any]) -> None:
    """Add scores to the sweep that made them, once; among several methods with their names."""
    tables = list(pooled_scores(outputs))
    sweeps = [run for run in store.descendants(parent) if "trial" not in run.tags] if tables else []
    for method, scores in tables:
        for run in sweeps:
            own = {key: run.tags.get(key, "").split(_SEVERAL) for key in method}
            if any(method[key] not in own[key] for key in method):
                continue
            shared = [method[key] for key in method if len(own[key]) > 1]
            prefix = ".".join([*shared, ""])
            named = {f"{prefix}{name}": value for name, value in scores.items()}
            new = {name: value for name, value in named.items() if name not in run.metrics}
            store.log_metrics(run.id, new)
