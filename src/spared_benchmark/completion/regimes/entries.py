"""Random entries: each measured one is hidden with the same probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.regimes.ground import Ground


def hidden(ground: Ground, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the hidden entries ``(n_spots, n_genes)``; a larger share contains a smaller one."""
    drawn = generator.random(ground.measured.shape)
    return ground.eligible & (drawn < fraction)
