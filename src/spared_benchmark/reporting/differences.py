"""A paired difference in words and as a cell: better, worse, or undecided."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from spared_benchmark.reporting.grid import Cell
from spared_benchmark.reporting.numbers import DASH, MINUS, decimal, defined

Verdict = Literal["better", "worse", "undecided"]
RULE = (
    "“Better” and “worse”: the 95 % interval of the difference of squared errors lies on one side "
    "of 0, and so does the one over subjects where three or more are scored; else “undecided”. "
    "Intervals come from drawing blocks of neighbouring spots within slides, and where networks "
    "were trained with several seeds they also hold how much trainings differ. Of a network that "
    "was trained with one seed nobody knows what another would change, so its differences stay "
    "“undecided”. None is corrected for the number of comparisons, and none tells of other slides "
    "where one is scored."
)
BLOCKS = "blocks"
_ONE_SEED = " of one seed"
SPACE = "\N{NO-BREAK SPACE}"


def of_pair(
    comparisons: pd.DataFrame, comparison: str, predictor: str, target: str, against: str = ""
) -> pd.DataFrame:
    """Return the rows of one difference, one for each thing that was drawn.

    Args:
        comparisons: Of one cohort and space.
        comparison: See `prediction.comparisons`.
        predictor: Whose error is the first.
        target: What it was trained on.
        against: The second; any when empty.
    """
    if comparisons.empty:
        return comparisons
    rows = comparisons[
        (comparisons["comparison"] == comparison)
        & (comparisons["predictor"] == predictor)
        & (comparisons["target"] == target)
        & (comparisons["metric"] == "mse_difference")
    ]
    return rows[rows["against"] == against] if against else rows


def verdict(rows: pd.DataFrame) -> Verdict:
    """Return what the intervals of one difference of errors say of the first."""
    if rows.empty or of_one_seed(rows):
        return "undecided"
    if below(rows):
        return "better"
    return "worse" if bool((rows["low"] > 0).all()) else "undecided"


def below(rows: pd.DataFrame) -> bool:
    """Say whether every interval of a difference lies below 0, however many seeds it is of."""
    return len(rows) > 0 and bool((rows["high"] < 0).all())


def of_one_seed(rows: pd.DataFrame) -> bool:
    """Say whether what another seed would change of the difference is unknown."""
    return len(rows) > 0 and bool(rows["over"].str.endswith(_ONE_SEED).any())


def over_blocks(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose interval is over blocks, with or without seeds."""
    return rows[rows["over"].str.startswith(BLOCKS)] if len(rows) else rows


def difference_cell(rows: pd.DataFrame, absent: str) -> Cell:
    """Return one difference with its interval over blocks and what it says.

    Args:
        rows: Of one difference, as from `of_pair`.
        absent: Why there may be none.
    """
    blocks = over_blocks(rows)
    if blocks.empty or not defined(blocks.iloc[0]["value"]):
        return Cell(DASH, "", absent)
    row = blocks.iloc[0]
    told = [f"Minus {row['against']}; {decimal(row['units'], 0)} {row['over']}"]
    told += [
        f"over {decimal(other['units'], 0)} {other['over']} {bounds(other)}"
        for _, other in rows.drop(blocks.index).iterrows()
    ]
    word = f"{verdict(rows)}, one seed" if of_one_seed(rows) else verdict(rows)
    text = f"{word}{SPACE}{signed(row['value'])} {bounds(row)}"
    return Cell(text, float(row["value"]), "; ".join(told))


def bounds(row: pd.Series) -> str:
    """Return ``(−0.020 to −0.004)``, or that there is no interval."""
    if not (defined(row["low"]) and defined(row["high"])):
        return f"(no{SPACE}interval)"
    return f"({decimal(row['low'])}{SPACE}to{SPACE}{decimal(row['high'])})"


def signed(value: float) -> str:
    """Return a difference with its sign: ``+0.012``."""
    text = decimal(value)
    return text if text.startswith(MINUS) else f"+{text}"
