"""One look for every figure: Okabe-Ito colours, light axes, no global state."""

from __future__ import annotations

import io
import math

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito (2008), told apart by readers with any colour vision.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE, YELLOW = "#E69F00", "#56B4E9", "#CC79A7", "#F0E442"
INK, GREY, LIGHT = "#1f2933", "#6b7280", "#e5e7eb"
MISSING = "#d9dde3"  # a value that was not measured
PALETTE = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
SPLIT_COLOURS = {"train": BLUE, "val": SKY, "test": ORANGE}

WIDTH_IN = 9.0  # shown 900 px wide: 1 inch is 100 px, 9 points are 12.5 px
TEXT, SMALL = 9.5, 8.5
UNITS = {
    "log_tpm": "(log$_2$(TPM+1))$^2$",
    "combat": "(batch-corrected log$_2$(TPM+1))$^2$",
}


def new_figure(height: float) -> Figure:
    """Return a figure of the report's width, ``height`` inches high, without pyplot."""
    layout = ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06)
    figure = Figure(figsize=(WIDTH_IN, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """Give ``axes`` the common look: two light spines, small ticks, a title at the left."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#9ca3af")
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(labelsize=SMALL, color="#9ca3af", labelcolor=INK, width=0.8, length=3)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", fontsize=TEXT, fontweight="bold", color=INK)
    axes.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    axes.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    return axes


def headline(figure: FigureBase, title: str) -> None:
    """Write what the panels of ``figure`` show together, at the left above them."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=TEXT, fontweight="bold", color=INK)


def panels(number: int, height: float, further: float = 0.35) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``number`` panels in rows of at most 3.

    Args:
        number: Panels; none gives an empty figure.
        height: Of each row of panels, inches.
        further: Height of what stands above and below them, inches.
    """
    columns = min(3, max(number, 1))
    rows = max(math.ceil(number / columns), 1)
    figure = new_figure(height * rows + further)
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[number:]:
        axes.set_visible(False)
    return figure, grid[:number]


def png(figure: Figure, dpi: int = 200) -> bytes:
    """Return ``figure`` as PNG bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
