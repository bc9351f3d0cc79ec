"""One generator per purpose, named by words, so that no draw depends on the order of calls."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *words: str) -> np.random.Generator:
    """Return a generator that depends on ``seed`` and ``words`` alone."""
    name = "\x1f".join([str(seed), *words])
    entropy = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return np.random.default_rng(entropy)
