"""What stands beside every prediction score, computed from the expression alone.

None of these is a predictor: they are told the measured truth of the spots that they are scored
on, or their depth. Test labels are read here and in `scores`, when all predictions are on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.evaluation.floor import ceiling_correlation, mean_noise, poisson_noise
from spared_benchmark.prediction.spaces import Space, converted
from spared_benchmark.registry import Kind
from spared_benchmark.tissue.lattice import neighbour_table

# The target that these rows stand under: none was trained on, the truth was told.
TRUTH = "truth"
FLOOR = "floor"
KINDS: dict[str, Kind] = {
    "library_size": "control",
    "truth_neighbours": "ceiling",
    "truth_low_rank": "ceiling",
}
# Numbers that `truth_low_rank` may describe a spot with.
AXES = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Beside:
    """The controls and ceilings of a cohort on the spots that were predicted.

    Attributes:
        expression: All slides of the cohort.
        rows: Its spots that were predicted, whole slides ``(n_spots,)``.
    """

    expression: AnnData
    rows: NDArray[np.int64]

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Measured entries of all spots ``(n_all, n_genes)``."""
        return np.asarray(self.expression.layers["measured"], dtype=bool)

    @cached_property
    def slide(self) -> NDArray[np.str_]:
        """Slide of all spots ``(n_all,)``."""
        return np.asarray(self.expression.obs["slide"], dtype=np.str_)

    @cached_property
    def _train(self) -> NDArray[np.bool_]:
        return np.asarray(self.expression.obs["split"].astype(str) == "train")

    def values(self, space: Space) -> dict[str, NDArray[np.float32]]:
        """Return a value for every predicted spot and gene ``(n_spots, n_genes)`` by name.

        ``truth_neighbours``: see `neighbour_mean`. ``truth_low_rank``: see `low_rank`.
        ``library_size``: see `by_depth`.
        """
        truth = np.asarray(self.expression.layers[space], dtype=np.float64)
        known, rows = truth[self._train], self.rows
        seen = self.measured[self._train]
        mean = gene_mean(known, seen)
        depth = np.log2(np.maximum(self.expression.obs["library_size"].to_numpy(np.float64), 1))
        told = truth[rows], self.measured[rows]
        found = {
            "library_size": by_depth(known, seen, depth[self._train], depth[rows]),
            "truth_neighbours": neighbour_mean(*told, self._lattice, self.slide[rows], mean),
            "truth_low_rank": low_rank(*told, mean, leading_axes(known, seen, mean)),
        }
        return {name: values.astype(np.float32) for name, values in found.items()}

    def floor(self, space: Space, split: NDArray[np.str_]) -> pd.DataFrame:
        """Return the lowest error and highest correlation that Poisson counting allows.

        ``mse`` is the mean of `poisson_noise` over the measured entries, ``pcc_gene`` is
        `ceiling_correlation`; both for someone who knows every spot's true rate and depth. Noise
        is that of counting alone: what duplicates and diffusion add is not in it, so the true floor
        lies higher. It says nothing of what an image shows. In ``combat`` the noise takes the
        square of each slide and gene's scale. NaN where counts are not whole numbers.

        Args:
            space: Of the values.
            split: Of each predicted spot.

        Returns:
            Columns ``split``, ``slide`` (empty for pooled), ``metric``, ``value``, ``n``.
        """
        truth = np.asarray(self.expression.layers[space], dtype=np.float64)[self.rows]
        noise = self._noise * self._slope(space) ** 2
        tables = []
        for part in dict.fromkeys(split.tolist()):
            kept = split == part
            scored = self.measured[self.rows][kept]
            told = noise[kept], scored, self.slide[self.rows][kept]
            both = (mean_noise(*told), ceiling_correlation(truth[kept], *told))
            tables.append(pd.concat(both, ignore_index=True).assign(split=part))
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def _noise(self) -> Floats:
        """Noise in ``log_tpm`` of the predicted spots ``(n_spots, n_genes)``."""
        obs, var = self.expression.obs, self.expression.var
        noise: Floats = poisson_noise(
            np.asarray(self.expression.layers["counts"])[self.rows],
            var["gene_length"].to_numpy(dtype=np.float64),
            obs["tpm_denominator"].to_numpy(dtype=np.float64)[self.rows],
            self.slide[self.rows],
        )
        return noise

    def _slope(self, space: Space) -> Floats:
        """Return the slope of each entry's affine map from ``log_tpm``: f(1) − f(0)."""
        shape = len(self.rows), self.expression.n_vars
        ends = (
            converted(np.full(shape, end), self.slide[self.rows], self.expression, "log_tpm", space)
            for end in (1.0, 0.0)
        )
        high, low = (end.astype(np.float64) for end in ends)
        return high - low

    @cached_property
    def _lattice(self) -> NDArray[np.int32]:
        obs = self.expression.obs.iloc[self.rows]
        codes = np.unique(self.slide[self.rows], return_inverse=True)[1]
        lattice = self.expression.uns["lattice"]
        return neighbour_table(obs["array_row"], obs["array_col"], codes, lattice, hops=1)


