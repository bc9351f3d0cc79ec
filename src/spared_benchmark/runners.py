"""Running the graph on a Dask cluster, one node of the graph for each task.

    kedro run --runner=spared_benchmark.runners.DaskRunner --runner-params=n_workers=2
    kedro run --runner=spared_benchmark.runners.DaskRunner --runner-params=address=tcp://host:8786

Kedro's own loop decides when a node is ready; here is only what carries it to a worker. Workers
need this package and the project's data folder: what nodes pass to each other lies on disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from kedro.framework import project
from kedro.framework.hooks.manager import (
    _create_hook_manager,
    _register_hooks,
    _register_hooks_entry_points,
)
from kedro.io import CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner, Task
from pluggy import PluginManager

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.tracking.store import PARENT_VARIABLE, ParentRun

if TYPE_CHECKING:
    from distributed import Client

_CARRIED = ("SPARED_", "MLFLOW_", "KEDRO_", "DO_NOT_TRACK")
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class DaskRunner(AbstractRunner):
    """Runs every node as a task of a Dask cluster.

    Args:
        address: Of a running scheduler (``tcp://host:port``); without it a cluster of processes
            is started on this machine, reachable from this machine only, and stopped at the end.
        n_workers: Processes of that cluster; at most one for each node that can run at once.
        is_async: Load and save the datasets of a node in threads.

    Raises:
        ConfigurationError: When both an address and a number of workers are given, or the number
            is not positive.
    """

    def __init__(
        self,
        address: str | None = None,
        n_workers: int | None = None,
        is_async: bool = False,  # noqa: FBT001, FBT002  the signature of Kedro's runners
    ) -> None:
        super().__init__(is_async=is_async)
        if address is not None and n_workers is not None:
            msg = (
                f"DaskRunner got address={address} and n_workers={n_workers}: a cluster that is "
                "already there has its own workers; give one of the two"
            )
            raise ConfigurationError(msg)
        if n_workers is not None and n_workers < 1:
            msg = f"DaskRunner needs n_workers of at least 1, found {n_workers}"
            raise ConfigurationError(msg)
        self._address = address
        self._n_workers = n_workers

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: PluginManager | None = None,  # noqa: ARG002  cannot be sent; workers make their own
        run_id: str | None = None,
    ) -> None:
        _refuse_memory(pipeline, catalog)
        _refuse_local_tracking(self._address)
        super()._run(pipeline=pipeline, catalog=catalog, run_id=run_id)

    def _get_required_workers_count(self, pipeline: Pipeline) -> int:
        at_once = len(pipeline.nodes) - len(pipeline.grouped_nodes) + 1
        return max(1, min(at_once, self._n_workers or os.cpu_count() or 1))

    def _get_executor(self, max_workers: int) -> Executor:
        return _ClusterExecutor(self._address, max_workers)


class _ClusterExecutor(Executor):
    """Sends Kedro's tasks to a cluster, for as long as the ``with`` block lasts."""

    def __init__(self, address: str | None, n_workers: int) -> None:
        self._address, self._n_workers = address, n_workers
        self._open = ExitStack()
        self._executor: Any = None

    def __enter__(self) -> _ClusterExecutor:
        client = self._open.enter_context(_client(self._address, self._n_workers))
        self._executor = client.get_executor(pure=False)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # After an error the nodes that wait for a worker are taken back.
        self._executor.shutdown(wait=error is None)
        self._open.close()

    def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ARG002
        """Send Kedro's ``task`` to a worker; the future's result is its node."""
        carried = {key: os.environ[key] for key in os.environ if key.startswith(_CARRIED)}
        environment = {PARENT_VARIABLE: "", **carried}
        key = f"{task.node.name} of {task.run_id}"
        future: Future[Any] = self._executor.submit(
            _run_node, task, project.PACKAGE_NAME, environment, key=key
        )
        return future


@contextmanager
def _client(address: str | None, n_workers: int) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        msg = "DaskRunner needs Dask, which is optional: pip install 'spared-benchmark[dask]'"
        raise ConfigurationError(msg) from error
    if address is not None:
        with Client(address) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,  # a node's observer and random state belong to its process
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,  # an equal share of the memory would kill a large cohort's worker
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _run_node(task: Task, package: str | None, environment: Mapping[str, str]) -> Node:
    """Run one node in a worker, with the hooks of the project."""
    os.environ.update(environment)
    _configure(package)
    hook_manager = _create_hook_manager()
    _register_hooks(hook_manager, project.settings.HOOKS)
    _register_hooks_entry_points(hook_manager, project.settings.DISABLE_HOOKS_FOR_PLUGINS)
    task.hook_manager = hook_manager
    return task.execute()


@cache
def _configure(package: str | None) -> None:
    # A worker is a fresh process: without this Kedro would use no settings, and so no hooks.
    if package is not None:
        project.configure_project(package)


def _refuse_memory(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
    lost = sorted(
        name for name in pipeline.all_outputs() if isinstance(catalog.get(name), MemoryDataset)
    )
    if lost:
        msg = (
            f"DaskRunner cannot pass datasets in memory from one process to another: "
            f"{', '.join(lost)}; give each an entry in the catalog, or use SequentialRunner"
        )
        raise ConfigurationError(msg)


def _refuse_local_tracking(address: str | None) -> None:
    parent = ParentRun.current()
    if address is None or parent is None or not parent.uri.startswith("sqlite:"):
        return
    if urlparse(address).hostname not in _LOCAL_HOSTS:
        msg = (
            f"the workers of {address} may be on other machines and cannot share the tracking "
            f"database {parent.uri}: set MLFLOW_TRACKING_URI to a tracking server, or "
            "'mlflow.enabled: false' in mlflow.yml"
        )
        raise ConfigurationError(msg)
