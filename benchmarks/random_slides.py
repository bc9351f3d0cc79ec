"""Slides of random patches, features and labels, for timing alone."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np

from spared_benchmark.prediction.types import Patches, Slide
from spared_benchmark.tissue.lattice import neighbour_table

GENES = 128
_COLUMNS, _PITCH_UM = 64, 100.0


def random_slide(
    name: str,
    n_spots: int,
    side: int,
    split: str = "train",
    features: Mapping[str, tuple[int, ...]] | None = None,
) -> Slide:
    """Return a slide of a hexagonal array on which every entry is measured.

    Args:
        name: Of the slide and its subject.
        n_spots: Number of spots, row by row of at most 64.
        side: Of its patches, pixels; no patches when 0.
        split: Of the slide.
        features: Shape of the frozen features of a spot, by encoder.
    """
    rng = np.random.default_rng(crc32(name.encode()))
    row, step = np.divmod(np.arange(n_spots), _COLUMNS)
    array_rc = np.column_stack([row, 2 * step + row % 2]).astype(np.int32)
    everything = np.ones((n_spots, GENES), dtype=bool)
    patches = rng.integers(0, 256, (n_spots, side, side, 3), dtype=np.uint8) if side else None
    return Slide(
        slide=name,
        subject=name,
        split=split,
        array_rc=array_rc,
        xy_um=(array_rc * [_PITCH_UM * 3**0.5 / 2, _PITCH_UM / 2]).astype(np.float32),
        neighbours=neighbour_table(*array_rc.T, np.zeros(n_spots, np.int32), "hexagonal", 1),
        lattice="hexagonal",
        patches=None if patches is None else Patches(patches, np.arange(n_spots)),
        features={
            encoder: rng.normal(size=(n_spots, *shape)).astype(np.float32)
            for encoder, shape in (features or {}).items()
        },
        y=rng.normal(5, 1, (n_spots, GENES)).astype(np.float32),
        measured=everything,
        weight=everything,
        counts=rng.poisson(2, (n_spots, GENES)).astype(np.float32),
    )
