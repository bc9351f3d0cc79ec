"""The cohorts at a glance: spots per split, and entries missing before and after the filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.numbers import whole
from spared_benchmark.reporting.tables import cohort_statistics


def cohort_overview(cohorts: pd.DataFrame) -> Figure:
    """Draw spots per split and the missing share of entries, one row per cohort.

    Args:
        cohorts: Tidy statistics (cohort, statistic, value).
    """
    wide = cohort_statistics(cohorts)
    names = [str(name) for name in wide.index]
    figure = style.new_figure(1.35 + 0.38 * max(len(names), 1))
    left, right = figure.subplots(1, 2, sharey=True)
    _spots(left, wide, names)
    _missing(right, wide)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(max(len(names), 1) - 0.45, -0.55)
    return figure


def _spots(axes: Axes, wide: pd.DataFrame, names: Sequence[str]) -> None:
    style.dress(axes, "Spots per split", "spots")
    rows = np.arange(len(names))
    start = np.zeros(len(names))
    for split, colour in style.SPLIT_COLOURS.items():
        spots = _column(wide, f"{split}_spots")
        axes.barh(rows, spots, left=start, height=0.56, color=colour, label=split)
        start += spots
    for row, total in zip(rows, start, strict=True):
        axes.annotate(
            whole(total),
            (total, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL,
            color=style.GREY,
        )
    axes.set_xlim(0, max(start.max(initial=0.0), 1.0) * 1.16)
    _legend(axes)


def _missing(axes: Axes, wide: pd.DataFrame) -> None:
    style.dress(axes, "Missing entries", "missing entries (% of spots × genes)")
    rows = np.arange(len(wide))
    before = 100 * _column(wide, "missing_before", absent=np.nan)
    after = 100 * _column(wide, "missing_after", absent=np.nan)
    axes.hlines(rows, after, before, color=style.LIGHT, linewidth=3, zorder=1)
    axes.scatter(
        before, rows, s=46, facecolor="white", edgecolor=style.GREY, label="all genes measured"
    )
    axes.scatter(after, rows, s=46, color=style.BLUE, label="chosen genes")
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0)
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=3,
        frameon=False,
        fontsize=style.SMALL,
        handlelength=1.0,
        columnspacing=1.0,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def _column(wide: pd.DataFrame, name: str, absent: float = 0.0) -> np.ndarray:
    if name not in wide.columns:
        return np.full(len(wide), absent)
    return pd.to_numeric(wide[name]).fillna(absent).to_numpy(dtype=float)
