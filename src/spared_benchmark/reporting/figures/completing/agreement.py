"""Completed against true values of hidden entries, method by method."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.completing.examples import Examples, chosen, score
from spared_benchmark.reporting.numbers import decimal, whole

_ALWAYS = ("spackle", "median", tables.BASELINE)  # the paper's two, and the mean to beat
_METHODS = 6
_GRID = 60  # hexagons across
_UNIT = "log$_2$(TPM+1)"


def hidden_scatter(examples: Examples, scores: pd.DataFrame) -> Figure | None:
    """Draw completed against true values of all hidden entries of the reported split.

    Dashed: the identity. Both axes span the true values; completed values beyond them are drawn
    at the border, and their share is told.

    Args:
        examples: Of the first assay of the headline.
        scores: Tidy completion scores of the cohort; tell which completers to show, and their
            errors in this assay.

    Returns:
        None when there is no completer or nothing was hidden.
    """
    methods = chosen(scores, list(examples.completed), _ALWAYS, _METHODS)
    entries = examples.hidden & examples.of_split[:, None]
    if not methods or not entries.any():
        return None
    truth = examples.truth[entries]
    low, high = float(truth.min()), float(truth.max())
    margin = 0.03 * (high - low) or 0.1
    figure, panels = style.panels(len(methods), 2.9, 0.7)
    drawn = []
    for axes, name in zip(panels, methods, strict=True):
        completed = examples.values(name)[entries]
        drawn.append(_panel(axes, truth, completed, (low - margin, high + margin)))
        style.dress(axes)
        title = _title(scores, name, examples.split, completed - truth)
        axes.set_title(title, loc="left", fontsize=style.SMALL, color=style.INK)
    most = max(float(np.max(np.asarray(one.get_array()), initial=1.0)) for one in drawn)
    norm = LogNorm(1, max(most, 2.0))
    for one in drawn:
        one.set_norm(norm)
    bar = figure.colorbar(drawn[0], ax=panels, aspect=40, pad=0.01, shrink=0.7)
    bar.set_label("hidden entries", fontsize=style.SMALL)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=style.SMALL)
    bar.outline.set_visible(False)
    figure.supxlabel(f"true value, {_UNIT}", fontsize=style.TEXT, color=style.INK)
    figure.supylabel(f"completed value, {_UNIT}", fontsize=style.TEXT, color=style.INK)
    _words(figure, examples, scores, int(entries.sum()))
    return figure


def _panel(
    axes: Axes,
    truth: NDArray[np.float32],
    completed: NDArray[np.float32],
    limits: tuple[float, float],
) -> PolyCollection:
    """Draw one completer's entries and return the hexagons."""
    low, high = limits
    drawn: PolyCollection = axes.hexbin(
        truth,
        np.clip(completed, low, high),
        gridsize=_GRID,
        extent=(low, high, low, high),
        mincnt=1,
        cmap="viridis",
        linewidths=0,
    )
    axes.plot(limits, limits, color=style.VERMILLION, lw=1.1, ls=(0, (4, 2)), zorder=3)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    outside = float(((completed < low) | (completed > high)).mean())
    if outside > 0.001:
        axes.text(
            0.02,
            0.98,
            f"{100 * outside:.1f} % beyond",
            transform=axes.transAxes,
            va="top",
            fontsize=style.SMALL - 1,
            color=style.GREY,
        )
    return drawn


def _title(scores: pd.DataFrame, name: str, split: str, error: NDArray[np.float32]) -> str:
    correlation = score(scores, name, "pcc_gene", split)
    squared = float((error.astype(np.float64) ** 2).mean())
    told = f"MSE {decimal(squared)}, PCC by gene {decimal(correlation, 2)}"
    return f"$\\bf{{{name.replace('_', chr(92) + '_')}}}$\n{told}"


def _words(figure: Figure, examples: Examples, scores: pd.DataFrame, entries: int) -> None:
    floor = score(scores, tables.FLOOR, "mse", examples.split)
    slides = examples.expression.obs.loc[examples.of_split, "slide"].nunique()
    val = " (validation score)" if examples.split == "val" else ""
    told = f"{slides} {examples.split} slide{'' if slides == 1 else 's'}{val}, "
    told += f"n = {whole(entries)} hidden entries of one assay"
    if floor is not None:
        told += f"; Poisson floor: MSE {decimal(floor, 3)}"
    figure.suptitle(told, x=0.01, ha="left", fontsize=style.TEXT, color=style.INK)
