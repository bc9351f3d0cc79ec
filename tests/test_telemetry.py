"""Nothing is reported to anybody: a trap stands where every request would pass."""

import http.server
import threading

import pytest

from project_copy import Project

pytestmark = pytest.mark.project


@pytest.fixture
def trap():
    """A proxy that counts what arrives and answers nothing useful."""
    caught = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _catch(self):
            caught.append(self.requestline)
            self.send_error(502)

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self._catch
            raise AttributeError(name)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", caught
    server.shutdown()


def through(address):
    names = ("http_proxy", "https_proxy", "all_proxy")
    return {name: address for lower in names for name in (lower, lower.upper())}


def test_a_run_with_tracking_sends_nothing(tmp_path, trap):
    address, caught = trap
    project = Project(tmp_path)
    project.add_study("small")
    before = (tmp_path / "pyproject.toml").read_text()

    project.kedro("run", "--env=small", "--pipelines=ingestion", **through(address))

    assert caught == []
    assert (tmp_path / "pyproject.toml").read_text() == before
    assert (tmp_path / "mlflow.db").exists(), "tracking was on, so its telemetry had its chance"


def test_the_trap_catches_what_passes(trap):
    import urllib.error
    import urllib.request

    address, caught = trap
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": address}))

    with pytest.raises(urllib.error.HTTPError):
        opener.open("http://example.invalid/", timeout=10)

    assert caught
