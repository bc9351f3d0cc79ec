"""What the figures of processing share: slides as discs, short names."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.small import FINEST_DPI

_COVER, _CLOSED = 0.94, 1.16  # of the pitch: nearly touching; without a gap on any lattice
_FINE = 6.0  # pixels per spot below which gaps are closed


def discs(
    axes: Axes, xy: NDArray[np.float64], colours: NDArray[np.float64], *, closed: bool
) -> None:
    """Draw the spots of one slide as the image shows them, y downwards, without axes.

    Args:
        axes: Where.
        xy: Spot centres, pixels ``(n_spots, 2)``.
        colours: RGBA ``(n_spots, 4)``.
        closed: Whether to leave no gaps and no soft edges, see `too_fine`.
    """
    pitch = pitch_of(xy)
    sizes = np.full(len(xy), (_CLOSED if closed else _COVER) * pitch)
    axes.add_collection(
        EllipseCollection(
            sizes,
            sizes,
            np.zeros(len(xy)),
            units="xy",
            offsets=xy,
            offset_transform=axes.transData,
            facecolors=colours,
            linewidths=0,
            antialiaseds=not closed,
        )
    )
    low, high = xy.min(axis=0) - 0.6 * pitch, xy.max(axis=0) + 0.6 * pitch
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])
    axes.set_aspect("equal", anchor="N")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def too_fine(slides: Iterable[NDArray[np.float64]], width: float) -> bool:
    """Return whether spots of some slide are so few pixels wide that gaps would be all one sees.

    Gaps and soft edges also make the file several times as large.

    Args:
        slides: Spot centres of each ``(n_spots, 2)``.
        width: Of each slide's axes, inches.
    """
    across = [float(np.ptp(xy[:, 0])) / pitch_of(xy) + 1 for xy in slides]
    return width * FINEST_DPI < _FINE * max(across)


def pitch_of(xy: NDArray[np.float64]) -> float:
    """Return the median distance of a spot to the nearest other one, in the unit of ``xy``."""
    if len(xy) < 2:
        return 1.0
    distances = np.asarray(cKDTree(xy).query(xy, k=2)[0])[:, 1]
    return float(np.median(distances)) or 1.0


def steepness(xy: NDArray[np.float64]) -> float:
    """Return height over width of a slide's spots, kept between 0.4 and 1.5."""
    extent = np.ptp(xy, axis=0) + pitch_of(xy)
    return min(max(float(extent[1] / extent[0]), 0.4), 1.5)


def columns_for(number: int) -> int:
    """Return how many panels stand side by side: at most 6, in rows as even as can be."""
    rows = max(math.ceil(number / 6), 1)
    return math.ceil(number / rows)


def short(name: str, longest: int = 16) -> str:
    """Return ``name``, its middle left out where it is longer than ``longest`` characters."""
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}…{name[head + 1 - longest :]}"


def symbols_of(genes: pd.DataFrame) -> pd.Series:
    """Return what a reader calls each gene: its symbol, its id where it has none.

    Args:
        genes: Index ids; column ``symbol`` if they have symbols.
    """
    ids = pd.Series(genes.index.astype(str), index=genes.index)
    if "symbol" not in genes:
        return ids
    symbols = genes["symbol"].astype(object).fillna("").astype(str)
    return symbols.where(symbols != "", ids)


def only_words(words: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = style.new_figure(0.6)
    figure.text(0.01, 0.5, words, fontsize=style.TEXT, color=style.GREY, va="center")
    return figure
