"""How much memory a stretch of work takes at its peak: of the process, or of a GPU."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KILO, _MEGA = 1024, 1e6


class PeakMemory:
    """Measures the block that it opens.

    On a GPU: the most memory that tensors held at once, whatever was there before included. On the
    CPU: growth of the process's resident memory to its peak. Pages that the process already held
    and used again do not count; threads that run beside are counted with it. Where the system
    cannot start its peak anew (any but Linux), only growth beyond all earlier peaks of the process
    is seen.

    Args:
        device: As torch calls it.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._resident = _Resident()

    def __enter__(self) -> Self:
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._resident.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resident.stop()

    def megabytes(self) -> float:
        """Return the peak so far, in 10⁶ bytes; not a number where the system does not tell."""
        if self._device.startswith("cuda"):
            import torch

            return torch.cuda.max_memory_allocated(self._device) / _MEGA
        return self._resident.growth() / _MEGA


class _Resident:
    """Growth of the process's resident memory; blocks may lie in one another and beside."""

    _lock = threading.Lock()
    _measuring: list[_Resident] = []  # noqa: RUF012 - all measurements of the process

    def __init__(self) -> None:
        self.held = self.peak = float("nan")

    def start(self) -> None:
        with self._lock:
            # The process has one peak: starting it anew must not lose it for the blocks around.
            for other in self._measuring:
                other.peak = max(other.peak, _field("VmHWM"))
            # 5 sets the peak back to what is resident now (proc(5)).
            with suppress(OSError):
                _RESET.write_text("5", encoding="ascii")
            self.held = self.peak = _field("VmRSS")
            self._measuring.append(self)

    def growth(self) -> float:
        if self in self._measuring:
            self.peak = max(self.peak, _field("VmHWM"))
        return max(self.peak - self.held, 0.0)

    def stop(self) -> None:
        with self._lock:
            if self in self._measuring:
                self.peak = max(self.peak, _field("VmHWM"))
                self._measuring.remove(self)


def _field(name: str) -> float:
    """Return a field of the process's status in bytes, or its highest peak where there is none."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) * _KILO
    with suppress(ImportError):
        import resource

        peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return peak if sys.platform == "darwin" else peak * _KILO
    return float("nan")
