import shutil

import pytest

from spared_benchmark.tracking.store import ParentRun, RunStore


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """MLflow needs seconds to make its tables; tests start from a copy."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    RunStore(f"sqlite:///{database}").attempt(lambda client: client.search_experiments())
    return database


@pytest.fixture
def project(tmp_path, empty_store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ParentRun.forget()
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    yield tmp_path
    ParentRun.forget()
