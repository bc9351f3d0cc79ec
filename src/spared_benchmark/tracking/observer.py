"""Shows the trials of a sweep while they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spared_benchmark.tracking.artifacts import written
from spared_benchmark.tracking.results import flat, is_number
from spared_benchmark.tracking.store import ParentRun, RunStore, Status

_FAILED = ("failed", "diverged")
# Digests are searched for, so they are tags; nobody compares two runs by them.
_DIGESTS = {"trial": "trial_digest", "data": "data_digest"}
# What the run was, told by its end, when the network is known.
_DESCRIBED = ("parameters_trainable", "parameters_total", "micro_batches", "device")
_METHOD = ("predictor", "completer")


class TrialObserver:
    """One MLflow run for each trial, below the run of its sweep.

    It answers the calls of `spared_benchmark.training.observer`.
    """

    def __init__(
        self, store: RunStore, parent: ParentRun, sweep: str, tags: Mapping[str, str]
    ) -> None:
        self._store, self._parent, self._sweep, self._tags = store, parent, sweep, dict(tags)
        self._open: dict[str, str | None] = {}
        # Sweeps of one node may call their trials alike; they run one after the other.
        self._latest: dict[str, str | None] = {}
        self._parameters: dict[str, dict[str, Any]] = {}
        self._winners: dict[str, list[str]] = {}

    def trial_started(self, trial: str, parameters: Mapping[str, Any]) -> None:
        """Open the run of ``trial``, for example ``lr=0.001 seed=42``."""
        known = flat(parameters)
        digests = {tag: known.pop(key) for key, tag in _DIGESTS.items() if key in known}
        self._parameters[trial] = known
        self._open[trial] = self._latest[trial] = self._store.start(
            self._parent.experiment,
            trial,
            {**self._tags, "trial": trial, **digests},
            known,
            parents=(self._parent.run, self._sweep),
        )

    def validated(self, trial: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add one point to every curve of ``trial``."""
        curves = {
            key: value for key, value in metrics.items() if key != "step" and is_number(value)
        }
        self._store.log_metrics(self._open.get(trial), curves, step)

    def shown(self, trial: str, make: Callable[[], Mapping[str, Any]]) -> None:
        """Keep tables and pictures of the trained network as files of ``trial``."""
        run = self._open.get(trial)
        if run is None or self._store.lost:
            return
        for name, content in make().items():
            file, data = written(name, content)
            self._store.file(run, data, file)

    def trial_ended(self, trial: str, status: str, summary: Mapping[str, Any]) -> None:
        """Close the run of ``trial``: one that diverged has failed."""
        run = self._open.pop(trial, None)
        known = self._parameters.get(trial, {})
        told = {key: value for key, value in flat(summary).items() if key not in known}
        described = {key: told.pop(key) for key in _DESCRIBED if key in told}
        self._store.log_parameters(run, described)
        self._store.log_metrics(
            run, {key: value for key, value in told.items() if is_number(value)}
        )
        self._store.tag(run, "trial_status", status)
        if "error" in told:
            self._store.tag(run, "error", str(told["error"]))
        self._store.end(run, "FAILED" if status in _FAILED else "FINISHED")

    def selected(self, trial: str) -> None:
        """Tag ``trial`` as the winner, and its sweep with its name.

        Where a node trains several methods, or one in stages, the tag of the sweep names the
        method: ``winner.<method>``.
        """
        self._store.tag(self._latest.get(trial), "winner", "true")
        method = str(self._parameters.get(trial, {}).get("method", ""))
        own = next((self._tags[key] for key in _METHOD if key in self._tags), method)
        key = "winner" if method in ("", own) else f"winner.{method}"
        winners = self._winners.setdefault(key, [])
        winners.append(trial)
        self._store.tag(self._sweep, key, ", ".join(dict.fromkeys(winners)))

    def close(self, status: Status) -> None:
        """Close the trials that an error left open."""
        for trial in list(self._open):
            self._store.end(self._open.pop(trial), status)
