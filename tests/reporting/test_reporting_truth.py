"""The table against the true expression: by hand, for simulated cohorts alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spared_benchmark.reporting import report, tables
from spared_benchmark.reporting.truth import NOTE, truth_grid, truth_summary
from spared_benchmark.study import Study

METRICS = ("true_mse", "true_mse_missing", "true_pcc_gene")
# By completer: kind, and each metric in the first of two assays; 0.2 more in the second.
SCORES = {
    "ridge": ("method", 0.4, 2.0, 0.7),
    "additive": ("method", 0.6, 1.5, 0.5),
    "one_count": ("control", 3.0, 1.0, 0.9),
    "measured": ("control", 0.3, np.nan, np.nan),
}


def true_scores(cohort: str = "MOB", split: str = "val", regime: str = "entries") -> pd.DataFrame:
    head = {"cohort": cohort, "protocol": "transductive", "space": "log_tpm", "regime": regime}
    rows = [
        {**head, "hidden_fraction": 0.3, "assay": assay, "split": split, "slide": slide}
        | {"completer": completer, "kind": kind, "metric": metric, "n": 10}
        | {"value": value + 0.2 * assay + (9 if slide else 0)}
        for completer, (kind, *values) in SCORES.items()
        for metric, value in zip(METRICS, values, strict=True)
        for assay in (0, 1)
        for slide in ("", "S")
        if np.isfinite(value)
    ]
    return pd.DataFrame(rows)


def test_means_over_assays_of_what_is_read_first() -> None:
    scores = [true_scores(regime="blocks"), true_scores(), true_scores("VLO", "test")]
    summary = truth_summary(pd.concat(scores, ignore_index=True))
    assert set(summary["regime"]) == {"entries"}
    assert list(summary["cohort"].drop_duplicates()) == ["MOB", "VLO"]
    own = summary[summary["cohort"] == "MOB"].set_index("completer")
    assert list(own.index) == ["ridge", "additive", "measured", "one_count"]
    assert own.loc["ridge", list(METRICS)].tolist() == pytest.approx([0.5, 2.1, 0.8])
    assert own.loc["ridge", "true_mse_sd"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert own["validation"].all()
    best = {metric: own.index[own[f"{metric}_best"]].tolist() for metric in METRICS}
    expected = {"true_mse": ["ridge"], "true_mse_missing": ["additive"]}
    assert best == {**expected, "true_pcc_gene": ["ridge"]}


def test_cells_say_what_is_best_and_why_nothing_is_there() -> None:
    methods, controls = truth_grid(truth_summary(true_scores()), "MOB").groups
    assert [cell.text for cell in methods.rows[0]][:2] == [
        "ridge",
        "0.500 ± 0.141".replace(" ", "\xa0"),
    ]
    assert [cell.best for cell in methods.rows[0]] == [False, True, False, True]
    assert not any(cell.best for row in controls.rows for cell in row)
    measured = controls.rows[0]
    assert measured[0].text == "measured"
    assert [cell.title for cell in measured[2:]] == ["Hidden entries alone are known"] * 2


def test_the_table_stands_with_a_truth_and_nowhere_else(
    study: Study, results: dict[str, pd.DataFrame]
) -> None:
    scores = results["completion_scores"]
    assert truth_summary(scores).empty
    assert "true expression" not in report.render(study, results, {})
    known = {**results, "completion_scores": pd.concat([scores, true_scores()], ignore_index=True)}
    page = report.render(study, known, {})
    title = "Against the true expression: entries, 30 % hidden, log2(TPM+1)"
    opened, folded = page.index(f"<summary>{title}"), page.index("batch-corrected log2(TPM+1)<")
    assert page.index("<summary>entries, 30 % hidden") < opened < folded
    assert NOTE.split(":")[0] in page
    # What is measured has no error but against the truth: other tables do not show it.
    assert "measured" not in set(tables.completion_summary(known["completion_scores"])["completer"])
