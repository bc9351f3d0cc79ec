"""Median pre-completion of visible values, for the median completer and for SpaCKLE's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.visible import Visible
from spared_benchmark.tissue.median import adaptive_median


def median_completed(given: Visible, hops: int) -> NDArray[np.float32]:
    """Return the visible values with adaptive medians elsewhere ``(n_spots, n_genes)``.

    Where ``given.fill`` tells medians of missing entries, the windows see them.
    """
    tables = [given.neighbours(ring) for ring in range(1, hops + 1)]
    return adaptive_median(given.filled, ~given.visible, tables, given.slide)
