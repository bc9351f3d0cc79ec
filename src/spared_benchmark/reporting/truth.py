"""Completion against the true expression, which simulated slides alone have."""

from __future__ import annotations

import pandas as pd

from spared_benchmark.reporting.grid import CONSTANT, Cell, Column, Grid, grouped
from spared_benchmark.reporting.numbers import defined, spread
from spared_benchmark.reporting.schemas import KINDS
from spared_benchmark.reporting.tables import COMPLETION_GROUP, headline, in_order, reported

MEASURED = "measured"
NOTE = (
    "Simulated slides have a true expression, before any counting. Completers learn what an entry "
    "holds when it was counted, which lies above the truth where a gene is rare: the error of "
    "entries never measured contains that offset, the correlation does not. The row “measured” is "
    "the hidden values themselves with their counting noise, which a completer can undercut."
)
# Whether more is better.
_COLUMNS = {
    "true_mse": (Column("MSE, hidden", "Of hidden entries, against their true values"), False),
    "true_mse_missing": (
        Column("MSE, never measured", "Of entries without a count, against their true values"),
        False,
    ),
    "true_pcc_gene": (
        Column("PCC by gene", "Per gene within slide, over all entries that were not visible"),
        True,
    ),
}


def truth_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarise scores against the true expression: one row per cohort and completer.

    Pooled scores of the test slides (val where a cohort has none) under the way of hiding to read
    first, averaged over assays.

    Args:
        scores: Tidy completion scores of any number of cohorts.

    Returns:
        Columns: those of the group, ``split``, ``validation``, ``completer``, ``kind``, and each
        metric with its standard deviation over assays (``_sd``) and whether it is the best of the
        methods (``_best``). Methods first, each by error; no rows where no truth is known.
    """
    rows = headline(reported(scores[scores["metric"].isin(_COLUMNS)]))
    if rows.empty:
        return pd.DataFrame()
    keys = [*COMPLETION_GROUP, "split", "completer", "kind"]
    values = rows.groupby([*keys, "metric"], sort=False)["value"]
    mean, deviation = (found.unstack("metric") for found in (values.mean(), values.std()))
    summary = mean.join(deviation.add_suffix("_sd")).reset_index()
    summary["validation"] = summary["split"] == "val"
    methods = summary[summary["kind"] == "method"].groupby("cohort")
    for metric, (_, largest) in _COLUMNS.items():
        best = methods[metric].max() if largest else methods[metric].min()
        leads = summary[metric] == summary["cohort"].map(best)
        summary[f"{metric}_best"] = leads & (summary["kind"] == "method")
    order = summary["cohort"].map(in_order(rows["cohort"]).index)
    ranked = summary.assign(order=order, rank=summary["kind"].map(KINDS.index))
    ranked = ranked.sort_values(["order", "rank", "true_mse"])
    return ranked.drop(columns=["order", "rank"]).reset_index(drop=True)


def truth_grid(summary: pd.DataFrame, caption: str) -> Grid:
    """Return one cohort's completers against the true expression."""

    def cells(row: pd.Series) -> tuple[Cell, ...]:
        name = str(row["completer"])
        return Cell(name, name), *(_cell(row, metric) for metric in _COLUMNS)

    columns = (Column("Completer", numeric=False), *(column for column, _ in _COLUMNS.values()))
    return Grid(caption, columns, grouped(summary, cells))


def _cell(row: pd.Series, metric: str) -> Cell:
    value = row[metric]
    if not defined(value):
        why = "Hidden entries alone are known" if row["completer"] == MEASURED else CONSTANT
        return Cell(spread(value, None), "", why)
    return Cell(spread(value, row[f"{metric}_sd"]), float(value), best=bool(row[f"{metric}_best"]))
