"""What the figures of processing share: slides as discs, short names, small PNG files."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from spared_benchmark.reporting.figures import style

MISSING = "#d9dde3"
_COVER, _CLOSED = 0.94, 1.16  # of the pitch: nearly touching; without a gap on any lattice
_FINE = 6.0  # pixels per spot below which gaps are closed
_DPIS = (150, 125, 100)  # 100 is the page's own resolution
_BYTES = 150_000
_MAPPED = 160  # colours of the palette that the colour map has


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
    return width * _DPIS[0] < _FINE * max(across)


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


def small_png(figure: Figure) -> bytes:
    """Return ``figure`` as a PNG of 256 fixed colours, the same for the same figure.

    The resolution is lowered, at most to the page's own, while the file is larger than 150 kB.
    """
    content = b""
    for dpi in _DPIS:
        with Image.open(io.BytesIO(style.png(figure, dpi=dpi))) as picture:
            flat = np.asarray(picture.convert("RGB"))
        stream = io.BytesIO()
        _indexed(flat).save(stream, format="PNG", optimize=True)
        content = stream.getvalue()
        if len(content) <= _BYTES:
            break
    return content


def _indexed(picture: NDArray[np.uint8]) -> Image.Image:
    """Return ``picture`` (height, width, 3) in the nearest colours of the palette.

    A palette made from the picture would lose the colours that few of its pixels have.
    """
    palette = _palette()
    packed = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    colours, place = np.unique(packed, return_inverse=True)
    unpacked = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    nearest = np.asarray(cKDTree(palette).query(unpacked)[1], dtype=np.uint8)
    image = Image.fromarray(nearest[place.reshape(packed.shape)], mode="P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    return image


def _palette() -> NDArray[np.float64]:
    """Return 256 colours, 0 to 255: the house's, their blends with white, greys, the colour map."""
    house = np.array([to_rgb(colour) for colour in (*style.PALETTE, style.GREY, MISSING)])
    white = np.linspace(0, 0.85, 8)[:, None, None]
    blends = (house * (1 - white) + white).reshape(-1, 3)
    greys = np.repeat(np.linspace(0, 1, 256 - len(blends) - _MAPPED)[:, None], 3, axis=1)
    mapped = colormaps["viridis"](np.linspace(0, 1, _MAPPED))[:, :3]
    return np.asarray((255 * np.concatenate([blends, greys, mapped])).round())
