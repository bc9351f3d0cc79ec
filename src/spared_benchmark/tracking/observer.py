"""Shows the trials of a sweep while they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spared_benchmark.tracking.results import flat, is_number
from spared_benchmark.tracking.store import ParentRun, RunStore, Status

_FAILED = ("failed", "diverged")


class TrialObserver:
    """One MLflow run for each trial, below the run of its sweep.

    It answers the calls of `spared_benchmark.training.observer`.
    """

    def __init__(
        self, store: RunStore, parent: ParentRun, sweep: str, tags: Mapping[str, str]
    ) -> None:
        self._store, self._parent, self._sweep, self._tags = store, parent, sweep, dict(tags)
        self._open: dict[str, str | None] = {}
        self._parameters: dict[str, Mapping[str, Any]] = {}

    def trial_started(self, trial: str, parameters: Mapping[str, Any]) -> None:
        """Open the run of ``trial``, for example ``lr=0.001 seed=42``."""
        self._parameters[trial] = flat(parameters)
        self._open[trial] = self._store.start(
            self._parent.experiment,
            trial,
            {**self._tags, "trial": trial},
            self._parameters[trial],
            parents=(self._parent.run, self._sweep),
        )

    def validated(self, trial: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add one point to every curve of ``trial``."""
        curves = {
            key: value for key, value in metrics.items() if key != "step" and is_number(value)
        }
        self._store.log_metrics(self._open.get(trial), curves, step)

    def trial_ended(self, trial: str, status: str, summary: Mapping[str, Any]) -> None:
        """Close the run of ``trial``: one that diverged has failed."""
        run = self._open.pop(trial, None)
        known = self._parameters.pop(trial, {})
        numbers = {
            key: value
            for key, value in flat(summary).items()
            if key not in known and is_number(value)
        }
        self._store.log_metrics(run, numbers)
        self._store.tag(run, "trial_status", status)
        self._store.end(run, "FAILED" if status in _FAILED else "FINISHED")

    def close(self, status: Status) -> None:
        """Close the trials that an error left open."""
        for trial in list(self._open):
            self._store.end(self._open.pop(trial), status)
