"""How completers and predictors were trained, and which of them failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import pandas as pd

from spared_benchmark.reporting.grid import Cell, Column, Grid, Group
from spared_benchmark.reporting.numbers import DASH, decimal, defined, whole
from spared_benchmark.reporting.schemas import TRAINING

COMPLETER, FITTED, FAILED = "completer", "fitted", "failed"
NOTE = (
    "Seconds and memory are of the machine that ran it, all learning rates and seeds together. "
    "Spot views count a spot each time that a training step sees it. *: out of memory once, and "
    "batches were computed in parts."
)
_CLOSED = "Solved, not trained"
_LONGEST = 300  # letters of a reason on the page; the table holds all of it


def training_table(cards: Iterable[Mapping[str, Any]], cohort: str) -> pd.DataFrame:
    """Return one row per fitted completer, and per target and predictor, failed ones included.

    Args:
        cards: Of fitted methods; one of several predictors holds theirs under ``predictors``.
        cohort: Its code.

    Returns:
        Columns of `schemas.TRAINING`. ``role`` is ``completer``, or a predictor's kind; ``target``
        is empty for completers. Learning rates and steps of the best trials are texts, one number
        for each seed where they differ. What a card does not tell is NaN.
    """
    each = (one for card in cards for one in (card.get("predictors") or {"": card}).values())
    rows = [{"cohort": cohort, **_identity(card), **_cost(card), **_best(card)} for card in each]
    return pd.DataFrame(rows, columns=list(TRAINING.columns)) if rows else TRAINING.empty()


def failures(training: pd.DataFrame) -> list[str]:
    """Return a line for each predictor and reason: ``Failed: vit_b on spackle, VLO: …``."""
    failed = training[training["status"] == FAILED]
    keys = ["cohort", "method", "reason"]
    return [
        f"Failed: {method}{_on(rows['target'])}, {cohort}: {_short(str(reason))}"
        for (cohort, method, reason), rows in failed.groupby(keys, sort=False)
    ]


def limits(training: pd.DataFrame) -> str:
    """Return what forbids a ranking of the published models, empty where nothing does."""
    methods = training[(training["role"] == "method") & (training["status"] == FITTED)]
    told = []
    if (methods["weights"] == "none").any():
        told.append("no pre-training")
    if (methods["size"] != "paper").any():
        told.append("small models")
    return f"{', '.join(told)}: no ranking of the published models" if told else ""


def training_grid(training: pd.DataFrame, caption: str) -> Grid:
    """Return one cohort's trainings: predictors by target, completers below."""
    columns = (
        Column("Method", numeric=False),
        Column("trained on", "The target", numeric=False),
        Column(
            "size", "Of the card; and the weights that it started from", numeric=False, wraps=True
        ),
        Column("parameters", "Trainable, and all where they differ", wraps=True),
        Column(
            "learning rate", "Of the best trial; one for each seed where they differ", wraps=True
        ),
        Column("best step", "Whose weights were kept", wraps=True),
        Column("trials", "Learning rates times seeds", wraps=True),
        Column("seconds"),
        Column("s per 1,000 views", "Seconds of training per 1,000 spot views"),
        Column("peak MB", "Highest memory of a training, in 10⁶ bytes"),
        Column("val MSE", "What was selected by, mean over seeds"),
    )
    completers = training["role"] == COMPLETER
    groups = []
    for label, rows in (("", training[~completers]), ("Completers", training[completers])):
        if len(rows):
            groups.append(Group(label, tuple(_cells(row) for _, row in rows.iterrows())))
    return Grid(caption, columns, tuple(groups))


def _identity(card: Mapping[str, Any]) -> dict[str, Any]:
    predictor = card.get("predictor")
    weights = str(card.get("settings", {}).get("weights", ""))
    return {
        "target": str(card.get("target", "")) if predictor else "",
        "method": str(predictor or card.get("variant") or card["method"]),
        "role": str(card["kind"]) if predictor else COMPLETER,
        "size": str(card.get("size", "")),
        # Of a file of weights its name is enough; its folder is nobody's business.
        "weights": PurePath(weights).name,
        "version": card.get("version"),
        "status": str(card.get("status", FITTED)),
        "reason": str(card.get("reason", "")),
    }


