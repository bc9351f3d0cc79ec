"""A file from the network: whole or not at all."""

import hashlib
import logging
import socket
import threading
import time

import pytest

from spared_benchmark.catalog.download import download, unreachable
from spared_benchmark.errors import MissingInputError

CONTENT = bytes(range(256)) * 3000
QUICK = {"pause": 0.01, "timeout": 5.0}


@pytest.fixture
def address(server):
    server.files["/file.gz"] = CONTENT
    return f"{server.url}/file.gz"


def test_a_file_comes_whole_with_its_digest(server, address, tmp_path):
    target = tmp_path / "new" / "file.gz"
    assert download(address, target, **QUICK) == hashlib.sha256(CONTENT).hexdigest()
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.gz"]
    assert server.gets() == 1


def test_a_line_that_breaks_is_tried_again(server, address, tmp_path, caplog):
    server.breaks = 2
    with caplog.at_level(logging.WARNING):
        download(address, tmp_path / "file.gz", **QUICK)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert server.gets() == 3
    assert "the line broke after 384,000 of 768,000 bytes; trying again" in caplog.text


def test_three_breaks_leave_nothing(server, address, tmp_path):
    server.breaks = 3
    with pytest.raises(MissingInputError, match=r"file\.gz could not be fetched \(the line broke"):
        download(address, tmp_path / "file.gz", **QUICK)
    assert list(tmp_path.iterdir()) == []
    server.breaks = 0
    download(address, tmp_path / "file.gz", **QUICK)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again_and_one_that_has_nothing_is_not(
    server, address, tmp_path
):
    server.refusals = [503, 429]
    download(address, tmp_path / "file.gz", **QUICK)
    assert server.gets() == 3
    with pytest.raises(MissingInputError, match=r"404 Not Found; attempt 1 of 3"):
        download(f"{server.url}/none.gz", tmp_path / "none.gz", **QUICK)
    assert server.gets() == 4


def test_only_the_header_is_asked_for(server, address):
    assert unreachable(address) is None
    assert unreachable(f"{server.url}/none.gz") == "the server answers 404 Not Found"
    assert server.gets() == 0


def test_an_address_where_nobody_answers(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert "timed out" in unreachable(f"http://127.0.0.1:{port}/x", timeout=0.2)
        with pytest.raises(MissingInputError, match=r"timed out; attempt 2 of 2"):
            download(
                f"http://127.0.0.1:{port}/x", tmp_path / "x", attempts=2, pause=0.01, timeout=0.2
            )
    assert "refused" in unreachable(f"http://127.0.0.1:{port}/x")


def test_a_name_that_is_never_looked_up_does_not_hold_the_run(monkeypatch):
    held = threading.Event()

    def look_up(*_, **__):
        held.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    assert unreachable("http://nowhere.invalid/x", timeout=0.1) == "no answer within 0.1 s"
    assert time.monotonic() - began < 10
    held.set()


def test_files_of_this_machine_and_unknown_schemes(tmp_path):
    source = tmp_path / "source.gtf"
    source.write_text("x")
    assert unreachable(source.as_uri()) is None
    download(source.as_uri(), tmp_path / "copy.gtf", **QUICK)
    assert (tmp_path / "copy.gtf").read_text() == "x"
    assert "only http, https, file are fetched" in unreachable("ftp://example.org/x")
