"""What the numbers say, in plain words: computed from the summaries and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from spared_benchmark.reporting import effects, tables
from spared_benchmark.reporting.numbers import MINUS, decimal, defined, percent, spread

SAME = 0.005  # relative differences below half a per cent are told as "about the same"


@dataclass(frozen=True)
class Finding:
    """What is said about one cohort: a sentence or two on each stage, empty where not run."""

    cohort: str
    completion: str
    prediction: str
    effect: str


def findings(
    cohorts: Sequence[str],
    completion: pd.DataFrame,
    prediction: pd.DataFrame,
    comparisons: pd.DataFrame | None = None,
) -> list[Finding]:
    """Return what the scores say about each cohort that has any.

    Args:
        cohorts: Codes in the order of the study.
        completion: `tables.completion_summary` of one space, regime and fraction.
        prediction: `tables.prediction_summary` of one space.
        comparisons: Paired differences of that space, where they were made.
    """
    compared = pd.DataFrame() if comparisons is None else comparisons
    told = []
    for cohort in cohorts:
        completed, predicted = _of(completion, cohort), _of(prediction, cohort)
        finding = Finding(
            cohort,
            completion_sentence(completed),
            prediction_sentence(predicted),
            " ".join(
                part
                for part in (
                    effect_sentence(predicted),
                    effects.tally(predicted, _of(compared, cohort)),
                )
                if part
            ),
        )
        if finding.completion or finding.prediction or finding.effect:
            told.append(finding)
    return told


def opening(prediction: pd.DataFrame) -> str:
    """Return one paragraph over all cohorts: does training on completed values help prediction?

    Args:
        prediction: `tables.prediction_summary` of one space.
    """
    best = tables.target_summary(prediction)
    if best.empty:
        return ""
    wide = best.groupby(["cohort", "role"])["mse"].min().unstack("role")
    compared = []
    for role, words in (("raw", "raw values"), ("measured", "measured values alone")):
        if {role, "completed"} <= set(wide.columns):
            changes = (wide["completed"] / wide[role] - 1).dropna()
            if len(changes):
                compared.append(f"Against training on {words}, {_tally(changes)}.")
    if not compared:
        return ""
    return (
        "Does training on completed values help prediction? "
        + " ".join(compared)
        + " The best completed target is compared, which favours completion where several were run."
    )


def _tally(changes: pd.Series) -> str:
    """Return in how many cohorts the error is lower, the same or higher, and the median change."""
    lower, higher = int((changes <= -SAME).sum()), int((changes >= SAME).sum())
    counts = (
        ("lower", lower),
        ("about the same", len(changes) - lower - higher),
        ("higher", higher),
    )
    if len(changes) == 1:
        return f"the error is {_compared(float(changes.iloc[0]))} in the one cohort scored"
    told = ", ".join(f"{words} in {count}" for words, count in counts if count)
    median = _signed(float(changes.median()))
    return f"the error is {told} of {len(changes)} cohorts (median difference {median})"


def completion_sentence(summary: pd.DataFrame) -> str:
    """Return the best completer of one cohort against ``gene_mean`` and the floor."""
    best = tables.best_of(summary)
    if best is None:
        return ""
    text = (
        f"On {_score(best)} the best completer is {best['completer']}: MSE "
        f"{spread(best['mse'], best['mse_sd'])}"
    )
    against = []
    for name, words in (("gene_mean", "for gene_mean"), (tables.FLOOR, "for the Poisson floor")):
        value = _value(summary, "completer", name)
        if value is not None and best["completer"] != name:
            against.append(f"{decimal(value)} {words}")
    text += f", against {' and '.join(against)}" if against else ""
    if defined(best["share"]):
        text += f"; it removes {percent(best['share'])} of the reducible error"
    return f"{text}."


def prediction_sentence(summary: pd.DataFrame) -> str:
    """Return the best predictor of one cohort against the best control."""
    best, control = tables.best_of(summary), tables.best_of(tables.rivals(summary), ("control",))
    if best is None:
        return ""
    text = (
        f"On {_score(best)} the best predictor is {best['predictor']} trained on {best['target']}: "
        f"MSE {spread(best['mse'], best['mse_sd'])}"
    )
    if control is None:
        return f"{text}; no control was run."
    change = float(best["mse"] / control["mse"] - 1)
    text += (
        f", against {decimal(control['mse'])} for the best control ({control['predictor']} trained "
        f"on {control['target']}): {_compared(change)}"
    )
    return f"{text}."


def effect_sentence(summary: pd.DataFrame) -> str:
    """Return the best method's error for each target, and what completion changes."""
    best = tables.target_summary(summary)
    if best.empty:
        return ""
    listed = ", ".join(
        f"{decimal(row['mse'])} on {row['target']} ({row['predictor']})"
        for _, row in best.iterrows()
    )
    text = f"Best error by what the predictor was trained on: {listed}."
    completed = best[best["role"] == "completed"]
    if completed.empty:
        return text
    winner = completed.iloc[0]
    compared = [
        f"{_compared(change)} {'as' if abs(change) < SAME else 'than'} on {role}"
        for role in ("raw", "measured")
        if (value := _value(best, "role", role)) is not None
        for change in [float(winner["mse"] / value - 1)]
    ]
    if compared:
        text += f" Trained on {winner['target']}, the error is {' and '.join(compared)}."
    return text


def _of(summary: pd.DataFrame, cohort: str) -> pd.DataFrame:
    return summary[summary["cohort"] == cohort] if len(summary) else summary


def _score(row: pd.Series) -> str:
    return "the val slides (validation score)" if row["validation"] else "the test slides"


def _value(rows: pd.DataFrame, column: str, name: str) -> float | None:
    values = rows.loc[rows[column] == name, "mse"].dropna()
    return None if values.empty else float(values.iloc[0])


def _compared(change: float) -> str:
    if abs(change) < SAME:
        return "about the same"
    return f"{_size(change)} {'lower' if change < 0 else 'higher'}"


def _signed(change: float) -> str:
    return f"{MINUS if change < 0 else '+'}{_size(change)}"


def _size(change: float) -> str:
    return percent(abs(change), 0 if abs(change) >= 0.095 else 1)
