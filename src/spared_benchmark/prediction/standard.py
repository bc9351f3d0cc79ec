"""Inputs of one scale, and their principal components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A deviation below this share of the mean is rounding, and an axis below this share of the
# largest variance is.
_RESOLUTION = 1e-9


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of each input over the train spots.

    Attributes:
        mean: ``(d,)``.
        scale: ``(d,)``; infinite for an input that does not vary, which becomes 0.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, inputs: NDArray[np.floating[Any]]) -> Standard:
        """Return those of ``inputs`` ``(n_spots, d)``."""
        mean = inputs.mean(axis=0, dtype=np.float64)
        deviation = inputs.std(axis=0, dtype=np.float64)
        varies = deviation > _RESOLUTION * (1 + np.abs(mean))
        return cls(mean, np.where(varies, deviation, np.inf))

    def __call__(self, inputs: NDArray[np.floating[Any]]) -> Floats:
        """Return ``inputs`` ``(n_spots, d)`` with mean 0 and deviation 1 over train."""
        standard = inputs.astype(np.float64)
        standard -= self.mean
        standard /= self.scale
        return standard

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        return {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Standard:
        """Return what `state` told."""
        return cls(np.array(state["mean"]), np.array(state["scale"]))


def principal_axes(standard: Floats, components: int) -> Floats:
    """Return the leading axes of standardised inputs ``(n_spots, d)``.

    Args:
        standard: The inputs.
        components: Axes at most; 0 for all inputs as they are.

    Returns:
        ``(d, c)``, by falling variance; axes along which nothing varies are left out (but for
        the first). The identity where ``components`` is 0 or no fewer than ``d``.
    """
    width = standard.shape[1]
    if components == 0 or components >= width:
        return np.eye(width)
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    order = np.argsort(values)[::-1][:components]
    varied = values[order] > _RESOLUTION * values[order[0]]
    axes = vectors[:, order[: max(int(varied.sum()), 1)]]
    # Eigenvectors have no sign of their own; one is fixed so that runs agree.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.ascontiguousarray(axes)
