"""What a method costs on the machine that runs it: seconds and memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KILO, _MEGA = 1024, 1e6


@dataclass
class Cost:
    """What a stretch of work took; filled in when it ends.

    Attributes:
        seconds: By the clock.
        memory_mb: Growth of the process's resident memory to its peak, in 10⁶ bytes. Pages that
            the process already held and used again do not count, nor does the memory of a GPU;
            threads that run beside are counted with it. Where the system cannot start its peak
            anew (any but Linux), only growth beyond all earlier peaks of the process is seen.
    """

    seconds: float = 0.0
    memory_mb: float = float("nan")


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what is done inside."""
    cost = Cost()
    # 5 sets the peak back to what is resident now (proc(5)).
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")
    held = _resident("VmRSS")
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        cost.memory_mb = max(_resident("VmHWM") - held, 0.0) / _MEGA


def _resident(field: str) -> float:
    """Return a field of the process's status in bytes, or its highest peak where there is none."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return float(line.split()[1]) * _KILO
    with suppress(ImportError):
        import resource

        peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return peak if sys.platform == "darwin" else peak * _KILO
    return float("nan")
