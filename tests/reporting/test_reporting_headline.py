"""The words follow the numbers, in both directions."""

from __future__ import annotations

import pandas as pd
import pytest

from spared_benchmark.reporting import headline, tables
from spared_benchmark.reporting.numbers import MINUS, NARROW


def _summary(errors: dict[tuple[str, str, str], float], cohort: str = "VLO") -> pd.DataFrame:
    table = pd.DataFrame(
        [(*names, error) for names, error in errors.items()],
        columns=["target", "predictor", "kind", "value"],
    )
    head = {"cohort": cohort, "protocol": "inductive", "space": "log_tpm", "split": "test"}
    return tables.prediction_summary(table.assign(**head, seed=1, slide="", metric="mse", n=9))


def _targets(raw: float, measured: float, completed: float, cohort: str = "VLO") -> pd.DataFrame:
    return _summary(
        {
            ("raw", "vit_b", "method"): raw,
            ("measured", "vit_b", "method"): measured,
            ("spackle", "vit_b", "method"): completed,
            ("measured", "colour_ridge", "control"): 0.8,
        },
        cohort,
    )


@pytest.mark.parametrize(
    ("completed", "words"),
    [
        (0.6985, f"88{NARROW}% lower than on raw and 13{NARROW}% lower than on measured"),
        (0.802, f"87{NARROW}% lower than on raw and about the same as on measured"),
        (0.88, f"85{NARROW}% lower than on raw and 10{NARROW}% higher than on measured"),
    ],
)
def test_effect_tells_lower_same_and_higher(completed: float, words: str) -> None:
    sentence = headline.effect_sentence(_targets(6.0, 0.8, completed))
    assert f"Trained on spackle, the error is {words}." in sentence
    assert "6.000 on raw (vit_b), 0.800 on measured (vit_b)" in sentence


def test_control_that_beats_the_methods_is_said_so() -> None:
    sentence = headline.prediction_sentence(_targets(6.0, 0.88, 1.0))
    assert sentence == (
        "On the test slides the best predictor is vit_b trained on measured: MSE 0.880, against "
        f"0.800 for the best control (colour_ridge trained on measured): 10{NARROW}% higher."
    )


def test_opening_counts_cohorts() -> None:
    summary = pd.concat(
        [_targets(6.0, 0.8, 0.7, "A"), _targets(6.0, 0.8, 0.801, "B"), _targets(0.5, 0.8, 1.0, "C")]
    )
    text = headline.opening(summary)
    assert "on raw values, the error is lower in 2, higher in 1 of 3 cohorts" in text
    assert "alone, the error is lower in 1, about the same in 1, higher in 1 of 3 cohorts" in text
    assert f"(median difference +0.1{NARROW}%)" in text
    assert MINUS in text


def test_nothing_run_says_nothing() -> None:
    empty = pd.DataFrame()
    assert headline.opening(empty) == ""
    assert headline.findings(["VLO"], empty, empty) == []


def test_completion_names_baseline_floor_and_validation(results: dict[str, pd.DataFrame]) -> None:
    scores = results["completion_scores"]
    summary = tables.completion_summary(scores[scores["space"] == "log_tpm"])
    vlo, mob = (
        headline.completion_sentence(summary[summary["cohort"] == c]) for c in ("VLO", "MOB")
    )
    assert vlo.startswith("On the test slides the best completer is spackle: MSE 0.60")
    assert "for gene_mean and" in vlo
    assert "for the Poisson floor; it removes 5" in vlo
    assert mob.startswith("On the val slides (validation score)")
