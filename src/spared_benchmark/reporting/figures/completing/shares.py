"""Error against the share of entries that are hidden (the paper's Figure 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.completing import ranks
from spared_benchmark.reporting.figures.completing.ranks import kinds_of
from spared_benchmark.reporting.numbers import decimal, whole
from spared_benchmark.study import HEADLINE

_COLOURS = (style.VERMILLION, style.BLUE, style.PURPLE, style.ORANGE, style.SKY)
_BEST = 3
_ALWAYS = ("spackle", "median")  # what the paper compares
_ABOVE = 1.12  # times the slide's gene mean: the top of the axis
_FAINT = "#b6bcc6"
_LINE = 0.052  # height of a label as a share of the axis


def error_by_share(scores: pd.DataFrame, space: str = ranks.SPACE) -> Figure | None:
    """Draw MSE against the share of measured entries hidden at random, a panel per cohort.

    The best methods over all cohorts, of those scored in most, and the paper's are named at
    their lines; the others are grey. Dashed: controls, the slide's gene mean darker. Green: the
    Poisson floor. Methods whose line lies beyond the axis altogether are named with their lowest
    and highest error.

    Args:
        scores: Tidy completion scores of any number of cohorts.
        space: ``log_tpm`` or ``combat``.

    Returns:
        None when no cohort has two shares.
    """
    rows = ranks.scored(scores, space)
    rows = rows[(rows["regime"] == HEADLINE[0]) & (rows["slide"] == "") & (rows["metric"] == "mse")]
    shares = rows.groupby("cohort", sort=False)["hidden_fraction"].nunique()
    cohorts = [str(code) for code in shares.index if shares[code] > 1]
    if not cohorts:
        return None
    methods, _ = ranks.ranked(rows)
    runs = rows.groupby("completer")["cohort"].nunique()
    methods = [name for name in methods if runs[name] == runs.max()]
    named = [*methods[:_BEST], *(name for name in _ALWAYS if name in methods[_BEST:])]
    colours = dict(zip(named, _COLOURS, strict=False))
    columns = min(2, len(cohorts))
    figure = style.new_figure(3.1 * math.ceil(len(cohorts) / columns) + 0.3)
    panels = figure.subplots(math.ceil(len(cohorts) / columns), columns, squeeze=False).flat
    for axes, cohort in zip(panels, cohorts, strict=False):
        own = rows[rows["cohort"] == cohort]
        style.dress(axes, ranks.heading(cohort, own))
        _panel(axes, own, colours, wide=columns == 1)
    for axes in list(figure.axes)[len(cohorts) :]:
        axes.set_visible(False)
    figure.supxlabel("measured entries hidden, %", fontsize=style.TEXT, color=style.INK)
    label = f"MSE of hidden entries, {style.UNITS.get(space, space)}"
    figure.supylabel(label, fontsize=style.TEXT, color=style.INK)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, colours: Mapping[str, str], *, wide: bool) -> None:
    errors = rows.groupby(["completer", "hidden_fraction"])["value"].mean().unstack()
    kinds = kinds_of(rows)
    shares = 100 * errors.columns.to_numpy(dtype=np.float64)
    low, high = _limits(errors, kinds)
    beyond, labels = [], []
    marked = {*colours, tables.BASELINE, tables.FLOOR}
    for name, line in errors.iterrows():
        values = line.to_numpy(dtype=np.float64)
        if np.nanmin(values) > high:
            if kinds[str(name)] == "method":
                beyond.append((float(np.nanmin(values)), float(np.nanmax(values)), str(name)))
            continue
        colour, look = _look(str(name), kinds[str(name)], colours)
        axes.plot(shares, values, color=colour, marker="o", ms=3, clip_on=True, **look)
        if str(name) in marked and values[-1] <= high:
            labels.append((float(values[-1]), str(name), colour))
        elif str(name) in marked:
            _leaves(axes, (shares, values, high), str(name), colour)
    axes.set_ylim(low, high)
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    span = shares[-1] - shares[0]
    # Room for names: an inch and a half of a panel that fills the page, or half of it.
    axes.set_xlim(shares[0] - 0.03 * span, shares[-1] + (0.2 if wide else 0.55) * span)
    _label(axes, labels, float(shares[-1]))
    _tell(axes, _entries(rows), beyond, wide=wide)


def _look(name: str, kind: str, colours: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    if name in colours:
        return colours[name], {"lw": 1.7, "zorder": 4}
    if kind == "ceiling":
        return style.GREEN, {"lw": 1.7, "zorder": 3}
    if kind == "control":
        strong = name == tables.BASELINE
        colour = style.GREY if strong else _FAINT
        return colour, {"lw": 1.1 if strong else 0.9, "ls": (0, (4, 2)), "zorder": 2}
    return _FAINT, {"lw": 0.9, "zorder": 1}


def _limits(errors: pd.DataFrame, kinds: Mapping[str, str]) -> tuple[float, float]:
    lowest = float(np.nanmin(errors.to_numpy()))
    if tables.BASELINE in errors.index:
        high = _ABOVE * float(np.nanmax(errors[errors.index == tables.BASELINE].to_numpy()))
    else:
        methods = errors[[kinds[str(name)] == "method" for name in errors.index]]
        high = 1.8 * float(np.nanmin((methods if len(methods) else errors).to_numpy()))
    return lowest - 0.06 * (high - lowest), high


def _leaves(
    axes: Axes,
    line: tuple[NDArray[np.float64], NDArray[np.float64], float],
    name: str,
    colour: str,
) -> None:
    """Name a line where it leaves the axis at the top."""
    shares, values, high = line
    last = int(np.flatnonzero(values <= high)[-1])
    pair = slice(last, last + 2)
    place = np.interp(high, values[pair], shares[pair]) if last + 1 < len(values) else shares[last]
    axes.annotate(
        f"{name} (to {decimal(float(np.nanmax(values)), 1)})",
        (float(place), high),
        xytext=(4, -1),
        textcoords="offset points",
        va="top",
        fontsize=style.SMALL,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        zorder=5,
    )


def _label(axes: Axes, labels: Sequence[tuple[float, str, str]], right: float) -> None:
    """Write names at the ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    step = _LINE * (high - low) * 1.25
    place = low
    heights: list[float] = []
    for value, *_ in sorted(labels):
        place = max(value, place + step if heights else value)
        heights.append(place)
    # What was pushed beyond the top comes down again, and pushes those below it.
    top = high - 0.4 * step
    for position in reversed(range(len(heights))):
        heights[position] = min(heights[position], top)
        top = heights[position] - step
    reach = axes.get_xlim()[1] - right
    for (value, name, colour), height in zip(sorted(labels), heights, strict=True):
        axes.annotate(
            name,
            (right, value),
            xytext=(right + 0.09 * reach, height),
            textcoords="data",
            va="center",
            fontsize=style.SMALL,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 0, "shrinkB": 2},
        )


def _tell(
    axes: Axes, entries: str, beyond: Sequence[tuple[float, float, str]], *, wide: bool
) -> None:
    told = [
        f"{name} {decimal(low, 1)}" + ("" if high - low < 0.1 else f"–{decimal(high, 1)}")
        for low, high, name in sorted(beyond)
    ]
    lines = [f"{entries}.", *(["methods beyond the axis:"] if beyond else [])]
    for text in told:
        if len(lines[-1]) + len(text) > (150 if wide else 72):
            lines.append("")
        lines[-1] = f"{lines[-1]} {text};".strip()
    axes.text(
        0,
        -0.13,
        "\n".join(lines).rstrip(";"),
        transform=axes.transAxes,
        va="top",
        fontsize=style.SMALL - 2,
        color=style.GREY,
    )


def _entries(rows: pd.DataFrame) -> str:
    methods = rows[rows["kind"] == "method"]
    sizes = methods.groupby("hidden_fraction")["n"].mean()
    told = f"{rows['split'].iloc[0]} slides, {rows['assay'].nunique()} assays"
    if sizes.empty:
        return told
    counts = f"{whole(float(sizes.iloc[0]))} to {whole(float(sizes.iloc[-1]))}"
    return f"{told}, n = {counts} entries"
