"""What of a node's outputs is shown in MLflow: cards, their failures, and pooled scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from spared_benchmark.study import HEADLINE

# A row of a score table belongs to the sweep that carries the same tags.
_IDENTITY = ("cohort", "target", "predictor", "completer")
_ROW = {"metric", "value", "split", "slide"}
_MEASURED = ("val_", "best_", "parameters_", "seconds", "views", "steps_run", "megabytes")
_LONGEST_LIST = 12


def cards(outputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cards of the models among the outputs."""
    found = (getattr(output, "card", None) for output in outputs.values())
    return [card for card in found if isinstance(card, Mapping)]


def failures(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return why predictors among the outputs failed, by the tag that says so.

    The tag is ``error``, or ``error.<name>`` for one of several that share a card.
    """
    found: dict[str, str] = {}
    for card in cards(outputs):
        several = card.get("predictors") or {}
        named = {f"error.{name}": one for name, one in several.items()}
        for tag, one in (named or {"error": card}).items():
            if one.get("status") == "failed":
                found[tag] = str(one.get("reason", "no reason given"))
    return found


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested ``content`` as one level with dotted keys.

    Short lists become text; long ones and lists of records stay in the card alone.
    """
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            result |= flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            records = any(isinstance(item, Mapping | list | tuple) for item in value)
            if not records and len(value) <= _LONGEST_LIST:
                result[name] = ", ".join(str(item) for item in value)
        elif value is not None:
            result[name] = value
    return result


def split_numbers(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return what a card says of how the method was run, and the numbers that the run measured."""
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    for key, value in flat(content).items():
        if key.rpartition(".")[2].startswith(_MEASURED) and is_number(value):
            metrics[key] = float(value)
        else:
            parameters[key] = value
    return parameters, metrics


def is_number(value: Any) -> bool:
    """Say whether ``value`` can be drawn: a number, no truth value, finite."""
    if isinstance(value, bool):
        return False
    return isinstance(value, Real) and math.isfinite(float(value))


def pooled_scores(
    outputs: Mapping[str, Any],
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """Yield the tags of a method and its pooled scores, for every score table in ``outputs``.

    Scores are called ``<split>_<metric>.<space>`` and are means over seeds and assays; of the
    regimes of completion only the headline one is taken.
    """
    import pandas as pd

    for table in outputs.values():
        if not isinstance(table, pd.DataFrame) or not _ROW.issubset(table.columns):
            continue
        if "gene" in table.columns:
            continue
        identity = [key for key in _IDENTITY if key in table.columns]
        rows = table[table["slide"].astype("string").fillna("") == ""]
        if "regime" in rows.columns:
            rows = rows[rows["regime"] == HEADLINE[0]]
            rows = rows[rows["hidden_fraction"] == HEADLINE[1]]
        if not identity or rows.empty:
            continue
        space = rows["space"].astype(str) if "space" in rows.columns else ""
        named = rows.assign(
            name=rows["split"].astype(str) + "_" + rows["metric"].astype(str) + "." + space
        )
        for values, group in named.groupby(identity, observed=True):
            means = group.groupby("name")["value"].mean().dropna()
            tags = dict(zip(identity, map(str, values), strict=True))
            yield tags, {str(name).rstrip("."): float(mean) for name, mean in means.items()}
