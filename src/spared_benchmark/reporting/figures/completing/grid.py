"""All ways of hiding at a glance: the share of reducible error that each completer removes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.completing import ranks
from spared_benchmark.reporting.numbers import MINUS
from spared_benchmark.reporting.regimes import sorted_drawings

_LOW, _HIGH = -0.5, 1.0  # colours are clipped there; numbers are not
_WORST = -9.99  # below which a number is no longer written out
_ROW, _GAP = 0.215, 0.5
_DARK = 0.5  # luminance below which text is white


def regime_heatmap(
    scores: pd.DataFrame, cohort: str | None = None, space: str = ranks.SPACE
) -> Figure | None:
    """Draw methods against regimes; a cell holds the share of reducible error removed, in %.

    0 is the slide's gene mean, 100 the Poisson floor. The mean over cohorts is drawn, an asterisk
    where not all of them have the cell; hatched where none has it.

    Args:
        scores: Tidy completion scores of any number of cohorts.
        cohort: Draw this one alone.
        space: ``log_tpm`` or ``combat``.

    Returns:
        None when fewer than two regimes or shares were scored.
    """
    rows = ranks.scored(scores, space)
    rows = rows if cohort is None else rows[rows["cohort"] == cohort]
    summary = tables.completion_summary(rows)
    summary = summary[summary["kind"] != "ceiling"]
    drawings = sorted_drawings(summary)
    if len(drawings) < 2 or summary["share"].isna().all():
        return None
    methods, others = ranks.ranked(rows)
    names = [name for name in (*methods, *others) if name in set(summary["completer"])]
    controls = [name for name in names if name in others]
    keys = ["completer", "regime", "hidden_fraction"]
    grouped = summary.groupby(keys)["share"]
    means, counts = grouped.mean().to_dict(), grouped.count().to_dict()
    cohorts = tables.in_order(summary["cohort"])
    figure = style.new_figure(_ROW * len(names) + _GAP * bool(controls) * _ROW + 1.55)
    axes = figure.subplots()
    norm, palette = TwoSlopeNorm(0.0, _LOW, _HIGH), colormaps["PuOr"]
    for row, name in enumerate(names):
        height = row + (_GAP if name in controls else 0.0)
        for column, drawing in enumerate(drawings):
            key = (name, *drawing)
            value = float(means.get(key, np.nan))
            colour = palette(norm(min(max(value, _LOW), _HIGH)))
            whole = counts.get(key, 0) == len(cohorts)
            _cell(axes, (column, height), value, colour, whole=whole)
    _frame(axes, names, controls, drawings)
    _words(figure, rows, cohorts)
    bar = figure.colorbar(
        ScalarMappable(norm, palette), ax=axes, aspect=30, pad=0.015, shrink=0.7, extend="min"
    )
    bar.outline.set_visible(False)
    bar.set_ticks([-0.5, 0, 0.5, 1])
    bar.set_ticklabels([f"{MINUS}50", "0", "50", "100"])
    bar.ax.tick_params(labelsize=style.SMALL, length=3)
    bar.set_label("reducible error removed, %", fontsize=style.SMALL)
    return figure


def _cell(
    axes: Axes,
    place: tuple[float, float],
    value: float,
    colour: tuple[float, float, float, float],
    *,
    whole: bool,
) -> None:
    column, height = place
    corner = (column - 0.48, height - 0.46)
    if not np.isfinite(value):
        axes.add_patch(
            Rectangle(
                corner, 0.96, 0.92, facecolor="white", edgecolor="#9ca3af", hatch="////", lw=0
            )
        )
        return
    axes.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=colour, lw=0))
    number = round(100 * value)
    text = f"{number}".replace("-", MINUS) if value >= _WORST else f"<{MINUS}999"
    luminance = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    axes.text(
        column,
        height,
        text if whole else f"{text}*",
        ha="center",
        va="center",
        fontsize=style.SMALL - 0.5,
        color="white" if luminance < _DARK else style.INK,
    )


def _frame(
    axes: Axes, names: list[str], controls: list[str], drawings: list[tuple[str, float]]
) -> None:
    heights = [row + (_GAP if name in controls else 0.0) for row, name in enumerate(names)]
    axes.set_yticks(heights, names)
    axes.set_ylim(heights[-1] + 0.55, -0.55)
    axes.set_xlim(-0.55, len(drawings) - 0.45)
    labels = [f"{regime.replace('_', chr(10))}\n{100 * share:g} %" for regime, share in drawings]
    axes.set_xticks(range(len(drawings)), labels)
    axes.xaxis.tick_top()
    axes.tick_params(labelsize=style.SMALL, length=0, labelcolor=style.INK)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        if name in controls:
            label.set(style="italic", color=style.GREY)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _words(figure: Figure, rows: pd.DataFrame, cohorts: list[str]) -> None:
    told = [ranks.heading(code, rows[rows["cohort"] == code]) for code in cohorts]
    many = f"mean of {len(cohorts)} cohorts: " if len(cohorts) > 1 else ""
    splits = "test slides" if "test" in set(rows["split"]) else "val slides"
    assays = rows.loc[rows["assay"] >= 0, "assay"].nunique()
    figure.suptitle(
        f"{many}{', '.join(told)}\n{splits}, {assays} assays",
        x=0.01,
        ha="left",
        fontsize=style.TEXT,
        color=style.INK,
    )
