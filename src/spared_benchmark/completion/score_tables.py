"""The tidy table of completion scores: one row per number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

COLUMNS = (
    "cohort",
    "protocol",
    "space",
    "regime",
    "hidden_fraction",
    "assay",
    "split",
    "slide",
    "completer",
    "kind",
    "metric",
    "value",
    "n",
)
# One mask of one split of one cohort: what methods share when they are compared.
_SETTING = list(COLUMNS[:8])
REFERENCE, FLOOR, SKILL = "slide_gene_mean", "floor", "skill"
# A row that belongs to no single assay, such as seconds.
NO_ASSAY = -1


def collect_completion_scores(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all tables as one, in the order given, with `add_skill` applied."""
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return add_skill(pd.concat(tables, ignore_index=True))


def add_skill(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the share of the reducible error that each completer removed.

    ``skill`` = (MSE of slide_gene_mean − MSE) / (MSE of slide_gene_mean − floor), on the same
    mask, split and slide. 0 is the mean of the slide, 1 the Poisson floor; NaN where nothing is
    reducible. Without reference or floor there is no row. Applying it twice changes nothing.

    Args:
        scores: Rows with `COLUMNS`.
    """
    plain = scores[scores["metric"] != SKILL]
    errors = plain[plain["metric"] == "mse"]
    reference = _errors_of(errors, REFERENCE)
    floor = _errors_of(errors, FLOOR)
    judged = errors[errors["kind"] != "ceiling"]
    joined = judged.merge(reference, on=_SETTING).merge(floor, on=_SETTING)
    reducible = joined[REFERENCE] - joined[FLOOR]
    removed = joined[REFERENCE] - joined["value"]
    joined["value"] = np.where(reducible > 0, removed / reducible.where(reducible > 0), np.nan)
    joined["metric"] = SKILL
    parts = [part for part in (plain, joined[list(COLUMNS)]) if not part.empty]
    return pd.concat(parts, ignore_index=True) if parts else plain


def _errors_of(errors: pd.DataFrame, completer: str) -> pd.DataFrame:
    own = errors[errors["completer"] == completer]
    return own[[*_SETTING, "value"]].rename(columns={"value": completer})
