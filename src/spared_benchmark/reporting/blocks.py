"""Parts of the page that fold: tables of one space, regime or cohort under one title."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from spared_benchmark.reporting.grid import Grid

SPACES = {"log_tpm": "log2(TPM+1)", "combat": "batch-corrected log2(TPM+1)"}


@dataclass(frozen=True)
class Block:
    """Tables of one space, regime and fraction; folded unless it is the one to read first."""

    title: str
    note: str
    grids: tuple[Grid, ...]
    folded: bool


def of_space(space: str) -> str:
    """Return what a reader calls a space."""
    return SPACES.get(space, space)


def split_words(rows: pd.DataFrame) -> str:
    """Return which slides the rows of a summary are scores of."""
    return "validation score, no test slide" if bool(rows["validation"].any()) else "test slides"


def with_values(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    """Return the rows whose columns hold ``values``."""
    for column, value in values.items():
        table = table[table[column] == value] if len(table) else table
    return table