def _cost(card: Mapping[str, Any]) -> dict[str, Any]:
    trials = card.get("trials", ())
    views = sum(trial.get("views") or 0 for trial in trials)
    seconds = sum(trial.get("seconds") or 0 for trial in trials)
    peaks = [trial["peak_memory_mb"] for trial in trials if trial.get("peak_memory_mb")]
    parameters = {
        name: card.get(name) or max((trial.get(name) or 0 for trial in trials), default=None)
        for name in ("parameters_trainable", "parameters_total")
    }
    return {
        **parameters,
        "trials": len(trials),
        "diverged": sum(trial.get("status") == "diverged" for trial in trials),
        "micro_batches": max((trial.get("micro_batches", 1) for trial in trials), default=None),
        "seconds": card.get("seconds"),
        "spot_views": views or None,
        "seconds_per_1000_views": 1000 * seconds / views if views else None,
        "peak_memory_mb": max(peaks, default=None),
    }


def _best(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return rate and step of the best trials and the error that chose them."""
    if "val_mse" in card:
        rates, steps = card.get("learning_rates", ()), card.get("best_steps", ())
        return {**_texts(rates, steps), "val_mse": card["val_mse"]}
    finished = [
        trial
        for trial in card.get("trials", ())
        if trial.get("best_value") is not None and trial.get("space", "log_tpm") == "log_tpm"
    ]
    if finished:
        best = min(finished, key=lambda trial: float(trial["best_value"]))
        return {
            **_texts([best["learning_rate"]], [best["best_step"]]),
            "val_mse": best["best_value"],
        }
    tried = [row["val_mse"] for row in card.get("grid", ())]
    return {**_texts((), ()), "val_mse": min(tried, default=None)}


def _texts(rates: Iterable[float], steps: Iterable[int]) -> dict[str, str]:
    return {
        "learning_rate": ", ".join(dict.fromkeys(f"{rate:.3g}" for rate in rates)),
        "best_step": ", ".join(dict.fromkeys(f"{step:g}" for step in steps)),
    }


def _cells(row: pd.Series) -> tuple[Cell, ...]:
    name, target = str(row["method"]), str(row["target"])
    if row["status"] == FAILED:
        nothing = tuple(Cell(DASH, "", "Failed") for _ in range(8))
        reason = str(row["reason"])
        return Cell(name, name), Cell(target, target), Cell(FAILED, FAILED, reason), *nothing
    size = ", ".join(
        part for part in (str(row["size"]), _started_from(str(row["weights"]))) if part
    )
    return (
        Cell(name, name),
        Cell(target or DASH, target, "" if target else "A completer"),
        Cell(size, size),
        _parameters(row),
        _text(str(row["learning_rate"])),
        _text(str(row["best_step"])),
        _trials(row),
        _number(row["seconds"], "Not timed"),
        _number(row["seconds_per_1000_views"], _CLOSED),
        _number(row["peak_memory_mb"], "Not known"),
        _number(row["val_mse"], "Nothing was selected"),
    )


def _started_from(weights: str) -> str:
    return {"": "", "none": "no weights"}.get(weights, weights)


def _parameters(row: pd.Series) -> Cell:
    trainable, total = row["parameters_trainable"], row["parameters_total"]
    if not defined(total) or not total:
        return Cell(DASH, "", _CLOSED)
    both = whole(total) if trainable == total else f"{whole(trainable)} of {whole(total)}"
    return Cell(both, float(total))


def _trials(row: pd.Series) -> Cell:
    if not row["trials"]:
        return Cell(DASH, "", _CLOSED)
    parts = [whole(row["trials"])]
    if row["diverged"]:
        parts.append(f"{whole(row['diverged'])} diverged")
    halved = defined(row["micro_batches"]) and row["micro_batches"] > 1
    title = "Out of memory once: batches were computed in parts" if halved else ""
    return Cell(", ".join(parts) + ("*" if halved else ""), float(row["trials"]), title)


def _text(text: str) -> Cell:
    if not text:
        return Cell(DASH, "", _CLOSED)
    return Cell(text, float(text.partition(",")[0]))


def _number(value: float | None, why: str) -> Cell:
    if value is None or not defined(value):
        return Cell(DASH, "", why)
    return Cell(decimal(value), float(value))


def _on(targets: pd.Series) -> str:
    names = [str(name) for name in targets if name]
    return f" on {', '.join(names)}" if names else ""


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rstrip()} …"
