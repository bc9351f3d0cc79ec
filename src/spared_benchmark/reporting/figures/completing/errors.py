"""The spread of every completer's error over slides, assays and cohorts (the paper's Figure 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures import dots, style
from spared_benchmark.reporting.figures.completing import ranks
from spared_benchmark.reporting.numbers import decimal, whole

_LEAST = 6  # errors below which a density says nothing that the points do not
_NEAR = 1.6  # times the error of the slide's gene mean: what the right panel enlarges
_ROW = 0.235  # inches
_DOTS = 2.0


def error_violins(scores: pd.DataFrame, space: str = ranks.SPACE) -> Figure | None:
    """Draw the density of log10 MSE of each completer, the best at the top.

    Each point is the error on one slide in one assay where random entries were hidden at the
    share of the headline; a vertical stroke is the median. Left: everything. Right: the range
    around the best, enlarged.

    Args:
        scores: Tidy completion scores of any number of cohorts.
        space: ``log_tpm`` or ``combat``.

    Returns:
        None when no error of a slide is in the table.
    """
    rows = tables.headline(ranks.scored(scores, space))
    if rows.empty:
        return None
    errors = rows[(rows["metric"] == "mse") & (rows["slide"] != "") & (rows["value"] > 0)]
    methods, others = ranks.ranked(rows)
    names = [name for name in (*methods, *others) if name in set(errors["completer"])]
    references = len([name for name in names if name in others])
    if not names:
        return None
    figure = style.new_figure(_ROW * len(names) + 1.05)
    wide, near = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.25))
    cohorts = tables.in_order(errors["cohort"])
    by_name = {str(name): own for name, own in errors.groupby("completer", sort=False)}
    kinds = ranks.kinds_of(errors)
    for axes, limits in ((wide, _range(errors)), (near, _near(errors))):
        style.dress(axes)
        axes.set_xlim(*limits)
        if len(cohorts) == 1:  # floors of several cohorts differ: their row tells more
            _floor(axes, by_name.get(tables.FLOOR))
        for row, name in enumerate(names):
            _violin(axes, row, by_name[name], kinds[name], cohorts)
        dots.name_rows(axes, names, references)
        _ticks(axes)
    wide.set_title("all", loc="left", fontsize=style.TEXT, color=style.INK)
    near.set_title("around the best, enlarged", loc="left", fontsize=style.TEXT, color=style.INK)
    near.tick_params(labelleft=False)
    label = f"MSE of hidden entries by slide and assay, log scale, {style.UNITS.get(space, space)}"
    figure.supxlabel(label, fontsize=style.TEXT, color=style.INK)
    _legend(figure, rows, errors, cohorts)
    return figure


def _violin(axes: Axes, row: int, errors: pd.DataFrame, kind: str, cohorts: Sequence[str]) -> None:
    values = np.log10(errors["value"].to_numpy(dtype=np.float64))
    colour = {"method": style.BLUE, "ceiling": style.GREEN}.get(kind, style.GREY)
    if len(values) >= _LEAST and float(np.ptp(values)) > 0:
        drawn = axes.violinplot(
            values, [row], orientation="horizontal", widths=0.86, showextrema=False
        )
        bodies: Any = drawn["bodies"]
        for body in bodies:
            body.set(facecolor=colour, edgecolor=colour, alpha=0.22, linewidth=0.6)
    for place, cohort in enumerate(cohorts):
        own = values[(errors["cohort"] == cohort).to_numpy()]
        shade = _shade(place, cohorts)
        # Points lie in the row by their own order, so that the same table gives the same picture.
        heights = row + 0.3 * (np.arange(len(own)) % 5 - 2) / 2
        axes.plot(own, heights, "o", ms=_DOTS, mew=0, alpha=0.55, color=shade or colour, zorder=3)
    middle = float(np.median(values))
    axes.plot([middle, middle], [row - 0.4, row + 0.4], color=style.INK, lw=1.3, zorder=4)
    low, high = axes.get_xlim()
    if not low <= middle <= high:
        beyond = middle > high
        axes.annotate(
            decimal(10**middle),
            (high if beyond else low, row),
            xytext=(-3 if beyond else 3, 0),
            textcoords="offset points",
            ha="right" if beyond else "left",
            va="center",
            fontsize=style.SMALL - 1.5,
            color=style.GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            zorder=5,
        )


def _shade(place: int, cohorts: Sequence[str]) -> str | None:
    """Return the colour of a cohort's points, None where one cohort needs none of its own."""
    return None if len(cohorts) < 2 else style.PALETTE[place % len(style.PALETTE)]


