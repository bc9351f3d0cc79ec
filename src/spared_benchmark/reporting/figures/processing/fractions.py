"""How widely each gene is expressed, and where the filter cuts."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spared_benchmark.reporting.figures import dots, style
from spared_benchmark.reporting.figures.processing import tissue
from spared_benchmark.reporting.numbers import decimal, whole

# Drawn in this order, so that the chosen lie on top; each with its colour, marker, size and words.
FATES = {
    "limits": ("#c3c8d0", ".", 2.5, "total outside the limits"),
    "narrow": ("#8b93a0", ".", 3.0, "not widely enough expressed"),
    "passed": (style.SKY, "o", 3.0, "ranked, not used"),
    "context": (style.BLUE, "o", 3.0, "context"),
    "chosen": (style.VERMILLION, "o", 3.4, "chosen"),
    "no_length": (style.INK, "x", 4.0, "no length"),
    "ambiguous": (style.INK, "+", 5.0, "ambiguous symbol"),
}
_WIDE = ("chosen", "context", "passed", "no_length", "ambiguous")
_LEAST = "slide with the least"
Corner = Literal["lower left", "lower right"]
_FROM_FILE = "Genes were named by a file: no cut"
_UNKNOWN = "The rule of the filter is not known"
_CUT: dict[str, Any] = {
    "color": style.INK,
    "linewidth": 0.9,
    "linestyle": dots.DASHED,
    "zorder": 1,
}


def expression_fractions(expression: AnnData, genes: pd.DataFrame) -> Figure:
    """Draw every gene by the share of spots that express it, and the filter's cut.

    No cut is drawn where genes were named by a file, or the rule is not known.

    Args:
        expression: Its ``uns["filter"]`` tells the rule, when it is there.
        genes: One row per gene: gene, fraction_min (the least share on any slide), fraction, fate.
    """
    known = genes[genes["fraction_min"].notna() & genes["fraction"].notna()]
    tried = known[known["fate"] != "limits"]
    if tried.empty:
        return tissue.only_words("The expressed fractions of the genes are not known")
    figure = style.new_figure(4.1)
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    _scatter(left, known)
    settings = dict(expression.uns.get("filter", {}))
    by_name = bool(settings.get("by_name", False))
    if not by_name and settings.get("rule") == "thresholds":
        limits = float(settings["slide_fraction"]), float(settings["overall_fraction"])
        _thresholds(left, right, tried, limits)
    else:
        wanted = float("nan") if by_name else float(settings.get("mean_fraction", "nan"))
        _running_mean(left, right, tried, wanted, _FROM_FILE if by_name else _UNKNOWN)
    return figure


def _scatter(axes: Axes, genes: pd.DataFrame) -> None:
    title = "Genes by the share of spots that express them"
    style.dress(axes, title, f"% of spots, {_LEAST}", "% of spots, slides that choose genes")
    for fate, (colour, marker, size, words) in FATES.items():
        rows = genes[genes["fate"] == fate]
        if len(rows):
            axes.plot(
                100 * rows["fraction_min"],
                100 * rows["fraction"],
                marker,
                markersize=size,
                markeredgewidth=0.9 if marker in "x+" else 0,
                color=colour,
                label=f"{words}: {whole(len(rows))}",
            )
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    # No point lies below the diagonal: the mean over slides is never below the least of them.
    _legend(axes, "lower right", markerscale=1.8, reverse=True)


def _running_mean(
    left: Axes, right: Axes, genes: pd.DataFrame, wanted: float, otherwise: str
) -> None:
    ordered = genes.sort_values(["fraction_min", "gene"], ascending=[False, True])
    least, fraction = (ordered[name].to_numpy(float) for name in ("fraction_min", "fraction"))
    place = np.arange(1, len(ordered) + 1)
    running = np.cumsum(fraction) / place
    kept = int(ordered["fate"].isin(_WIDE).sum())
    known = bool(np.isfinite(wanted) and kept)
    below = "never" if kept == len(ordered) else f"after {whole(kept)} genes"
    title = f"Running mean below {decimal(100 * wanted, 0)} %: {below}" if known else otherwise
    style.dress(right, title, "genes, the most widely expressed first", "% of spots")
    right.plot(place, 100 * least, color=style.GREY, linewidth=1.4, label=_LEAST)
    right.plot(
        place,
        100 * running,
        color=style.BLUE,
        linewidth=2,
        label="mean over the genes so far",
    )
    right.set_xscale("log")
    right.set_ylim(0, 102)
    if known:
        left.axvline(100 * least[kept - 1], **_CUT)
        right.axvline(kept, **_CUT)
        right.axhline(100 * wanted, **_CUT)
        right.plot(kept, 100 * running[kept - 1], "o", color=style.BLUE, markersize=6)
    _legend(right, "lower left")


def _thresholds(left: Axes, right: Axes, genes: pd.DataFrame, limits: tuple[float, float]) -> None:
    title = f"Both limits leave {whole(genes['fate'].isin(_WIDE).sum())} genes"
    style.dress(right, title, "limit, % of spots", "genes at or above the limit")
    left_over = np.arange(len(genes), 0, -1)
    kinds = (("fraction_min", _LEAST, style.GREY), ("fraction", "slides that choose", style.BLUE))
    for (name, label, colour), limit in zip(kinds, limits, strict=True):
        right.plot(100 * np.sort(genes[name]), left_over, color=colour, linewidth=2, label=label)
        right.axvline(100 * limit, **{**_CUT, "color": colour})
    right.set_yscale("log")
    right.set_xlim(-2, 102)
    left.axvline(100 * limits[0], **_CUT)
    left.axhline(100 * limits[1], **_CUT)
    _legend(right, "lower left")


def _legend(axes: Axes, place: Corner, *, markerscale: float = 1.0, reverse: bool = False) -> None:
    axes.legend(
        loc=place,
        facecolor="white",
        edgecolor="none",
        framealpha=0.85,
        fontsize=style.SMALL,
        labelspacing=0.25,
        handletextpad=0.4,
        borderaxespad=0.2,
        markerscale=markerscale,
        reverse=reverse,
    )
