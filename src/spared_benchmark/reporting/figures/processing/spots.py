"""Which spots are kept: on the tissue, and by their total counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from spared_benchmark.reporting.figures import dots, style
from spared_benchmark.reporting.figures.processing import tissue
from spared_benchmark.reporting.numbers import whole

FATES = {"kept": style.SKY, "low": style.VERMILLION, "high": style.PURPLE, "empty": style.INK}
_BINS = 40
_TALLEST = 3.2  # inches of a slide
_COUNTS = "total counts of a spot (log scale)"
_FAR = 4.0  # times: a limit this far from every spot would squeeze the axis


def spots_kept(expression: AnnData, spots: pd.DataFrame) -> Figure:
    """Draw every spot in tissue by its fate, and the total counts that decided it.

    Args:
        expression: Its ``uns["filter"]`` tells the limits, when it is there.
        spots: One row per spot: slide, split, x, y (pixels), total_counts, fate.
    """
    if spots.empty:
        return tissue.only_words("No spot is known")
    by_slide = {str(slide): one for slide, one in spots.groupby("slide", sort=False, observed=True)}
    columns = tissue.columns_for(len(by_slide))
    rows = -(-len(by_slide) // columns)
    width = (style.WIDTH_IN - 0.2) / columns
    centres = [_xy(one) for one in by_slide.values()]
    steepest, closed = max(map(tissue.steepness, centres)), tissue.too_fine(centres, width)
    heights = [
        rows * (min((width - 0.15) * steepest, _TALLEST) + 0.48),
        max(2.4, 0.75 + 0.21 * len(by_slide)),
    ]
    figure = style.new_figure(sum(heights) + 0.35)
    halves = figure.add_gridspec(2, 1, height_ratios=heights)
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    grid = list(top.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(by_slide) :]:
        axes.set_visible(False)
    for axes, (slide, one) in zip(grid, by_slide.items(), strict=False):
        _slide(axes, slide, one, width, closed=closed)
    left, right = bottom.subplots(1, 2, sharex=True)
    limits = _limits(expression)
    _histogram(left, spots)
    _depths(right, by_slide)
    _count_axis(right, _totals(spots), limits)
    _far_limits(left, *_count_axis(left, _totals(spots), limits))
    figure.legend(
        handles=_handles(spots, limits),
        loc="outside upper left",
        ncols=4,
        frameon=False,
        fontsize=style.SMALL,
        handletextpad=0.3,
        columnspacing=1.4,
    )
    return figure


def _slide(axes: Axes, slide: str, spots: pd.DataFrame, width: float, *, closed: bool) -> None:
    # Spots that were dropped are few and lie on top.
    ordered = spots.iloc[np.argsort((spots["fate"] != "kept").to_numpy(), kind="stable")]
    colours = np.array([to_rgba(colour) for colour in FATES.values()])
    place = pd.Categorical(ordered["fate"], categories=list(FATES)).codes
    tissue.discs(axes, _xy(ordered), colours[place], closed=closed)
    kept = int((spots["fate"] == "kept").sum())
    split, name = spots["split"].iloc[0], tissue.short(slide, int(width / 0.085))
    axes.set_title(
        f"{name}\n{split}: {whole(kept)} of {whole(len(spots))}",
        fontsize=style.SMALL,
        color=style.INK,
    )


def _histogram(axes: Axes, spots: pd.DataFrame) -> None:
    style.dress(axes, "Spots by total counts", _COUNTS, "spots")
    totals = _totals(spots)
    edges = np.geomspace(totals.min() / 1.05, totals.max() * 1.05, _BINS + 1)
    fates = [fate for fate in FATES if (spots["fate"] == fate).any()]
    axes.hist(
        [totals[(spots["fate"] == fate).to_numpy()] for fate in fates],
        bins=list(edges),
        stacked=True,
        color=[FATES[fate] for fate in fates],
    )


def _depths(axes: Axes, by_slide: Mapping[str, pd.DataFrame]) -> None:
    style.dress(axes, "Slides: 5, 25, 50, 75 and 95 % of spots", _COUNTS)
    rows = np.arange(len(by_slide))
    low, lower, middle, upper, high = np.transpose(
        [np.percentile(_totals(one), [5, 25, 50, 75, 95]) for one in by_slide.values()]
    )
    axes.hlines(rows, low, high, color=style.GREY, linewidth=1)
    axes.hlines(rows, lower, upper, color=style.BLUE, linewidth=4)
    axes.plot(middle, rows, "o", markersize=4, color="white", markeredgecolor=style.INK)
    axes.set_yticks(rows, [tissue.short(slide) for slide in by_slide])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _count_axis(
    axes: Axes, totals: NDArray[np.float64], limits: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Fit the axis to the counts and return the limits that lie far below and far above them."""
    low, high = float(totals.min()) / 1.2, float(totals.max()) * 1.2
    near = [limit for limit in limits if low / _FAR <= limit <= high * _FAR]
    low, high = min([low, *(limit / 1.2 for limit in near)]), max([high, *(1.2 * x for x in near)])
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 60 * low else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    if high < 2e5:
        axes.xaxis.set_major_formatter(lambda value, _: whole(value))
    for limit in near:
        axes.axvline(limit, color=style.INK, linewidth=1, linestyle=dots.DASHED)
    return [x for x in limits if 0 < x < low], [x for x in limits if x > high]


def _far_limits(axes: Axes, below: Sequence[float], above: Sequence[float]) -> None:
    """Name limits that would squeeze the axis, with arrows at its borders, above the bars."""
    if below or above:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.16)
    for words, place, side in (
        *((f"\N{LEFTWARDS ARROW} limit {whole(limit)}", 0.01, "left") for limit in below),
        *((f"limit {whole(limit)} \N{RIGHTWARDS ARROW}", 0.99, "right") for limit in above),
    ):
        axes.annotate(
            words,
            (place, 0.98),
            xycoords="axes fraction",
            ha=side,
            va="top",
            fontsize=style.SMALL,
            color=style.GREY,
        )


def _handles(spots: pd.DataFrame, limits: Sequence[float]) -> list[Line2D]:
    bounds = [f" ({sign} {whole(limit)})" for sign, limit in zip("≤≥", limits, strict=False)]
    low, high = bounds if len(bounds) == 2 else ("", "")
    words = {
        "kept": "kept",
        "low": f"too few counts{low}",
        "high": f"too many{high}",
        "empty": "no count of a filtered gene",
    }
    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=6,
            color=colour,
            label=f"{words[fate]}: {whole((spots['fate'] == fate).sum())}",
        )
        for fate, colour in FATES.items()
    ]


def _limits(expression: AnnData) -> list[float]:
    return [float(limit) for limit in expression.uns.get("filter", {}).get("spot_counts", ())]


def _totals(spots: pd.DataFrame) -> NDArray[np.float64]:
    totals = spots["total_counts"].to_numpy(dtype=np.float64)
    return np.asarray(np.maximum(totals, 1.0))  # 0 has no logarithm


def _xy(spots: pd.DataFrame) -> NDArray[np.float64]:
    return spots[["x", "y"]].to_numpy(dtype=np.float64)
