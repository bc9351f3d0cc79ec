"""What a value is expected to be by its gene's mean on the slide and by its spot's depth.

A gene that is often missed has its values where a molecule or two were counted, and what a molecule
is worth in log2(TPM+1) falls by one with every doubling of the depth; one that is counted in
dozens has a value that does not depend on depth. So depth has a slope for every gene, between −1
and 0 by and large, and no offset that is the same for all genes can stand for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import slide_means, train_means
from spared_benchmark.completion.kriging import LatticeCovariance, krige
from spared_benchmark.completion.visible import Visible

_LIBRARY_FLOOR = 1.0
_VARIANCE_LEAST = 1e-9
_MEAN_WEIGHT = 5.0  # visible entries that the train mean is worth
_SLOPE_WEIGHT = 5.0  # spots of usual depth that a slope of 0 is worth
_LEARNT = ("gene_mean", "slope", "reach")
_LENGTH = 4.0  # pitches within which depth is alike
_SHARE = (0.05, 0.95)  # what part of its variance may be continuous over the slide

_Floats = NDArray[np.float64]


def depth_of(given: Visible) -> _Floats:
    """Return log2 library size less its median on the slide ``(n_spots, 1)``.

    Where it is withheld it is kriged from the slide's other spots, by as much as those are like
    their neighbours; 0 on a slide without any.
    """
    library = np.log2(np.maximum(given.library_size.astype(np.float64), _LIBRARY_FLOOR))
    depth = np.zeros(given.n_spots)
    for code in given.slides:
        rows = np.flatnonzero(given.slide == code)
        known = ~np.isnan(library[rows])
        if not known.any():
            continue
        centred = np.where(known, library[rows] - np.median(library[rows][known]), 0.0)
        if not known.all():
            slide = given.rows(rows)
            covariance = LatticeCovariance(slide, _LENGTH, torch.device("cpu"))
            share = _continuous_share(centred, known, slide.neighbours(1))
            told = krige(
                covariance.times, torch.from_numpy(centred), torch.from_numpy(known), share
            )
            centred = told.numpy()
        depth[rows] = centred
    return depth[:, None]


def _continuous_share(
    depth: _Floats, known: NDArray[np.bool_], neighbours: NDArray[np.int32]
) -> float:
    """Return the correlation of neighbours' depths, carried back to no distance."""
    centred = np.where(known, depth - depth[known].mean(), 0.0)
    sums, counts = (
        np.append(array, 0.0)[neighbours].sum(axis=1) for array in (centred, known.astype(float))
    )
    covariance = float((centred * sums).sum()) / max(float(counts[known].sum()), 1.0)
    variance = max(float(np.square(centred).sum()) / int(known.sum()), _VARIANCE_LEAST)
    return float(np.clip(covariance / variance * np.exp(1 / _LENGTH), *_SHARE))


@dataclass(frozen=True, eq=False)
class DepthLevel:
    """Gene means and depth slopes of the train slides.

    Attributes:
        gene_mean: Over visible entries ``(n_genes,)``.
        slope: Of the deviation from the slide's mean by depth ``(n_genes,)``.
        reach: Least and largest depth of a train spot, beyond which slopes say nothing ``(2,)``.
    """

    gene_mean: _Floats
    slope: _Floats
    reach: _Floats

    @classmethod
    def of_train(cls, train: Visible) -> DepthLevel:
        """Fit both to visible entries, each gene's slope by least squares."""
        gene_mean = train_means(train)
        deviations = train.values - slide_means(train, gene_mean, _MEAN_WEIGHT)
        depth, visible = depth_of(train), train.visible.astype(np.float64)
        counts = np.maximum(visible.sum(axis=0), 1)
        centred = visible * (depth - (visible * depth).sum(axis=0) / counts)
        spread = np.square(centred).sum(axis=0) + _SLOPE_WEIGHT * depth.var()
        products = (centred * deviations).sum(axis=0)
        slope = np.divide(products, spread, out=np.zeros_like(products), where=spread > 0)
        reach = np.array([depth.min(initial=0.0), depth.max(initial=0.0)])
        return cls(gene_mean, slope, reach)

    def of(self, given: Visible, depth: _Floats) -> _Floats:
        """Return what every entry is expected to be ``(n_spots, n_genes)``.

        Args:
            given: One or more slides.
            depth: As `depth_of` ``(n_spots, 1)``.
        """
        within = np.clip(depth, *self.reach)
        level: _Floats = slide_means(given, self.gene_mean, _MEAN_WEIGHT) + within * self.slope
        return level

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in _LEARNT}

    @classmethod
    def loaded(cls, state: Mapping[str, NDArray[Any]]) -> DepthLevel:
        """Take what `state` gave."""
        return cls(*(np.asarray(state[name], dtype=np.float64) for name in _LEARNT))
