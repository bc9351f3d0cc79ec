"""How well images predict expression: one panel per cohort, predictors by target."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures import dots, style


def prediction_dots(scores: pd.DataFrame, space: str) -> Figure:
    """Draw the error of every predictor, a colour and a marker for each target.

    Controls lie below with hollow markers, the best of them with a vertical line, and below them
    what is made from true values: grey where it is a control, green with its line where it is a
    ceiling. Neither is ranked.

    Args:
        scores: Tidy prediction scores.
        space: ``combat`` or ``log_tpm``.
    """
    summary = tables.prediction_summary(scores[scores["space"] == space])
    shown = summary[summary["mse"].notna()] if len(summary) else summary
    cohorts = tables.in_order(shown["cohort"]) if len(shown) else []
    targets = _targets(shown) if len(shown) else []
    panels = [shown[shown["cohort"] == cohort] for cohort in cohorts]
    most = max((rows["predictor"].nunique() for rows in panels), default=1)
    figure, grid = style.panels(len(cohorts), 0.6 + (0.15 + 0.1 * len(targets)) * most, 0.75)
    for axes, cohort, rows in zip(grid, cohorts, panels, strict=True):
        split = " (validation)" if bool(rows["validation"].any()) else ""
        style.dress(axes, f"{cohort}{split}")
        _panel(axes, rows, targets)
    label = f"MSE of measured entries, {style.UNITS.get(space, space)}"
    figure.supxlabel(label, fontsize=style.TEXT, color=style.INK)
    _legend(figure, targets, ceilings=any(shown["kind"] == "ceiling") if len(shown) else False)
    return figure


def _targets(summary: pd.DataFrame) -> list[str]:
    names = [name for name in tables.in_order(summary["target"]) if name != tables.TRUTH]
    return sorted(names, key=lambda name: ({"raw": 0, "measured": 1}.get(name, 2), name))


def _panel(axes: Axes, summary: pd.DataFrame, targets: list[str]) -> None:
    from_truth = (summary["target"] == tables.TRUTH) | (summary["kind"] == "ceiling")
    trained, made = summary[~from_truth], summary[from_truth]
    ranked = trained["kind"] == "method"
    names = [_by_error(part) for part in (trained[ranked], trained[~ranked], made)]
    rows = [*names[0], *names[1], *names[2]]
    _fit_axis(axes, [float(value) for value in trained["mse"]], [float(v) for v in made["mse"]])
    step = 0.72 / max(len(targets), 1)
    for _, line in trained.iterrows():
        place = targets.index(str(line["target"]))
        row = rows.index(str(line["predictor"])) + (place - (len(targets) - 1) / 2) * step
        colour, marker = style.PALETTE[place % 7], style.MARKERS[place % 7]
        value, deviation = float(line["mse"]), float(line["mse_sd"])
        if value + deviation <= axes.get_xlim()[1]:  # never so when the deviation is NaN
            axes.plot([value - deviation, value + deviation], [row, row], color=colour, lw=1)
        dots.dot(axes, value, row, colour, marker, 5.5, hollow=line["kind"] != "method")
    for _, line in made.iterrows():
        ceiling = line["kind"] == "ceiling"
        row, value = rows.index(str(line["predictor"])), float(line["mse"])
        dots.dot(axes, value, row, style.GREEN if ceiling else style.GREY, size=5.5, hollow=True)
        if ceiling:
            dots.reference_line(axes, value, ceiling=True)
    control = tables.best_of(tables.rivals(summary), ("control",))
    if control is not None:
        dots.reference_line(axes, float(control["mse"]), ceiling=False)
    dots.name_rows(axes, rows, len(names[1]) + len(names[2]))


def _fit_axis(axes: Axes, trained: list[float], made: list[float]) -> None:
    """Fit the axis to what was trained, and let it begin at the lowest ceiling."""
    dots.error_axis(axes, trained or made)
    left, right = axes.get_xlim()
    lowest = min(made, default=left)
    if trained and lowest <= left:
        margin = 0.15 * lowest if axes.get_xscale() == "log" else 0.03 * (right - lowest)
        axes.set_xlim(lowest - margin, right)


def _by_error(rows: pd.DataFrame) -> list[str]:
    return [str(name) for name in rows.groupby("predictor")["mse"].min().sort_values().index]


def _legend(figure: Figure, targets: list[str], *, ceilings: bool) -> None:
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=style.MARKERS[place % 7],
            color=style.PALETTE[place % 7],
            label=f"trained on {target}",
        )
        for place, target in enumerate(targets)
    ]
    line = Line2D([], [], color=style.GREY, linestyle=dots.DASHED, lw=0.9, label="best control")
    green = Line2D([], [], color=style.GREEN, lw=1.4, label="ceilings")
    lines = [line, green] if ceilings else [line]
    figure.legend(
        handles=[*handles, *lines],
        loc="outside upper left",
        ncols=min(len(targets) + len(lines), 6),
        frameon=False,
        fontsize=style.SMALL,
        handletextpad=0.4,
        columnspacing=1.4,
    )