def gene_mean(values: Floats, measured: NDArray[np.bool_]) -> Floats:
    """Return the mean of each gene over measured entries ``(n_genes,)``; of all where it has none.

    Args:
        values: ``(n_spots, n_genes)``.
        measured: The same shape.
    """
    count = measured.sum(axis=0)
    total = np.where(measured, values, 0).sum(axis=0)
    overall = total.sum() / max(int(count.sum()), 1)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), overall)
    return mean


def neighbour_mean(
    values: Floats,
    measured: NDArray[np.bool_],
    neighbours: NDArray[np.int32],
    slide: NDArray[np.str_],
    otherwise: Floats,
) -> Floats:
    """Return the mean of the true measured values of each spot's lattice neighbours.

    What a predictor would score that knew the tissue around a spot perfectly and the spot itself
    not at all. It is no upper bound: neighbours carry their own counting noise, and an image may
    show what sets a spot apart. The spot itself is left out throughout: a gene that no neighbour
    has takes the mean of the slide's other spots, and where there is none, ``otherwise``.

    Args:
        values: ``(n_spots, n_genes)``.
        measured: The same shape.
        neighbours: ``(n_spots, k)``, −1 padded.
        slide: ``(n_spots,)``.
        otherwise: ``(n_genes,)``.
    """
    kept = np.where(measured, values, 0)
    total, count = np.zeros_like(kept), np.zeros(kept.shape, dtype=np.int64)
    for column in neighbours.T:
        known = (column >= 0)[:, None]
        total += np.where(known, kept[column], 0)
        count += measured[column] & known
    rest = np.empty_like(kept)
    for name in np.unique(slide):
        inside = slide == name
        others = measured[inside].sum(axis=0) - measured[inside]
        sums = kept[inside].sum(axis=0) - kept[inside]
        rest[inside] = np.where(others > 0, sums / np.maximum(others, 1), otherwise)
    return np.where(count > 0, total / np.maximum(count, 1), rest)


def leading_axes(values: Floats, measured: NDArray[np.bool_], mean: Floats) -> Floats:
    """Return the leading `AXES` gene axes of train spots ``(n_genes, k)``, by falling variance.

    They are those of the covariances of each two genes over the spots where both are measured. Of
    few genes no more than half as many axes are taken: all of them would describe anything.

    Args:
        values: Of train spots ``(n_spots, n_genes)``.
        measured: The same shape.
        mean: ``(n_genes,)``.
    """
    deviation = np.where(measured, values - mean, 0)
    together = measured.T.astype(np.float64) @ measured
    covariance = deviation.T @ deviation / np.maximum(together, 1)
    variances, vectors = np.linalg.eigh(covariance)
    axes = min(AXES, len(mean) // 2, int((variances > 0).sum()))
    leading: Floats = vectors[:, np.argsort(variances)[::-1][:axes]]
    return leading


def low_rank(
    values: Floats, measured: NDArray[np.bool_], mean: Floats, axes: Floats
) -> NDArray[np.float64]:
    """Return each spot's own measured values, projected on ``axes`` by least squares.

    No predictor whose output is the train mean plus some mix of these axes can have a lower
    squared error on any spot, whatever it sees: that is what low rank costs. It is told the very
    values that it is scored on, so its numbers fit some of their counting noise, and it may lie
    below the Poisson floor; a spot with fewer measured genes than axes is met exactly. A predictor
    of more than these axes is not bound by it.

    Args:
        values: ``(n_spots, n_genes)``.
        measured: The same shape; no other entry is read.
        mean: Of train ``(n_genes,)``.
        axes: ``(n_genes, k)``.
    """
    n_genes, width = axes.shape
    deviation = np.where(measured, values - mean, 0)
    squares = (axes[:, :, None] * axes[:, None, :]).reshape(n_genes, width * width)
    gram = (measured.astype(np.float64) @ squares).reshape(len(values), width, width)
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    numbers = np.einsum("sij,sj->si", inverse, deviation @ axes)
    projected: Floats = mean + numbers @ axes.T
    return projected


def by_depth(
    values: Floats, measured: NDArray[np.bool_], depth: NDArray[np.float64], told: Floats
) -> Floats:
    """Return each gene's linear regression on log library size, fitted on train spots.

    Log expression depends on how many molecules were counted in a spot, whatever the tissue: one
    molecule is worth more TPM in a shallow spot. This control is told the depth of the spots that
    it is scored on, which no image shows outright; what a predictor gains over the mean and this
    gains too, may be depth and not biology.

    Args:
        values: Of train spots ``(n_train, n_genes)``.
        measured: The same shape; no other entry is read.
        depth: log2 library size of train spots ``(n_train,)``.
        told: log2 library size of the spots asked for ``(n_spots,)``.

    Returns:
        ``(n_spots, n_genes)``; the gene's mean where the depth of its train spots does not vary.
    """
    count = np.maximum(measured.sum(axis=0), 1)
    level = gene_mean(values, measured)
    centre = depth @ measured / count
    gap = np.where(measured, depth[:, None] - centre, 0)
    variance = (gap**2).sum(axis=0)
    slope = (gap * np.where(measured, values - level, 0)).sum(axis=0)
    slope = np.where(variance > 1e-9 * count, slope / np.maximum(variance, 1e-300), 0)
    regressed: Floats = level + (told[:, None] - centre) * slope
    return regressed
