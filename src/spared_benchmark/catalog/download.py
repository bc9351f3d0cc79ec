"""One file from the network: whole or not at all, tried again when the line breaks."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from spared_benchmark.atomic import atomic_path
from spared_benchmark.errors import MissingInputError

logger = logging.getLogger(__name__)

SCHEMES = ("http", "https", "file")

_BLOCK = 1 << 18
_MB = 1_000_000
_REPORT_SECONDS = 5.0
# The server may answer otherwise in a moment; any other refusal will stay one.
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_AGENT = {"User-Agent": "spared-benchmark"}


def download(
    url: str, target: Path, *, attempts: int = 3, pause: float = 2.0, timeout: float = 30.0
) -> str:
    """Fetch ``url`` into the file ``target``, which appears only when all of it has come.

    Args:
        url: ``http``, ``https`` or ``file``.
        target: Its folder is made when it is not there.
        attempts: How often it is tried.
        pause: Seconds before the second attempt; doubled before each further one.
        timeout: Seconds without an answer or a byte after which an attempt has failed.

    Returns:
        The SHA-256 of the file.

    Raises:
        MissingInputError: When it could not be fetched; says the URL and the last reason.
    """
    for attempt in range(1, attempts + 1):
        try:
            with atomic_path(target) as path:
                return _fetch(url, path, timeout)
        except (OSError, HTTPException, ValueError) as error:
            reason = describe(error)
            final = isinstance(error, HTTPError) and error.code not in _PASSING
            if final or attempt == attempts:
                msg = f"{url} could not be fetched ({reason}; attempt {attempt} of {attempts})"
                raise MissingInputError(msg) from error
        wait = pause * 2 ** (attempt - 1)
        logger.warning("%s: %s; trying again in %g s", url, reason, wait)
        time.sleep(wait)
    msg = f"attempts: at least 1 is needed; found {attempts}"
    raise ValueError(msg)


def unreachable(url: str, *, timeout: float = 5.0) -> str | None:
    """Return why ``url`` cannot be fetched now, or None; asks the server for the header alone.

    Args:
        url: ``http``, ``https`` or ``file``.
        timeout: Seconds after which the answer is that there was none.
    """
    answers: list[str | None] = []
    # The look-up of a server's name has no time limit of its own: it is waited for in a thread.
    asking = threading.Thread(target=lambda: answers.append(_ask(url, timeout)), daemon=True)
    asking.start()
    asking.join(timeout + 1)
    return answers[0] if answers else f"no answer within {timeout:g} s"


def describe(error: Exception) -> str:
    """Return what went wrong in a few words."""
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _ask(url: str, timeout: float) -> str | None:
    try:
        _open(url, "HEAD", timeout).close()
        return None
    except HTTPError as error:
        # Some servers refuse to be asked for the header; only these two say that nothing is there.
        return describe(error) if error.code in (404, 410) else None
    except (OSError, HTTPException, ValueError) as error:
        return describe(error)


def _fetch(url: str, path: Path, timeout: float) -> str:
    digest, got, told = hashlib.sha256(), 0, time.monotonic()
    with _open(url, "GET", timeout) as answer, path.open("wb") as file:
        size = _size(answer)
        of = f" of {size / _MB:.1f}" if size is not None else ""
        logger.info("fetching %s%s", url, f" ({size / _MB:.1f} MB)" if size is not None else "")
        while block := answer.read(_BLOCK):
            file.write(block)
            digest.update(block)
            got += len(block)
            if time.monotonic() - told > _REPORT_SECONDS:
                logger.info("%s: %.1f%s MB", url, got / _MB, of)
                told = time.monotonic()
    if size is not None and got != size:
        msg = f"the line broke after {got:,} of {size:,} bytes"
        raise ConnectionError(msg)
    return digest.hexdigest()


def _open(url: str, method: str, timeout: float) -> Any:
    if urlsplit(url).scheme not in SCHEMES:
        msg = f"only {', '.join(SCHEMES)} are fetched"
        raise ValueError(msg)
    request = Request(url, method=method, headers=_AGENT)  # noqa: S310 (scheme checked above)
    return urlopen(request, timeout=timeout)  # noqa: S310


def _size(answer: Any) -> int | None:
    value = answer.headers.get("Content-Length")
    return int(value) if value is not None and value.isdigit() else None
