"""Dot plots of errors: rows of named points on an axis fitted to the best of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.numbers import decimal

NEAR = 1.8  # times the lowest error: what is worth resolving
DASHED = (0, (4, 2))


def error_axis(axes: Axes, values: Sequence[float]) -> float:
    """Fit the x axis to errors and return its upper limit.

    Errors of one cohort may differ tenfold. When the largest is above 2.5 times the lowest, the
    axis resolves those near the lowest if they are at least half of all, and the others are to be
    named at the border; else it is logarithmic.

    Args:
        axes: Whose x axis shows an error.
        values: The errors, none of them NaN.
    """
    errors = np.asarray(values, dtype=float)
    low, high = float(errors.min()), float(errors.max())
    near = errors[errors <= NEAR * low]
    if low > 0 and high > 2.5 * low and 2 * len(near) < len(errors):
        axes.set_xscale("log")
        ticks = [tick for tick in _round_numbers(low, high) if 0.85 * low <= tick <= 1.25 * high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(low * 0.85, high * 1.25)
    else:
        beyond = low > 0 and high > 2.5 * low
        high = float(near.max()) if beyond else high
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.1
        axes.set_xlim(low - margin, high + (4 if beyond else 1) * margin)
    return float(axes.get_xlim()[1])


def dot(
    axes: Axes,
    value: float,
    row: float,
    colour: str,
    marker: str = "o",
    size: float = 6.5,
    *,
    hollow: bool = False,
) -> None:
    """Draw one point; beyond the axis, an arrowhead at the border with the number beside it."""
    limit = axes.get_xlim()[1]
    if value <= limit:
        face, edge = ("white", colour) if hollow else (colour, "white")
        axes.plot(
            value,
            row,
            marker,
            markersize=size,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=1.1 if hollow else 0.7,
            zorder=3,
        )
        return
    axes.plot(limit, row, ">", markersize=4.5, color=colour, clip_on=False, zorder=3)
    axes.annotate(
        decimal(value),
        (limit, row),
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=style.SMALL - 1,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        zorder=3,
    )


def name_rows(axes: Axes, names: Sequence[str], references: int) -> None:
    """Name the rows, the first at the top; the last ``references`` of them are set apart in grey.

    Row ``i`` lies at y = ``i``; the axis runs downwards.
    """
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    first = len(names) - references
    for label in axes.get_yticklabels()[first:]:
        label.set(style="italic", color=style.GREY)
    if references:
        axes.axhspan(first - 0.5, len(names) - 0.4, color="#f6f8fa", zorder=0)
    for row in range(len(names)):
        axes.axhline(row, color=style.LIGHT, linewidth=0.7, zorder=0)


def reference_line(axes: Axes, value: float, *, ceiling: bool) -> None:
    """Draw a control (dashed grey) or a ceiling (solid green) as a vertical line, if it fits."""
    if value <= axes.get_xlim()[1]:
        axes.axvline(
            value,
            color=style.GREEN if ceiling else style.GREY,
            linewidth=1.4 if ceiling else 0.9,
            linestyle="-" if ceiling else DASHED,
            zorder=1,
        )


def _round_numbers(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 100 else (1,)
    return [step * 10.0**decade for decade in decades for step in steps]
