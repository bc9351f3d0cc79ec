"""Smooth random fields over the tissue: sums of plane waves of random direction and phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WAVES = 24


@dataclass(frozen=True)
class Fields:
    """Random Fourier fields, approximately Gaussian with a squared-exponential covariance.

    Rahimi and Recht, Random features for large-scale kernel machines, NeurIPS 2007, eq. 2.

    Attributes:
        frequency: Wave vectors, radians per pixel, ``(n_fields, n_waves, 2)``.
        phase: Radians, ``(n_fields, n_waves)``.
        mean: Over the reference points, ``(n_fields,)``.
        scale: Standard deviation over the reference points, ``(n_fields,)``.
    """

    frequency: NDArray[np.float64]
    phase: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def draw(
        cls,
        fields: int,
        length: float,
        reference: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Fields:
        """Draw ``fields`` fields of correlation length ``length`` px.

        Each has mean 0 and standard deviation 1 over the ``reference`` points ``(n, 2)``.
        """
        frequency = generator.normal(size=(fields, _WAVES, 2)) / length
        phase = generator.uniform(0, 2 * np.pi, size=(fields, _WAVES))
        plain = cls(frequency, phase, np.zeros(fields), np.ones(fields))
        values = plain.at(reference)
        scale = np.maximum(values.std(axis=0), 1e-9)
        return cls(frequency, phase, values.mean(axis=0), scale)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fields at ``points`` (x, y) ``(n, 2)`` as ``(n, n_fields)``."""
        values = np.empty((len(points), len(self.mean)))
        # One field at a time: all waves of all fields at once would not fit for large images.
        for index, (frequency, phase) in enumerate(zip(self.frequency, self.phase, strict=True)):
            values[:, index] = np.cos(points @ frequency.T + phase).mean(axis=1)
        return (values - self.mean) / self.scale


@dataclass(frozen=True)
class Landscape:
    """Regions with soft borders, and smooth programmes that run across them."""

    regions: Fields
    programmes: Fields

    _SHARPNESS = 6.0

    @classmethod
    def draw(
        cls,
        regions: int,
        programmes: int,
        length: float,
        reference: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Landscape:
        """Draw a landscape whose features are about ``length`` px wide."""
        return cls(
            Fields.draw(regions, length, reference, generator),
            Fields.draw(programmes, length, reference, generator),
        )

    def at(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return region shares ``(n, n_regions)``, rows summing to 1, and programmes."""
        height = self._SHARPNESS * self.regions.at(points)
        share = np.exp(height - height.max(axis=1, keepdims=True))
        return share / share.sum(axis=1, keepdims=True), self.programmes.at(points)
