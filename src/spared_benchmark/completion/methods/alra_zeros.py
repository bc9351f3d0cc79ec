"""ALRA as published, with zeros for data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_Floats = NDArray[np.float64]

# The published rank rule: this many singular values, noise from this spacing on, and how many
# standard deviations above the noise a spacing must stand.
_SINGULAR_VALUES = 100
_NOISE_FROM = 78
_DEVIATIONS = 6.0
_QUANTILE = 0.001


class AlraZeros(GridChosen):
    """Fills with ALRA's output, entries that are not visible standing in its input as zeros.

    The rank is that of the published rule on the slide. The rule needs more than 100 spots and
    genes; elsewhere the rank is the one of ``rank`` with the least error on selection entries.
    """

    card: ClassVar[Card] = Card(
        name="alra_zeros",
        label="ALRA on zeros",
        summary="ALRA as published: low-rank matrix, thresholded and rescaled gene by gene, what "
        "is not visible being zero.",
        source="Linderman et al. 2022",
        year=2022,
        uses=frozenset({"genes"}),
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {"rank": (1, 2, 3, 5, 8, 12, 20)}
    tuned: ClassVar[tuple[str, ...]] = ("rank",)

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        super()._fit(train, selection, training)
        given = selection.visible
        by_rule = [
            published_rank(np.linalg.svd(given.one_slide(int(code)).filled, compute_uv=False))
            for code in given.slides
        ]
        # Where the rule gives a rank, the chosen one is not used.
        self.record = {**self.record, "published_ranks_of_val_slides": by_rule}

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        expression = slide.filled.astype(np.float64)
        left, singular, right = np.linalg.svd(expression, full_matrices=False)
        published = published_rank(singular)
        for choice in grid["rank"]:
            rank = int(choice) if published is None else published
            low = (left[:, :rank] * singular[:rank]) @ right[:rank]
            yield {"rank": choice}, _rescaled(_thresholded(low), expression)


def published_rank(singular: NDArray[np.floating]) -> int | None:
    """Return the largest i whose spacing d_i − d_(i+1) stands out from the noise, if defined.

    Args:
        singular: Singular values in falling order ``(min(n_spots, n_genes),)``.

    Returns:
        The rank, at least 1; None for a matrix of no more than 100 spots or genes.
    """
    if singular.size <= _SINGULAR_VALUES:
        return None
    spacings = -np.diff(singular[:_SINGULAR_VALUES])
    noise = spacings[_NOISE_FROM:]
    outstanding = np.flatnonzero(spacings > noise.mean() + _DEVIATIONS * noise.std(ddof=1))
    return int(outstanding[-1]) + 1 if outstanding.size else 1


def _thresholded(low: _Floats) -> _Floats:
    """Set to 0 what does not exceed the size of each gene's lowest quantile."""
    threshold = np.abs(np.quantile(low, _QUANTILE, axis=0))
    return np.where(low > threshold, low, 0.0)


def _rescaled(low: _Floats, expression: _Floats) -> _Floats:
    """Give each gene's non-zero values the mean and deviation of the input's non-zero ones."""
    found_mean, found_spread = _moments(low)
    given_mean, given_spread = _moments(expression)
    usable = (found_spread > 0) & (given_spread > 0)
    scale = np.where(usable, given_spread / np.where(usable, found_spread, 1.0), 1.0)
    shift = np.where(usable, given_mean - scale * found_mean, 0.0)
    completed = np.maximum(np.where(low > 0, low * scale + shift, 0.0), 0.0)
    return np.where((expression > 0) & (completed == 0), expression, completed)


def _moments(values: _Floats) -> tuple[_Floats, _Floats]:
    """Return mean and standard deviation of each gene's non-zero values, 0 where undefined."""
    present = values != 0
    count = present.sum(axis=0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(present, np.square(values - mean), 0.0).sum(axis=0)
    return mean, np.sqrt(squares / np.maximum(count - 1, 1))
