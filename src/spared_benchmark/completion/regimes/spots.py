"""Whole spots: every measured entry of random spots, a share of each slide's spots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.regimes.ground import Ground


def hidden(ground: Ground, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the hidden entries ``(n_spots, n_genes)``; a larger share contains a smaller one.

    At least one spot of each slide is hidden; nothing is known of it, its depth neither.
    """
    withheld = np.zeros(ground.slide.size, dtype=bool)
    for rows in ground.slides("val", "test"):
        count = max(round(fraction * rows.size), 1)
        withheld[generator.permutation(rows)[:count]] = True
    return ground.eligible & withheld[:, None]
