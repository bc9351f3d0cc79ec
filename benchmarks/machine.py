"""What a benchmark writes beside its figures, and how fast this machine can go at all."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


def threads() -> int:
    """Return how many threads both sides may use: ``OMP_NUM_THREADS``, else all cores."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(limit), 1) if limit.isdigit() else (os.cpu_count() or 1)


def machine() -> str:
    """Return the machine in words."""
    name = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        models = [
            line.split(":", 1)[1].strip()
            for line in listed.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{platform.system()} {platform.machine()}, {name}, {os.cpu_count()} cores"


def versions(packages: Sequence[str]) -> str:
    """Return Python's version and those of some packages, as text."""
    listed = [f"{package} {version(package)}" for package in packages]
    return ", ".join([f"Python {platform.python_version()}", *listed])


def today() -> str:
    """Return the date, ISO 8601."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def rates() -> tuple[float, float]:
    """Measure bytes copied per second, and float32 operations per second of a matrix product."""
    large = [np.ones((2, 1 << 23), dtype=np.float32) for _ in range(threads())]
    square = [np.ones((2, 1_024, 1_024), dtype=np.float32)]

    def copy(pair: np.ndarray) -> None:
        np.copyto(pair[1], pair[0])

    def product(pair: np.ndarray) -> None:
        _ = pair[0] @ pair[1]

    moved = sum(pair.nbytes for pair in large)
    return moved / _best(copy, large), 2 * 1_024**3 / _best(product, square)


def _best(function: Callable[[np.ndarray], None], arrays: list[np.ndarray]) -> float:
    seconds = []
    with ThreadPoolExecutor(len(arrays)) as pool:
        for _ in range(7):
            started = time.perf_counter()
            list(pool.map(function, arrays))
            seconds.append(time.perf_counter() - started)
    return min(seconds)
