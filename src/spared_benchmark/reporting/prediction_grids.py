"""Tables of predictors: all of them with their controls and ceilings, and the best by target."""

from __future__ import annotations

import pandas as pd

from spared_benchmark.reporting.differences import difference_cell, of_pair
from spared_benchmark.reporting.grid import (
    CONSTANT,
    CONTROLS,
    CORRELATION,
    ENTRIES,
    ERROR,
    GENES,
    Cell,
    Column,
    Grid,
    Group,
    metric_cells,
    number_cell,
    size_cells,
)
from spared_benchmark.reporting.numbers import DASH, MINUS, percent, spread
from spared_benchmark.reporting.tables import TRUTH

CONTAMINATED = "Pre-trained on public spatial transcriptomics, maybe on these slides: not ranked"
FROM_TRUTH = "Made from true values, once per cohort, not ranked"
_GROUPS = (("", False), (CONTAMINATED, True), (CONTROLS, True), (FROM_TRUTH, True))


def prediction_grid(summary: pd.DataFrame, comparisons: pd.DataFrame, caption: str) -> Grid:
    """Return one cohort's predictors by target; below them controls, then what reads the truth.

    Args:
        summary: `tables.prediction_summary` of one cohort and space.
        comparisons: Paired differences of the same.
        caption: Stands above the table.
    """
    columns = (
        Column("Predictor", numeric=False),
        Column("trained on", "The target", numeric=False),
        ERROR,
        Column(
            "minus best control",
            "Difference of the errors; the control of the same target that is best on val",
            numeric=False,
            wraps=True,
        ),
        CORRELATION,
        ENTRIES,
        GENES,
        Column("seeds", "Trainings from other random starts; ± is their standard deviation"),
    )

    def cells(row: pd.Series) -> tuple[Cell, ...]:
        name, target = str(row["predictor"]), str(row["target"])
        error, correlation = metric_cells(row, "seed")
        return (
            Cell(name, name),
            Cell(DASH, "", "Made from true values") if target == TRUTH else Cell(target, target),
            error,
            _above_control(row, comparisons),
            correlation,
            *size_cells(row, "seeds"),
        )

    from_truth = (summary["kind"] == "ceiling") | (summary["target"] == TRUTH)
    methods = (summary["kind"] == "method") & ~from_truth
    seen = summary["kind"] == "contaminated"
    parts = (methods, seen, ~methods & ~seen & ~from_truth, from_truth)
    groups = tuple(
        Group(label, tuple(cells(row) for _, row in summary[part].iterrows()), aside)
        for (label, aside), part in zip(_GROUPS, parts, strict=True)
        if part.any()
    )
    return Grid(caption, columns, groups)


def target_grid(best: pd.DataFrame, caption: str) -> Grid:
    """Return the best method of each cohort and target beside the best control."""
    columns = (
        Column("Cohort", numeric=False),
        Column("trained on", "The target", numeric=False),
        Column("best predictor", "Lowest MSE on the reported split", numeric=False),
        ERROR,
        CORRELATION,
        Column("MSE against measured", "Relative to the best method trained on measured entries"),
        Column("best control's MSE", "Lowest among the controls of the same target"),
    )
    winners = set(best.groupby("cohort")["mse"].idxmin()) if len(best) else set()
    groups = []
    measured = best[best["role"] == "measured"].set_index("cohort")["mse"]
    for cohort, rows in best.groupby("cohort", sort=False):
        cells = tuple(
            (
                Cell(str(cohort), str(cohort)),
                Cell(str(row["target"]), str(row["target"])),
                Cell(str(row["predictor"]), str(row["predictor"])),
                Cell(
                    spread(row["mse"], row["mse_sd"]),
                    row["mse"],
                    best=index in winners,
                ),
                number_cell(row["pcc_gene"], row["pcc_gene_sd"], CONSTANT),
                _against(row, measured.get(str(cohort))),
                number_cell(row["control_mse"], None, "No control was run for this target"),
            )
            for index, row in rows.iterrows()
        )
        groups.append(Group("", cells))
    return Grid(caption, columns, tuple(groups))


def _above_control(row: pd.Series, comparisons: pd.DataFrame) -> Cell:
    if row["kind"] != "method":
        return Cell(DASH, "", "Not ranked")
    name, target = str(row["predictor"]), str(row["target"])
    pair = of_pair(comparisons, "best_control", name, target)
    return difference_cell(pair, "Not compared: no control of this target has a score on val")


def _against(row: pd.Series, measured: float | None) -> Cell:
    if row["role"] == "measured" or measured is None:
        return Cell(DASH, "", "The reference" if measured is not None else "measured was not run")
    change = float(row["mse"] / measured - 1)
    text = percent(abs(change), 1 if abs(change) < 1 else 0)
    return Cell(f"{MINUS if change < 0 else '+'}{text}", change)
