"""What a completer believes of every entry: a value, and how far the truth may be from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

# Share of hidden values that an interval is meant to hold.
NOMINAL = 0.9


@dataclass(frozen=True, eq=False)
class Belief:
    """Values with their uncertainty, each float32 ``(n_spots, n_genes)`` in the units of the space.

    Attributes:
        values: The completion.
        sd: Standard deviation of what would be measured, given that it is counted; 0 where the
            entry is visible.
        lower: Lower end of the interval that holds `NOMINAL` of what would be measured.
        upper: Its upper end; both are the value itself where the entry is visible.
    """

    values: NDArray[np.float32]
    sd: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]

    def probability(
        self, below: NDArray[np.floating], entries: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return how probable it holds a value of at most ``below`` ``(n,)``.

        Two halves of normal distributions of one half each, that meet at the value and are as wide
        as their ends of the interval say.

        Args:
            below: ``(n,)``, one for each of ``entries`` in row order.
            entries: Not visible ones ``(n_spots, n_genes)``.
        """
        value = self.values[entries].astype(np.float64)
        reach = np.where(below < value, value - self.lower[entries], self.upper[entries] - value)
        tail = ndtri((1 + NOMINAL) / 2)
        away = (below - value) / np.maximum(reach, np.finfo(np.float32).eps)
        probability: NDArray[np.float64] = ndtr(tail * away)
        return probability

    def layers(self, name: str) -> dict[str, NDArray[np.float32]]:
        """Return what a completed file holds: the layer ``name`` and its uncertainty beside it."""
        return {
            name: self.values,
            f"{name}_sd": self.sd,
            f"{name}_lower": self.lower,
            f"{name}_upper": self.upper,
        }
