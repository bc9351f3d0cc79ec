"""Genes without a region: some genes lose one half of the slide each, cut by a straight line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.regimes.ground import Ground


def hidden(ground: Ground, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return the hidden entries ``(n_spots, n_genes)``; a larger share contains a smaller one.

    On each slide twice the share of the genes are drawn, and for each of them a direction: the
    half of the spots that lies farthest in it is hidden. A gene's entries are no more frequent in
    one half than in the other on average, so about the share of all entries is hidden.
    """
    regions = np.zeros(ground.measured.shape, dtype=bool)
    genes = ground.measured.shape[1]
    count = min(max(round(2 * fraction * genes), 1), genes)
    for rows in ground.slides("val", "test"):
        chosen = generator.permutation(genes)[:count]
        directions = generator.uniform(0, 2 * np.pi, size=(genes,))[chosen]
        distance = ground.plane(rows) @ np.stack([np.cos(directions), np.sin(directions)])
        regions[np.ix_(rows, chosen)] = distance > np.median(distance, axis=0)
    return ground.eligible & regions
