"""Gaussian process regression on a slide's lattice, every gene with its own visible spots.

The system of each gene's visible spots is solved by conjugate gradients, all genes at once, so all
that is needed of the covariance is its product with a matrix. On a small slide that is a matrix
product. On a large one it is a convolution over the lattice, done by fast Fourier transform: still
exact, and without a matrix of pairs of spots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from spared_benchmark.completion.lattice_kernel import LatticeGrid

_Floats = NDArray[np.float64]


# Above this a convolution takes less time than a product with the matrix of pairs.
_DENSE_SPOTS = 1500


class ExponentialCovariance:
    """exp(−d / length) between the spots of one slide.

    Args:
        lattice: Of the slide.
        length: Distance at which the correlation has fallen to 1/e, in pitches.
        dense_spots: Spots up to which the matrix of pairs is held.
    """

    def __init__(
        self, lattice: LatticeGrid, length: float, dense_spots: int = _DENSE_SPOTS
    ) -> None:
        if len(lattice.places) <= dense_spots:
            distance = np.hypot(*(place[:, None] - place[None, :] for place in lattice.places.T))
            correlation = np.exp(-distance / length)
            self.times: Callable[[_Floats], _Floats] = correlation.__matmul__
        else:
            self.times = _Convolution(lattice, length)


class _Convolution:
    def __init__(self, lattice: LatticeGrid, length: float) -> None:
        self._lattice = lattice
        self._padded = tuple(fft.next_fast_len(2 * size - 1, real=True) for size in lattice.shape)
        rows, cols = (
            np.minimum(np.arange(size), size - np.arange(size)) * unit
            for size, unit in zip(self._padded, lattice.unit, strict=True)
        )
        correlation = np.exp(-np.hypot(rows[:, None], cols[None, :]) / length)
        self._spectrum = fft.rfft2(correlation.astype(np.float32))[:, :, None]

    def __call__(self, values: _Floats) -> _Floats:
        placed = self._lattice.placed(values.astype(np.float32))
        spectrum = fft.rfft2(placed, s=self._padded, axes=(0, 1))
        spectrum *= self._spectrum
        product = fft.irfft2(spectrum, s=self._padded, axes=(0, 1), overwrite_x=True)
        rows, cols = self._lattice.shape
        return self._lattice.taken(product[:rows, :cols])


def regress(
    covariance: ExponentialCovariance,
    values: _Floats,
    visible: _Floats,
    share: _Floats,
    *,
    tolerance: float,
    rounds: int,
) -> _Floats:
    """Return the expected signal at every spot given the visible values ``(n_spots, n_genes)``.

    Each gene has covariance ``share`` · K + (1 − ``share``) · I up to a factor, which the
    expectation does not depend on (Rasmussen and Williams 2006, equation 2.25).

    Args:
        covariance: K.
        values: Mean 0; 0 wherever not visible ``(n_spots, n_genes)``.
        visible: As numbers ``(n_spots, n_genes)``.
        share: Share of the variance that is signal, at least 0 and below 1 ``(n_genes,)``.
        tolerance: Residual of each system, relative to its right-hand side, at which it is solved.
        rounds: Of conjugate gradients at most.
    """

    def system(vector: _Floats) -> _Floats:
        product: _Floats = visible * (share * covariance.times(vector)) + (1 - share) * vector
        return product

    solution = np.zeros_like(values)
    residual = values.copy()
    direction = residual.copy()
    size = np.square(residual).sum(axis=0)
    enough = tolerance**2 * size
    for _ in range(rounds):
        open_ = size > enough
        if not open_.any():
            break
        product = system(direction)
        curvature = (direction * product).sum(axis=0)
        step = np.divide(size, curvature, out=np.zeros_like(size), where=open_ & (curvature > 0))
        solution += step * direction
        residual -= step * product
        following = np.square(residual).sum(axis=0)
        ratio = np.divide(following, size, out=np.zeros_like(size), where=open_)
        direction = residual + ratio * direction
        size = following
    return share * covariance.times(solution)
