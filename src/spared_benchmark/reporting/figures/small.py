"""Figures of many small marks as PNG files that a page can hold several of."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

from spared_benchmark.reporting.figures import style

FINEST_DPI = 150
_DPIS = (FINEST_DPI, 125, 100)  # 100 is the page's own resolution
_BYTES = 150_000
_MAPPED = 160  # colours of the palette that the colour map has


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
    house = np.array([to_rgb(colour) for colour in (*style.PALETTE, style.GREY, style.MISSING)])
    white = np.linspace(0, 0.85, 8)[:, None, None]
    blends = (house * (1 - white) + white).reshape(-1, 3)
    greys = np.repeat(np.linspace(0, 1, 256 - len(blends) - _MAPPED)[:, None], 3, axis=1)
    mapped = colormaps["viridis"](np.linspace(0, 1, _MAPPED))[:, :3]
    return np.asarray((255 * np.concatenate([blends, greys, mapped])).round())
