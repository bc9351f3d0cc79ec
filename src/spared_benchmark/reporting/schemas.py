"""What the tidy result tables look like, and the check that a table is one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from spared_benchmark.errors import ContractError, nearest

KINDS = ("method", "contaminated", "control", "ceiling")
SPLITS = ("train", "val", "test", "")  # empty: not of one split, such as seconds
NUMBERS = (
    *("value", "n", "assay", "seed", "hidden_fraction", "spots", "um_per_patch_px"),
    *("low", "high", "units", "parameters_trainable", "parameters_total", "trials", "diverged"),
    *("micro_batches", "seconds", "spot_views", "seconds_per_1000_views", "peak_memory_mb"),
    "val_mse",
)


@dataclass(frozen=True)
class Schema:
    """Columns of one tidy table.

    Attributes:
        name: The table's name in ``08_reporting``.
        columns: Required columns, in order.
        key: Columns that together name one row.
        optional: Columns that may stand beside them.
        open: Further columns are welcome (the ingestion table tells what a format knows).
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    optional: tuple[str, ...] = ()
    open: bool = False

    def empty(self) -> pd.DataFrame:
        """Return a table of this schema without rows."""
        return pd.DataFrame({column: pd.Series(dtype=object) for column in self.columns})


COHORTS = Schema("cohorts", ("cohort", "statistic", "value"), ("cohort", "statistic"))
INGESTION = Schema(
    "ingestion",
    ("cohort", "slide", "subject", "spots", "genes", "median_counts", "image", "um_per_patch_px"),
    ("cohort", "slide"),
    open=True,
)
SHARED = Schema(
    "shared",
    ("cohort", "rule", "severity", "slides", "splits", "detail"),
    ("cohort", "rule", "slides"),
)
COMPLETION = Schema(
    "completion_scores",
    (
        *("cohort", "protocol", "space", "regime", "hidden_fraction", "assay", "split", "slide"),
        *("completer", "kind", "metric", "value", "n"),
    ),
    (
        *("cohort", "protocol", "space", "regime", "hidden_fraction", "assay", "split", "slide"),
        *("completer", "metric"),
    ),
)
PREDICTION = Schema(
    "prediction_scores",
    (
        *("cohort", "protocol", "space", "target", "predictor", "kind", "seed", "split", "slide"),
        *("metric", "value", "n"),
    ),
    (
        *("cohort", "protocol", "space", "target", "predictor", "seed", "split", "slide"),
        "metric",
    ),
)
GENES = Schema(
    "gene_scores",
    (
        *("cohort", "protocol", "space", "target", "predictor", "kind", "seed", "split", "slide"),
        *("gene", "metric", "value"),
    ),
    (
        *("cohort", "protocol", "space", "target", "predictor", "seed", "split", "slide"),
        *("gene", "metric"),
    ),
    optional=("n", "symbol"),
)
COMPARISONS = Schema(
    "comparisons",
    (
        *("cohort", "protocol", "space", "split", "comparison", "predictor", "target", "against"),
        *("metric", "value", "low", "high", "over", "units", "n"),
    ),
    (
        *("cohort", "protocol", "space", "split", "comparison", "predictor", "target", "against"),
        *("metric", "over"),
    ),
)
TRAINING = Schema(
    "training",
    (
        *("cohort", "target", "method", "role", "size", "weights", "version", "status", "reason"),
        *("parameters_trainable", "parameters_total", "learning_rate", "best_step", "trials"),
        *("diverged", "micro_batches", "seconds", "spot_views", "seconds_per_1000_views"),
        *("peak_memory_mb", "val_mse"),
    ),
    ("cohort", "target", "method"),
)
SCHEMAS: Mapping[str, Schema] = {
    schema.name: schema
    for schema in (
        *(COHORTS, INGESTION, SHARED, COMPLETION, PREDICTION, GENES, COMPARISONS),
        TRAINING,
    )
}


def infer(table: pd.DataFrame) -> Schema:
    """Return the schema whose columns ``table`` shares most, weighed against those it lacks."""

    def likeness(schema: Schema) -> float:
        have, want = set(table.columns), {*schema.columns, *schema.optional}
        return len(have & want) / len(have | want)

    return max(SCHEMAS.values(), key=likeness)


def check(table: pd.DataFrame, schema: Schema, where: str) -> pd.DataFrame:
    """Return ``table`` with its columns in order, pooled slides as ``""`` and numbers as numbers.

    Args:
        table: A tidy table.
        schema: What it should be.
        where: Named in errors: the cohort that the table belongs to.

    Raises:
        ContractError: When a column is missing, unknown or holds what it must not, or when two
            rows carry the same key.
    """
    place = f"{schema.name} of cohort {where!r}"
    known = (*schema.columns, *schema.optional)
    for column in schema.columns:
        if column not in table.columns:
            raise ContractError(
                f"{place}: column {column!r} is missing; found {_listed(table.columns)}; "
                f"required: {_listed(schema.columns)}"
            )
    for column in [] if schema.open else table.columns:
        if column not in known:
            raise ContractError(
                f"{place}: unknown column {column!r}{nearest(str(column), known)}; "
                f"allowed: {_listed(known)}; drop or rename it"
            )
    further = [column for column in table.columns if column not in schema.columns]
    checked = table.loc[:, [*schema.columns, *further]].reset_index(drop=True)
    _check_values(checked, place)
    duplicated = checked.duplicated(list(schema.key))
    if duplicated.any():
        row = checked.loc[duplicated, list(schema.key)].iloc[0].to_dict()
        raise ContractError(
            f"{place}: {int(duplicated.sum())} rows repeat a key, the first is {row}; "
            "one row per number is allowed; score each method once"
        )
    return checked


def _check_values(table: pd.DataFrame, place: str) -> None:
    for column in ("slide", "split"):
        if column in table.columns:
            texts = table[column].astype(object)
            table[column] = texts.where(texts.notna(), "").astype(str)
    for column, allowed in (("kind", KINDS), ("split", SPLITS)):
        if column in table.columns:
            found = [value for value in table[column].unique() if value not in allowed]
            if found:
                raise ContractError(
                    f"{place}: column {column!r} holds {found[0]!r}"
                    f"{nearest(str(found[0]), allowed)}; allowed: {', '.join(map(repr, allowed))}"
                )
    for column in NUMBERS:
        if column in table.columns:
            try:
                table[column] = pd.to_numeric(table[column])
            except (ValueError, TypeError) as error:
                raise ContractError(
                    f"{place}: column {column!r} must hold numbers (NaN where undefined): {error}"
                ) from error


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)
