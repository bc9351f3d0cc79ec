"""What the figures of completion share: the scores to read, and the order of the methods."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.reporting import tables

SPACE = "log_tpm"
_ROUNDS = 200


def scored(scores: pd.DataFrame, space: str = SPACE) -> pd.DataFrame:
    """Return the scores of one space on the split that is reported: test, else val.

    Args:
        scores: Tidy completion scores.
        space: ``log_tpm`` or ``combat``.
    """
    rows = scores[scores["space"] == space]
    tested = rows["cohort"].isin(set(rows.loc[rows["split"] == "test", "cohort"]))
    return rows[rows["split"] == tested.map({True: "test", False: "val"})]


def ranked(scores: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the methods, the best first, and the controls and ceilings, the lowest error first.

    What counts is MSE where random entries were hidden at the share of the headline. Its logarithm
    is taken as the sum of an effect of the cohort and one of the completer, by which they are
    ordered: so a completer that was not run on every cohort is neither favoured nor harmed. One
    that was not scored there stands last.

    Args:
        scores: What `scored` returns.
    """
    kinds = kinds_of(scores)
    headline = tables.headline(scores)
    errors = headline[(headline["metric"] == "mse") & (headline["slide"] == "")]
    means = errors.groupby(["completer", "cohort"])["value"].mean().unstack("cohort")
    if means.empty:
        return [], []
    logs = np.log(means.clip(lower=1e-12).to_numpy(dtype=np.float64))
    effect = pd.Series(_effects(logs), index=means.index)
    ordered = effect.reindex(list(kinds)).sort_values(kind="stable", na_position="last").index
    names = [str(name) for name in ordered]
    methods = [name for name in names if kinds[name] == "method"]
    return methods, [name for name in names if kinds[name] != "method"]


def _effects(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the row effects of a two-way table with gaps ``(n_rows,)``, by least squares."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    rows, columns = np.zeros(values.shape[0]), np.zeros(values.shape[1])
    for _ in range(_ROUNDS):
        columns = (filled - rows[:, None] * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        rows = (filled - columns * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known.any(axis=1), rows, np.nan)


def kinds_of(rows: pd.DataFrame) -> dict[str, str]:
    """Return the kind of each completer: ``method``, ``control`` or ``ceiling``."""
    return dict(zip(rows["completer"].astype(str), rows["kind"].astype(str), strict=True))


def heading(cohort: str, rows: pd.DataFrame) -> str:
    """Return a cohort's code, headed as a validation score where it has no test slide."""
    val = "test" not in set(rows["split"])
    return f"{cohort} (validation score)" if val else cohort
