"""How well hidden entries are recovered: one panel per cohort, one row per completer."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures import dots, style

_ROOM, _BEST = 16, 8  # rows; methods that are drawn where there are more
_ALWAYS = ("spackle", "median", "gene_mean", tables.BASELINE, tables.FLOOR)


def completion_dots(
    scores: pd.DataFrame,
    space: str = "log_tpm",
    regime: str | None = None,
    hidden_fraction: float | None = None,
) -> Figure:
    """Draw the error of every completer: small dots are assays, large dots their mean.

    Controls and the floor lie below, each with a vertical line, and are not ranked. Of more
    completers than names have room, the best methods, the paper's and the means to beat are drawn.

    Args:
        scores: Tidy completion scores.
        space: ``log_tpm`` or ``combat``.
        regime: How the entries were hidden; the one to read first when not given.
        hidden_fraction: Share of measured entries hidden; the one to read first when not given.
    """
    chosen = scores[scores["space"] == space]
    for column, wanted in (("regime", regime), ("hidden_fraction", hidden_fraction)):
        chosen = chosen if wanted is None else chosen[chosen[column] == wanted]
    chosen = tables.headline(chosen)
    summary = tables.completion_summary(chosen)
    shown = summary[summary["mse"].notna()] if len(summary) else summary
    cohorts = tables.in_order(shown["cohort"]) if len(shown) else []
    panels = [_fewer(shown[shown["cohort"] == cohort]) for cohort in cohorts]
    most = max((len(rows) for rows in panels), default=1)
    figure, grid = style.panels(len(cohorts), 0.6 + 0.245 * most)
    for axes, cohort, rows in zip(grid, cohorts, panels, strict=True):
        split = " (validation)" if bool(rows["validation"].any()) else ""
        style.dress(axes, f"{cohort}{split}")
        _panel(axes, rows, chosen[chosen["cohort"] == cohort])
    label = f"MSE of hidden entries, {style.UNITS.get(space, space)}"
    figure.supxlabel(label, fontsize=style.TEXT, color=style.INK)
    return figure


def _fewer(summary: pd.DataFrame) -> pd.DataFrame:
    if len(summary) <= _ROOM:
        return summary
    methods = summary[summary["kind"] == "method"]
    names = {*methods.sort_values("mse")["completer"].head(_BEST), *_ALWAYS}
    return summary[summary["completer"].isin(names)]


def _panel(axes: Axes, summary: pd.DataFrame, scores: pd.DataFrame) -> None:
    methods = summary[summary["kind"] == "method"].sort_values("mse")
    others = summary[summary["kind"] != "method"].sort_values("mse")
    ordered = pd.concat([methods, others])
    low = float(ordered["mse"].min())
    fitted = [*methods["mse"], *others.loc[others["mse"] <= dots.NEAR * low, "mse"]]
    limit = dots.error_axis(axes, fitted or list(others["mse"]))
    single = scores[(scores["metric"] == "mse") & (scores["slide"] == "")]
    for row, (_, line) in enumerate(ordered.iterrows()):
        ranked, ceiling = line["kind"] == "method", line["kind"] == "ceiling"
        assays = single[
            (single["completer"] == line["completer"])
            & (single["split"] == line["split"])
            & (single["value"] <= limit)
        ]["value"]
        colour = style.BLUE if ranked else style.GREEN if ceiling else style.GREY
        axes.plot(assays, [row] * len(assays), "o", ms=3, color=colour, mew=0, alpha=0.35, zorder=2)
        dots.dot(axes, float(line["mse"]), row, colour, hollow=not ranked)
        if not ranked:
            dots.reference_line(axes, float(line["mse"]), ceiling=ceiling)
    dots.name_rows(axes, list(ordered["completer"]), len(others))
