"""Entries that are hidden inside what is visible, by where they are and not by chance.

A completer that has to judge itself on a slide hides some of the slide's visible entries. Which
ones is a fixed function of the spot's place and the gene's name, so that neither the order of
spots or genes nor what else is completed changes it.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.visible import Visible


def inner_hidden(given: Visible, fraction: float, draw: int = 0) -> NDArray[np.bool_]:
    """Return which visible entries to hide ``(n_spots, n_genes)``.

    Args:
        given: One or more slides.
        fraction: Share of visible entries.
        draw: Number of the drawing; others hide other entries.
    """
    spot = _place(given, draw)
    genes = [hashlib.sha256(name.encode()).digest()[:8] for name in given.genes]
    gene = np.array([int.from_bytes(digest, "little") for digest in genes], dtype=np.uint64)
    uniform = _mixed(spot[:, None] ^ gene[None, :]) / np.float64(2**64)
    return given.visible & (uniform < fraction)


def inner_blocks(given: Visible, hops: int, share: float, draw: int = 0) -> NDArray[np.bool_]:
    """Return all visible entries of spots within ``hops`` of scattered centres.

    Args:
        given: One or more slides.
        hops: Lattice steps from a centre.
        share: Of spots that are centres.
        draw: Number of the drawing.
    """
    centre = _place(given, draw) / np.float64(2**64) < share
    table = given.neighbours(hops)
    near = (np.append(centre, False)[table]).any(axis=1)  # the last is the place of −1
    return given.visible & (centre | near)[:, None]


def _place(given: Visible, draw: int) -> NDArray[np.uint64]:
    """Return well-spread bits of each spot's place on its slide ``(n_spots,)``."""
    row, col = (array.astype(np.int64) for array in (given.array_row, given.array_col))
    return _mixed(_mixed(row + (draw << 40)) ^ (col.astype(np.uint64) << np.uint64(20)))


def _mixed(number: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return well-spread bits: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    mixed = number.astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = mixed + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
