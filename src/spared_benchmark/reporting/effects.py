"""Does completion help prediction? Every predictor against itself, trained on other targets."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from spared_benchmark.reporting.differences import (
    BLOCKS,
    below,
    bounds,
    difference_cell,
    of_one_seed,
    of_pair,
    over_blocks,
    signed,
    verdict,
)
from spared_benchmark.reporting.grid import CONTROLS, Cell, Column, Grid, grouped, number_cell
from spared_benchmark.reporting.numbers import decimal
from spared_benchmark.reporting.tables import SHUFFLED, TRUTH, in_order

REFERENCES = ("raw", "measured")
_DIFFERENCE = "Difference of the errors with its 95 % interval"
_NOT_RUN = "Not trained on both, or not compared"
_ONE_SEED = "Networks that were trained with one seed are undecided; several seeds would tell."


def effect_grid(summary: pd.DataFrame, comparisons: pd.DataFrame, caption: str) -> Grid:
    """Return each predictor trained on completed values beside itself on raw and on measured.

    Where nothing was trained on completed values, ``measured`` is compared with ``raw``.

    Args:
        summary: `tables.prediction_summary` of one cohort and space.
        comparisons: Paired differences of the same.
        caption: Stands above the table.
    """
    columns = (
        Column("Predictor", numeric=False),
        Column("trained on", "The target", numeric=False),
        Column("MSE", "Trained on this target"),
        Column("MSE on raw", "The same predictor trained on raw values"),
        Column("minus raw", _DIFFERENCE, numeric=False, wraps=True),
        Column("MSE on measured", "The same predictor trained on measured entries alone"),
        Column("minus measured", _DIFFERENCE, numeric=False, wraps=True),
    )
    errors = _errors(summary)

    def cells(row: pd.Series) -> tuple[Cell, ...]:
        name, target = str(row["predictor"]), str(row["target"])
        beside = [
            cell
            for reference in REFERENCES
            for cell in (
                _error(errors.get((name, reference))),
                difference_cell(of_pair(comparisons, "target", name, target, reference), _NOT_RUN),
            )
        ]
        return Cell(name, name), Cell(target, target), _error(row["mse"]), *beside

    return Grid(caption, columns, grouped(_judged(summary), cells, CONTROLS))


def settings_grid(summary: pd.DataFrame, comparisons: pd.DataFrame, caption: str) -> Grid:
    """Return each predictor with other settings beside the plain one, trained on one target.

    Args:
        summary: `tables.prediction_summary` of one cohort and space.
        comparisons: Paired differences of the same.
        caption: Stands above the table.
    """
    columns = (
        Column("Predictor", numeric=False),
        Column("trained on", "The target", numeric=False),
        Column("MSE", "With its other settings"),
        Column("MSE of the plain one", "The same predictor with its own settings"),
        Column("minus the plain one", _DIFFERENCE, numeric=False, wraps=True),
    )
    errors = _errors(summary)

    def cells(row: pd.Series) -> tuple[Cell, ...]:
        name, target = str(row["predictor"]), str(row["target"])
        pair = of_pair(comparisons, "settings", name, target)
        plain = str(pair["against"].iloc[0]) if len(pair) else ""
        return (
            *(Cell(name, name), Cell(target, target), _error(row["mse"])),
            _error(errors.get((plain, target))),
            difference_cell(pair, "Not both were trained"),
        )

    pairs = (
        comparisons[comparisons["comparison"] == "settings"] if len(comparisons) else comparisons
    )
    others = list(pairs["predictor"]) if len(pairs) else []
    rows = summary[summary["predictor"].isin(others) & (summary["target"] != TRUTH)]
    return Grid(caption, columns, grouped(rows, cells, CONTROLS))


def tally(summary: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """Return in one sentence for how many methods completion helped, against raw and measured.

    Args:
        summary: `tables.prediction_summary` of one cohort and space.
        comparisons: Paired differences of the same.
    """
    judged = _judged(summary)
    if judged.empty:
        return ""
    completed = judged[(judged["kind"] == "method") & ~judged["target"].isin(REFERENCES)]
    told, unknown = [], False
    for reference in REFERENCES:
        pairs = [
            of_pair(comparisons, "target", str(row["predictor"]), str(row["target"]), reference)
            for _, row in completed.iterrows()
        ]
        unknown |= any(of_one_seed(rows) for rows in pairs)
        verdicts = [verdict(rows) for rows in pairs if len(rows)]
        if verdicts:
            counts = [(word, verdicts.count(word)) for word in ("better", "worse", "undecided")]
            listed = ", ".join(f"{count} {word}" for word, count in counts if count)
            told.append(f"against {reference} {listed}")
    if not told:
        return ""
    sentence = f"Predictor by predictor and completed target, by 95 % intervals: {'; '.join(told)}."
    return f"{sentence} {_ONE_SEED}" if unknown else sentence


def shuffled_sentence(comparisons: pd.DataFrame) -> str:
    """Return whether what was fitted to exchanged labels is at chance, for one cohort and space."""
    rows = comparisons[comparisons["comparison"] == "shuffled"] if len(comparisons) else comparisons
    if rows.empty:
        return ""
    chance = rows[(rows["metric"] == "pcc_gene") & rows["value"].notna()]
    inside = (chance["low"] <= 0) & (chance["high"] >= 0)
    trainings = f"{len(chance)} training{'' if len(chance) == 1 else 's'}"
    told = []
    if len(chance):
        told.append(
            f"PCC by gene {_range(list(chance['value']))} in {trainings}; zero lies in the "
            f"interval of {int(inside.sum())}{_beyond(chance[~inside])}{_single(chance)}"
        )
    lower = [
        f"{predictor} on {target} ({signed(over_blocks(own).iloc[0]['value'])})"
        for (predictor, target), own in rows[rows["metric"] == "mse_difference"].groupby(
            ["predictor", "target"], sort=False
        )
        if below(own)
    ]
    told.append(
        f"errors below train_mean's, by luck or by a leak: {', '.join(lower)}"
        if lower
        else "no error is below train_mean's"
    )
    return f"Fitted to exchanged labels: {'; '.join(told)}."


def _judged(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose target is judged, predictor by predictor."""
    if summary.empty:
        return summary
    exchanged = summary["predictor"].astype(str).str.contains(SHUFFLED, regex=False)
    rows = summary[~exchanged & (summary["target"] != TRUTH)]
    completed = rows[~rows["target"].isin(REFERENCES)]
    chosen = completed if len(completed) else rows[rows["target"] == "measured"]
    place = {name: index for index, name in enumerate(in_order(chosen["predictor"]))}
    order = chosen["predictor"].astype(str).map(place)
    return chosen.assign(order=order).sort_values(["order", "mse"], kind="stable")


def _errors(summary: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return every MSE by predictor and target."""
    names = zip(summary["predictor"].astype(str), summary["target"].astype(str), strict=True)
    return dict(zip(names, summary["mse"].astype(float), strict=True))


def _error(value: float | None) -> Cell:
    return number_cell(value, None, "Not trained on this target")


def _beyond(chance: pd.DataFrame) -> str:
    if chance.empty:
        return ""
    named = [
        f"{row['predictor']} on {row['target']} ({decimal(row['value'])} {bounds(row)})"
        for _, row in chance.iterrows()
    ]
    return f", not of {', '.join(named)}"


def _single(chance: pd.DataFrame) -> str:
    """Return what must be known of intervals that are of one exchange of labels."""
    if not (chance["over"] == BLOCKS).any():
        return ""
    return " (of one exchange of labels, it may well lie outside by luck; several seeds would tell)"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return decimal(low) if low == high else f"{decimal(low)} to {decimal(high)}"
