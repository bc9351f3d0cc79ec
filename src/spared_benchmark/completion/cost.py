"""What a method costs on the machine that runs it: seconds and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from spared_benchmark.training.memory import PeakMemory


@dataclass
class Cost:
    """What a stretch of work took; filled in when it ends.

    Attributes:
        seconds: By the clock.
        memory_mb: Growth of the process's resident memory to its peak, in 10⁶ bytes, as
            `training.memory` measures it; the memory of a GPU does not count.
    """

    seconds: float = 0.0
    memory_mb: float = float("nan")


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what is done inside."""
    cost = Cost()
    with PeakMemory() as memory:
        started = time.perf_counter()
        try:
            yield cost
        finally:
            cost.seconds = time.perf_counter() - started
            cost.memory_mb = memory.megabytes()
