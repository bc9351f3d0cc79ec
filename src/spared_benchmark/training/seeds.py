"""Seeds: every draw is named, so that adding one never shifts another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, *names: str | int) -> int:
    """Return a seed below 2**63 that belongs to ``seed`` and ``names``, the same everywhere."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a generator on the CPU for the draws called ``names``."""
    return torch.Generator().manual_seed(derive(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator for the draws called ``names``."""
    return np.random.default_rng(derive(seed, *names))


@contextmanager
def isolated(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global generators for the block and put them back afterwards.

    Initialisation and dropout draw from the global generators; nothing else should.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *names))
        yield