def _floor(axes: Axes, errors: pd.DataFrame | None) -> None:
    if errors is not None and len(errors):
        values = np.log10(errors["value"].to_numpy(dtype=np.float64))
        axes.axvspan(values.min(), values.max(), color=style.GREEN, alpha=0.13, lw=0, zorder=0)
        axes.axvline(float(np.median(values)), color=style.GREEN, lw=1.1, zorder=1)


def _range(errors: pd.DataFrame) -> tuple[float, float]:
    return _padded(np.log10(errors["value"].to_numpy(dtype=np.float64)))


def _near(errors: pd.DataFrame) -> tuple[float, float]:
    """Return the range from the lowest error to somewhat above the slide's gene mean."""
    reference = errors.loc[errors["completer"] == tables.BASELINE, "value"]
    if reference.empty:
        reference = errors.loc[errors["kind"] == "method"].groupby("completer")["value"].median()
        reference = reference.nsmallest(max(len(reference) // 2, 1))
    limit = _NEAR * float(reference.max()) if len(reference) else math.inf
    values = errors["value"].to_numpy(dtype=np.float64)
    near = values[values <= limit]
    return _padded(np.log10(near if near.size else values))


def _padded(values: NDArray[np.float64]) -> tuple[float, float]:
    margin = 0.04 * float(np.ptp(values)) or 0.05
    return float(values.min()) - margin, float(values.max()) + margin


def _ticks(axes: Axes) -> None:
    """Write MSE, not its logarithm, at round numbers."""
    low, high = axes.get_xlim()
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps: tuple[float, ...] = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    if high - low >= 1:
        steps = (1, 2, 5) if high - low < 2.5 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    shown = [tick for tick in ticks if low <= math.log10(tick) <= high]
    axes.set_xticks([math.log10(tick) for tick in shown], [f"{tick:g}" for tick in shown])


def _legend(
    figure: Figure, rows: pd.DataFrame, errors: pd.DataFrame, cohorts: Sequence[str]
) -> None:
    several = len(cohorts) > 1
    handles = [
        Line2D([], [], linestyle="", marker="o", ms=4, color=_shade(place, cohorts) or style.BLUE)
        for place in range(len(cohorts))
    ]
    sizes: Mapping[str, str] = {
        cohort: _size(errors[errors["cohort"] == cohort]) for cohort in cohorts
    }
    labels = [
        f"{ranks.heading(cohort, rows[rows['cohort'] == cohort])}: {sizes[cohort]}"
        for cohort in cohorts
    ]
    figure.legend(
        handles=handles,
        labels=labels,
        loc="outside upper left",
        ncols=2 if several else 1,
        frameon=False,
        fontsize=style.SMALL,
        handletextpad=0.3,
        columnspacing=1.6,
    )


def _size(errors: pd.DataFrame) -> str:
    slides, assays = errors["slide"].nunique(), errors["assay"].nunique()
    words = "test slide" if str(errors["split"].iloc[0]) == "test" else "slide"
    pooled = errors[errors["kind"] == "method"].groupby(["completer", "assay"])["n"].sum()
    entries = f", n = {whole(float(pooled.mean()))}" if len(pooled) else ""
    plural = "" if slides == 1 else "s"
    return f"{slides} {words}{plural} × {assays} assay{'' if assays == 1 else 's'}{entries}"
