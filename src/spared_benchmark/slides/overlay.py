"""A picture that shows whether spots and tissue belong together."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from PIL import Image

from spared_benchmark.slides.raw import RawSlide

NO_IMAGE = "no image: takes part in completion only"

_SIDE = 1200
_INCHES, _DPI = 8.0, 150


def draw_overlay(raw: RawSlide) -> Figure:
    """Draw the tissue with every spot as a circle of its true diameter.

    Without an image the spots are drawn on white, and the title says so.
    """
    facts = raw.adata.uns["slide"]
    shrink = 1
    if raw.image is not None:
        shrink = max(1, -(-max(raw.image.shape[:2]) // _SIDE))
    scale = raw.image_scale / shrink
    centres = np.asarray(raw.adata.obsm["spatial"], dtype=np.float64) * scale
    diameter = np.full(len(centres), float(facts["spot_diameter_px"]) * scale)
    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if raw.image is not None:
        axes.imshow(np.asarray(Image.fromarray(raw.image).reduce(shrink)))
    colour = "black" if raw.image is not None else "tab:blue"
    circles = EllipseCollection(
        diameter,
        diameter,
        np.zeros(len(centres)),
        units="xy",
        offsets=centres,
        offset_transform=axes.transData,
        facecolors="none",
        edgecolors=colour,
        linewidths=0.6,
    )
    axes.add_collection(circles)
    if raw.image is None:
        margin = 2 * diameter[0]
        (left, top), (right, bottom) = centres.min(axis=0) - margin, centres.max(axis=0) + margin
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_axis_off()
    title = f"{facts['cohort']} {facts['slide']}: {raw.adata.n_obs:,} spots"
    axes.set_title(title if raw.image is not None else f"{title}\n{NO_IMAGE}")
    return figure
