"""Gaussian processes on one slide's lattice with an exponential covariance, on any device.

All that is needed of the covariance is its product with a matrix: a matrix product on a small
slide, on a large one a convolution over the lattice, done by fast Fourier transform, so that no
matrix of pairs of spots is held.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from spared_benchmark.completion.lattice_kernel import UNITS
from spared_benchmark.completion.visible import Visible

# Above this a convolution takes less time than a product with the matrix of pairs.
_DENSE_SPOTS = 1500
_LEAST = 1e-30

_Times = Callable[[Tensor], Tensor]


class LatticeCovariance:
    """exp(−d / length) between the spots of one slide, float64.

    Args:
        slide: One slide.
        length: Distance at which the correlation has fallen to 1/e, in pitches.
        device: Where products are computed.
        dense_spots: Spots up to which the matrix of pairs is held.
    """

    def __init__(
        self,
        slide: Visible,
        length: float,
        device: torch.device,
        dense_spots: int = _DENSE_SPOTS,
    ) -> None:
        self.length = length
        unit = UNITS[slide.lattice]
        row = slide.array_row.astype(np.int64) - int(slide.array_row.min())
        col = slide.array_col.astype(np.int64) - int(slide.array_col.min())
        if slide.n_spots <= dense_spots:
            places = torch.from_numpy(np.stack([row * unit[0], col * unit[1]], axis=1)).to(device)
            correlation = torch.exp(-torch.cdist(places, places) / length)
            self.times: _Times = correlation.matmul
        else:
            shape = (int(row.max()) + 1, int(col.max()) + 1)
            site = torch.from_numpy(row * shape[1] + col).to(device)
            self.times = _convolution(site, shape, unit, length)


def _convolution(
    site: Tensor, shape: tuple[int, int], unit: tuple[float, float], length: float
) -> _Times:
    padded = tuple(next_fast_len(2 * size - 1, real=True) for size in shape)
    rows, cols = (
        torch.minimum(torch.arange(size), size - torch.arange(size)).to(site.device).double() * step
        for size, step in zip(padded, unit, strict=True)
    )
    distance = torch.hypot(rows[:, None], cols[None, :])
    spectrum = torch.fft.rfft2(torch.exp(-distance / length))

    def times(values: Tensor) -> Tensor:
        columns = values.shape[1]
        grid = values.new_zeros((columns, shape[0] * shape[1]))
        grid[:, site] = values.T
        placed = torch.fft.rfft2(grid.reshape(columns, *shape), s=padded)
        product = torch.fft.irfft2(placed * spectrum, s=padded)[:, : shape[0], : shape[1]]
        taken: Tensor = product.reshape(columns, -1)[:, site].T
        return taken

    return times


def posterior_mean(
    times: _Times,
    share: Tensor,
    precision: Tensor,
    information: Tensor,
    rounds: int = 60,
    tolerance: float = 1e-3,
) -> Tensor:
    """Return E[u] of u_q ~ GP(0, share_q K) given evidence that is local to each spot.

    With P the block-diagonal matrix of ``precision``, the mean solves (P + (share K)⁻¹) u = h
    (Rasmussen and Williams 2006, section 3.4). It is found by conjugate gradients with share · K
    for a preconditioner, which needs products with K and never its inverse: beside each vector p
    its image (share K)⁻¹ p is carried along.

    Args:
        times: Product with K.
        share: Variance of each process ``(rank,)``.
        precision: Of each spot's evidence ``(n_spots, rank, rank)``.
        information: h ``(n_spots, rank)``.
        rounds: Of conjugate gradients at most.
        tolerance: Of the residual, relative to the first, in the norm of share · K.

    Returns:
        ``(n_spots, rank)``.
    """
    mean = torch.zeros_like(information)
    residual = information
    step = share * times(residual)
    direction, image = step, residual
    size = (residual * step).sum()
    enough = tolerance**2 * size
    for _ in range(rounds):
        if not bool(size > enough):
            break
        product = torch.einsum("nqr,nr->nq", precision, direction) + image
        rate = size / (direction * product).sum().clamp(min=_LEAST)
        mean = mean + rate * direction
        residual = residual - rate * product
        step = share * times(residual)
        following = (residual * step).sum()
        ratio = following / size
        direction, image, size = step + ratio * direction, residual + ratio * image, following
    return mean


def krige(times: _Times, values: Tensor, known: Tensor, share: float, rounds: int = 200) -> Tensor:
    """Return a quantity at every spot, where known as it is, elsewhere as neighbours tell.

    Ordinary means: deviations from the mean of what is known, with covariance share · K
    + (1 − share) · I.

    Args:
        times: Product with K.
        values: ``(n_spots,)``; what is not known is not looked at.
        known: ``(n_spots,)``.
        share: Part of the variance that is continuous over the slide.
        rounds: Of conjugate gradients at most.
    """
    if not bool(known.any()):
        return torch.zeros_like(values)
    mean = values[known].mean()
    weight = known.to(values.dtype) / (1 - share)
    information = torch.where(known, values - mean, torch.zeros_like(values)) * weight
    smooth = posterior_mean(
        times,
        values.new_full((1,), share),
        weight[:, None, None],
        information[:, None],
        rounds,
    )
    return torch.where(known, values, mean + smooth[:, 0])
