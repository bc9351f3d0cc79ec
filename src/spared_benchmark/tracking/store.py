"""MLflow runs by their explicit ids; the first failure ends tracking and never the run.

The fluent interface (``mlflow.start_run``) is not used: its active run belongs to a thread, and
nodes run in threads and in other processes.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from spared_benchmark.settings_model import Settings

Status = Literal["FINISHED", "FAILED", "KILLED"]
Value = TypeVar("Value")

_log = logging.getLogger(__name__)
PARENT_VARIABLE = "SPARED_TRACKING_PARENT"
_ROOT_TAG = "kedro_run"
_LONGEST_PARAMETER, _LONGEST_TAG, _PARAMETERS_PER_BATCH = 6000, 5000, 100
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # A connection to SQLite must not be carried into a forked worker, so none is kept open.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    # A server that does not answer must cost seconds, not the minutes of MLflow's own retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class TrackingSettings(Settings):
    """The key ``mlflow`` of ``conf/<env>/mlflow.yml``.

    Attributes:
        enabled: False runs without MLflow, which is then never imported.
        experiment: The MLflow experiment that holds the runs.
        tracking_uri: Where runs are stored, ``MLFLOW_TRACKING_URI`` goes before it; null is
            ``mlflow.db`` in the project's root, which ``mlflow ui`` shows without options.
    """

    enabled: bool = True
    experiment: str = "spared-benchmark"
    tracking_uri: str | None = None


@dataclass(frozen=True)
class ParentRun:
    """The run of one ``kedro run``; worker processes find it in their environment.

    Attributes:
        uri: Of the tracking store.
        experiment: Id of the experiment.
        run: Id of the run.
        tags: Tags that every child repeats (study, protocol, commit).
    """

    uri: str
    experiment: str
    run: str
    tags: Mapping[str, str]

    def export(self) -> None:
        """Tell this process and those that it starts."""
        os.environ[PARENT_VARIABLE] = json.dumps(asdict(self))

    @staticmethod
    def forget() -> None:
        """Withdraw what `export` told."""
        os.environ.pop(PARENT_VARIABLE, None)

    @classmethod
    def current(cls) -> ParentRun | None:
        """Return the parent of the runs of this process, if there is one."""
        text = os.environ.get(PARENT_VARIABLE)
        return cls(**json.loads(text)) if text else None


@dataclass(frozen=True)
class StoredRun:
    """What is asked of a run that is already stored: its id, its tags and its last numbers."""

    id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class RunStore:
    """Writes runs to one tracking store until that fails once: it is ``lost`` then."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._process = 0
        self._client: Any = None
        self.lost = False

    def experiment(self, name: str, artifacts: str | None) -> str | None:
        """Return the id of the experiment called ``name``, made when it is not there.

        This also makes the tables of a new SQLite file, which several processes must not try at
        once: call it before any worker starts.

        Args:
            name: Of the experiment.
            artifacts: URI of the folder for its artifacts; None leaves that to the server.
        """

        def find_or_make(client: Any) -> str:
            found = client.get_experiment_by_name(name)
            made = found.experiment_id if found else client.create_experiment(name, artifacts)
            return str(made)

        return self.attempt(find_or_make)

    def start(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, Any],
        parents: tuple[str, ...] = (),
    ) -> str | None:
        """Start a run and return its id, or None when tracking is lost.

        Args:
            experiment: Id of the experiment.
            name: What a person reads.
            tags: Searched and filtered by.
            parameters: Shown beside the run; nested ones are flattened by the caller.
            parents: Ids of the runs above this one, the root first.
        """
        above = {"mlflow.parentRunId": parents[-1], _ROOT_TAG: parents[0]} if parents else {}
        shortened = {key: str(value)[:_LONGEST_TAG] for key, value in tags.items()}

        def create(client: Any) -> str:
            run = client.create_run(experiment, run_name=name, tags={**shortened, **above})
            return str(run.info.run_id)

        run = self.attempt(create)
        self.log_parameters(run, parameters)
        return run

    def log_parameters(self, run: str | None, parameters: Mapping[str, Any]) -> None:
        """Add ``parameters`` to ``run``."""
        items = [(key, str(value)[:_LONGEST_PARAMETER]) for key, value in parameters.items()]

        def log(client: Any) -> None:
            for first in range(0, len(items), _PARAMETERS_PER_BATCH):
                client.log_batch(run, params=_params(items[first : first + _PARAMETERS_PER_BATCH]))

        self._write(run, log)

    def log_metrics(self, run: str | None, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add ``metrics`` at ``step``, in one request."""
        if metrics:
            now = int(time.time() * 1000)
            self._write(
                run, lambda client: client.log_batch(run, metrics=_metrics(metrics, now, step))
            )

    def tag(self, run: str | None, key: str, value: str) -> None:
        """Set one tag of ``run``."""
        self._write(run, lambda client: client.set_tag(run, key, value[:_LONGEST_TAG]))

    def artifact(self, run: str | None, content: Mapping[str, Any], file: str) -> None:
        """Keep ``content`` as the JSON file ``file`` of ``run``."""
        self._write(run, lambda client: client.log_dict(run, dict(content), file))

    def file(self, run: str | None, data: bytes, file: str) -> None:
        """Keep ``data`` as the file ``file`` of ``run``."""

        def log(client: Any) -> None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file
                path.write_bytes(data)
                client.log_artifact(run, str(path))

        self._write(run, log)

    def end(self, run: str | None, status: Status) -> None:
        """Close ``run``."""
        self._write(run, lambda client: client.set_terminated(run, status))

    def descendants(self, parent: ParentRun) -> list[StoredRun]:
        """Return every run below ``parent``."""
        return self._search(parent, f"tags.{_ROOT_TAG} = '{parent.run}'")

    def end_open(self, parent: ParentRun, status: Status) -> None:
        """Close every run below ``parent`` that nobody closed."""
        open_runs = f"tags.{_ROOT_TAG} = '{parent.run}' and attributes.status = 'RUNNING'"
        for run in self._search(parent, open_runs):
            self.end(run.id, status)

    def attempt(self, action: Callable[[Any], Value]) -> Value | None:
        """Return what ``action`` makes of the client; None when it, or one before it, failed."""
        if self.lost:
            return None
        try:
            return action(self._connected())
        except Exception as error:  # noqa: BLE001  whatever MLflow raises, no result may be lost
            self.lost = True
            _log.warning(
                "MLflow at %s failed (%s: %s); this run goes on untracked, its results are not "
                "affected",
                self.uri,
                type(error).__name__,
                error,
            )
            return None

    def _search(self, parent: ParentRun, condition: str) -> list[StoredRun]:
        def search(client: Any) -> list[StoredRun]:
            found: list[StoredRun] = []
            page = None
            while True:
                runs = client.search_runs([parent.experiment], condition, page_token=page)
                found += [
                    StoredRun(run.info.run_id, run.data.tags, run.data.metrics) for run in runs
                ]
                page = runs.token
                if not page:
                    return found

        return self.attempt(search) or []

    def _write(self, run: str | None, action: Callable[[Any], Any]) -> None:
        if run is not None:
            self.attempt(action)

    def _connected(self) -> Any:
        if self._process != os.getpid():
            self._client = _client(self.uri)
            self._process = os.getpid()
        return self._client


def _client(uri: str) -> Any:
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def _params(items: list[tuple[str, str]]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(key, value) for key, value in items]


def _metrics(metrics: Mapping[str, float], timestamp: int, step: int) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(key, float(value), timestamp, step) for key, value in metrics.items()]
