"""In which numbers the products of a network are computed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch

from spared_benchmark.errors import ConfigurationError

Precision = Literal["auto", "float32", "bfloat16"]

_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})


def product_type(precision: str, device: torch.device) -> torch.dtype:
    """Return the type in which products are computed; sums, norms and weights stay float32.

    Args:
        precision: ``auto`` is bfloat16 where the device multiplies it natively, else float32.
        device: Where the network is.

    Raises:
        ConfigurationError: For an unknown precision.
    """
    if precision not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        msg = f"unknown precision {precision!r} of a network; allowed: {allowed}"
        raise ConfigurationError(msg)
    if precision == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(_CPU_FLAGS & _cpu_flags())


@cache
def _cpu_flags() -> frozenset[str]:
    """Return what Linux tells of the first core; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(flags.split())
    return frozenset()
