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

_DPI = 140
_MAPPED, _GREYS = 176, 64


def compact_png(figure: Figure) -> bytes:
    """Return a figure of values in viridis as a PNG of 256 fixed colours, always the same bytes.

    Colours that few pixels have would be lost from a palette made from the picture.
    """
    with Image.open(io.BytesIO(style.png(figure, dpi=_DPI))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    found, place = np.unique(packed, return_inverse=True)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    palette = _palette()
    nearest = np.asarray(cKDTree(palette).query(colours)[1], dtype=np.uint8)
    flat = Image.fromarray(nearest[place.reshape(packed.shape)], mode="P")
    flat.putpalette(palette.astype(np.uint8).tobytes())
    stream = io.BytesIO()
    flat.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _palette() -> NDArray[np.float64]:
    """Return the colour map, greys, and the lines' colour blended with white, 0 to 255."""
    line = np.array(to_rgb(style.VERMILLION))
    white = np.linspace(0, 0.9, 256 - _MAPPED - _GREYS)[:, None]
    greys = np.repeat(np.linspace(0, 1, _GREYS)[:, None], 3, axis=1)
    mapped = colormaps["viridis"](np.linspace(0, 1, _MAPPED))[:, :3]
    return np.asarray(255 * np.concatenate([mapped, greys, line * (1 - white) + white])).round()
