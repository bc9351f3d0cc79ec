"""A picture of simulated tissue, stained with haematoxylin and eosin.

Every region has its own amounts of both stains and its own density of nuclei; programmes modulate
them. Stains mix by the law of Beer and Lambert with the optical densities of Ruifrok and Johnston,
Quantification of histochemical staining by color deconvolution, 2001.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from spared_benchmark.simulation.fields import Landscape
from spared_benchmark.simulation.sites import Sites

_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], dtype=np.float32)
_EOSIN = np.array([0.07, 0.99, 0.11], dtype=np.float32)
_GLASS = 243.0
_NUCLEI_PER_SPOT = 30.0  # where the density is 1
_NUCLEUS_SHARE = 0.055  # standard deviation of a nucleus' profile, in spot diameters
_NUCLEUS_DEPTH = 0.9  # optical density at its centre
_GRAIN = 0.035
_STAIN_SPREAD = 0.05  # between slides
_RIM, _RIM_STEEPNESS = 0.04, 100.0  # tissue reaches a little beyond its outermost spots


def paint(
    sites: Sites,
    landscape: Landscape,
    decoy: Landscape,
    signal: float,
    diameter: float,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Paint the tissue, RGB uint8 ``(height, width, 3)``.

    Args:
        sites: Outline and size.
        landscape: What drives expression.
        decoy: Another landscape, which drives nothing.
        signal: Share of the look that ``landscape`` has; ``decoy`` has the rest.
        diameter: Of a spot, pixels.
        generator: Of the slide.
    """
    width, height = sites.size
    step = max(2.0, diameter / 3)
    grid = (int(np.ceil(width / step)) + 1, int(np.ceil(height / step)) + 1)
    x, y = np.linspace(0, width, grid[0]), np.linspace(0, height, grid[1])
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    eosin, background, density = (
        _enlarged(channel.reshape(grid[1], grid[0]), sites.size)
        for channel in _look(landscape, decoy, signal, points)
    )
    outside = _enlarged(sites.outside(points).reshape(grid[1], grid[0]), sites.size)
    tissue = expit((_RIM - outside) * _RIM_STEEPNESS)
    nuclei = _nuclei(density * tissue, diameter, generator)
    grain = generator.standard_normal((2, height, width), dtype=np.float32)
    grain = gaussian_filter(grain, (0, 0.7, 0.7)) * _GRAIN
    stain = np.exp(_STAIN_SPREAD * generator.normal(size=2)).astype(np.float32)
    eosin_density = (eosin + grain[0]) * tissue * stain[0]
    haematoxylin_density = ((background + grain[1]) * tissue + nuclei) * stain[1]
    image = np.empty((height, width, 3), dtype=np.uint8)
    for channel in range(3):
        absorbed = eosin_density * _EOSIN[channel] + haematoxylin_density * _HAEMATOXYLIN[channel]
        image[..., channel] = np.clip(_GLASS * np.exp(-absorbed), 0, 255)
    return image


def _look(
    landscape: Landscape, decoy: Landscape, signal: float, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return eosin, haematoxylin outside nuclei, and density of nuclei at ``points``."""
    true, false = landscape.at(points), decoy.at(points)
    regions, programmes = (
        signal * seen + (1 - signal) * unseen for seen, unseen in zip(true, false, strict=True)
    )
    angle = 2 * np.pi * np.arange(regions.shape[1]) / regions.shape[1]
    eosin = regions @ (0.45 + 0.28 * np.cos(angle))
    background = regions @ (0.20 + 0.15 * np.sin(angle))
    density = regions @ (0.60 + 0.35 * np.cos(2 * angle))
    # Programmes take turns at the three things that a region's look is made of.
    turns = [programmes[:, turn::3].sum(axis=1) for turn in range(3)]
    return (
        eosin * np.exp(0.20 * turns[1]),
        background * np.exp(0.25 * turns[2]),
        density * np.exp(0.35 * turns[0]),
    )


def _nuclei(
    density: NDArray[np.float32], diameter: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return the optical density of nuclei scattered by ``density``, ``(height, width)``."""
    per_pixel = _NUCLEI_PER_SPOT / (np.pi * diameter**2 / 4)
    count = generator.poisson(density * per_pixel)
    sigma = max(0.5, _NUCLEUS_SHARE * diameter)
    spread = gaussian_filter(count.astype(np.float32), sigma) * np.float32(2 * np.pi * sigma**2)
    depth: NDArray[np.float32] = np.float32(_NUCLEUS_DEPTH) * (1 - np.exp(-spread))
    return depth


def _enlarged(channel: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return ``channel``, whose first and last samples lie on the image's border, at ``size``."""
    rows, columns = channel.shape
    small = Image.fromarray(channel.astype(np.float32))
    # PIL's box is in sample units with centres at 0.5, so the grid spans centre to centre.
    box = (0.5, 0.5, columns - 0.5, rows - 0.5)
    large = small.resize(size, Image.Resampling.BILINEAR, box=box)
    return np.asarray(large, dtype=np.float32)
