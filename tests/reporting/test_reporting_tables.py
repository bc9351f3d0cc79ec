"""Summaries against hand-computed numbers; broken tables are refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from spared_benchmark.errors import ContractError
from spared_benchmark.reporting import schemas, tables


def _completion(rows: list[tuple[object, ...]], cohort: str = "VLO") -> pd.DataFrame:
    """Rows of (split, assay, completer, kind, metric, value, n)."""
    table = pd.DataFrame(
        rows, columns=["split", "assay", "completer", "kind", "metric", "value", "n"]
    )
    head = {"cohort": cohort, "protocol": "inductive", "space": "log_tpm", "regime": "entries"}
    return table.assign(**head, hidden_fraction=0.3, slide="")


def _prediction(rows: list[tuple[object, ...]], cohort: str = "VLO") -> pd.DataFrame:
    """Rows of (split, seed, target, predictor, kind, metric, value, n)."""
    names = ["split", "seed", "target", "predictor", "kind", "metric", "value", "n"]
    head = {"cohort": cohort, "protocol": "inductive", "space": "log_tpm", "slide": ""}
    return pd.DataFrame(rows, columns=names).assign(**head)


HAND = [
    ("test", 0, "slide_gene_mean", "control", "mse", 0.8, 100),
    ("test", 1, "slide_gene_mean", "control", "mse", 0.9, 100),
    ("test", 0, "floor", "ceiling", "mse", 0.4, 100),
    ("test", 1, "floor", "ceiling", "mse", 0.4, 100),
    ("test", 0, "ours", "method", "mse", 0.6, 100),
    ("test", 1, "ours", "method", "mse", 0.5, 100),
    ("test", 0, "ours", "method", "pcc_gene", 0.5, 7),
    ("test", 1, "ours", "method", "pcc_gene", 0.3, 8),
    ("test", 0, "median", "method", "mse", 0.84, 100),
    ("test", 1, "median", "method", "mse", 0.84, 100),
    ("test", 0, "median", "method", "pcc_gene", np.nan, 0),
    ("test", 1, "median", "method", "pcc_gene", np.nan, 0),
    ("val", 0, "ours", "method", "mse", 0.01, 100),
]


def test_completion_summary_equals_hand_computation() -> None:
    summary = tables.completion_summary(_completion(HAND)).set_index("completer")
    ours = summary.loc["ours"]
    assert ours["mse"] == pytest.approx(0.55)
    assert ours["mse_sd"] == pytest.approx(np.std([0.6, 0.5], ddof=1))
    assert ours["pcc_gene"] == pytest.approx(0.4)
    # (0.8 - 0.6) / (0.8 - 0.4) = 0.5 and (0.9 - 0.5) / (0.9 - 0.4) = 0.8, assay by assay
    assert ours["share"] == pytest.approx(0.65)
    assert ours["n_genes"] == pytest.approx(7.5)
    assert (ours["assays"], ours["split"], bool(ours["validation"])) == (2, "test", False)
    assert summary.loc["slide_gene_mean", "share"] == pytest.approx(0.0)
    assert np.isnan(summary.loc["floor", "share"])
    assert np.isnan(summary.loc["median", "pcc_gene"])


def test_only_methods_are_ranked_and_controls_stand_below() -> None:
    better_control = [*HAND, ("test", 0, "oracle", "control", "mse", 0.1, 100)]
    summary = tables.completion_summary(_completion(better_control))
    assert summary.loc[summary["best_mse"], "completer"].tolist() == ["ours"]
    assert summary.loc[summary["best_pcc"], "completer"].tolist() == ["ours"]
    assert summary["kind"].tolist() == ["method", "method", "control", "control", "ceiling"]


def test_cohort_without_test_slide_is_a_validation_score() -> None:
    on_val = _completion([("val", *row[1:]) for row in HAND[:-1]], "MOB")
    both = pd.concat([_completion(HAND), on_val])
    summary = tables.completion_summary(both)
    assert dict(summary.groupby("cohort")["validation"].first()) == {"VLO": False, "MOB": True}


def test_floor_without_an_assay_serves_every_assay() -> None:
    rows = [row for row in HAND if row[2] != "floor"]
    rows.append(("test", np.nan, "floor", "ceiling", "mse", 0.4, 100))
    summary = tables.completion_summary(_completion(rows)).set_index("completer")
    assert summary.loc["ours", "share"] == pytest.approx(0.65)
    assert summary.loc["floor", "mse"] == pytest.approx(0.4)


def test_seconds_are_told_and_are_no_assay() -> None:
    rows = [*HAND, ("", -1, "ours", "method", "seconds", 12.5, 1)]
    summary = tables.completion_summary(_completion(rows)).set_index("completer")
    assert summary.loc["ours", ["assays", "seconds"]].tolist() == [2, 12.5]
    assert np.isnan(summary.loc["median", "seconds"])


def test_share_is_undefined_without_floor_or_when_it_lies_above_the_mean() -> None:
    without = [row for row in HAND if row[2] != "floor"]
    above = [*without, ("test", np.nan, "floor", "ceiling", "mse", 0.95, 100)]
    for rows in (without, above):
        assert tables.completion_summary(_completion(rows))["share"].isna().all()


def test_prediction_summary_averages_seeds_and_marks_the_best_method() -> None:
    scores = _prediction(
        [
            ("test", 1, "raw", "vit_b", "method", "mse", 6.0, 50),
            ("test", 2, "raw", "vit_b", "method", "mse", 7.0, 50),
            ("test", 1, "measured", "vit_b", "method", "mse", 0.9, 50),
            ("test", 2, "measured", "vit_b", "method", "mse", 0.7, 50),
            ("test", 1, "spackle", "cnn", "method", "mse", 0.84, 50),
            ("test", 1, "spackle", "colour", "control", "mse", 0.5, 50),
        ]
    )
    summary = tables.prediction_summary(scores)
    best = summary[summary["best_mse"]].iloc[0]
    assert (best["target"], best["predictor"], best["seeds"]) == ("measured", "vit_b", 2)
    assert best["mse"] == pytest.approx(0.8)
    assert best["mse_sd"] == pytest.approx(np.std([0.9, 0.7], ddof=1))

    targets = tables.target_summary(summary).set_index("target")
    assert targets.index.tolist() == ["raw", "measured", "spackle"]
    assert targets["role"].tolist() == ["raw", "measured", "completed"]
    assert targets.loc["spackle", "mse"] == pytest.approx(0.84)
    assert targets.loc["spackle", "control_mse"] == pytest.approx(0.5)
    assert np.isnan(targets.loc["raw", "control_mse"])


def test_slides_do_not_enter_pooled_numbers() -> None:
    scores = _completion(HAND)
    of_slide = scores.assign(slide="S1", value=99.0)
    expected = tables.completion_summary(scores)
    pd.testing.assert_frame_equal(
        tables.completion_summary(pd.concat([scores, of_slide])), expected
    )


def test_collect_keeps_order_and_names_missing_cohorts(results: dict[str, pd.DataFrame]) -> None:
    scores = results["completion_scores"]
    given = {
        "MOB": scores[scores["cohort"] == "MOB"],
        "VKO": None,
        "VLO": scores[scores["cohort"] == "VLO"],
    }
    collected = tables.collect(given)
    assert tables.missing(given) == ["VKO"]
    assert tables.in_order(collected["cohort"]) == ["MOB", "VLO"]
    assert len(collected) == len(scores)
    assert collected.index.is_unique


def test_collect_of_nothing_is_an_empty_table() -> None:
    empty = tables.collect({"VLO": None}, "prediction_scores")
    assert tuple(empty.columns) == schemas.PREDICTION.columns
    assert tables.prediction_summary(empty).empty
    assert tables.collect({"VLO": None}).empty
    with pytest.raises(ContractError, match="did you mean 'gene_scores'"):
        tables.collect({"VLO": None}, "gene_score")


def test_infer_tells_every_schema_apart(results: dict[str, pd.DataFrame]) -> None:
    for name, table in results.items():
        assert schemas.infer(table).name == name
    for schema in schemas.SCHEMAS.values():
        assert schemas.infer(schema.empty()) is schema


def test_pooled_slide_may_be_none() -> None:
    scores = _completion(HAND).assign(slide=None)
    assert set(tables.collect({"VLO": scores})["slide"]) == {""}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="metric"), r"cohort 'VLO': column 'metric' is missing"),
        (lambda t: t.assign(metrics=1), r"unknown column 'metrics' \(did you mean 'metric'\?\)"),
        (lambda t: t.assign(kind="methods"), r"'kind' holds 'methods' \(did you mean 'method'\?\)"),
        (
            lambda t: t.assign(split="dev"),
            r"'split' holds 'dev'; allowed: 'train', 'val', 'test', ''",
        ),
        (lambda t: t.assign(value="high"), r"column 'value' must hold numbers"),
        (lambda t: t.assign(cohort="VKO"), r"column 'cohort' holds 'VKO'; only 'VLO' is allowed"),
        (lambda t: pd.concat([t, t.head(1)]), r"1 rows repeat a key, the first is \{'cohort'"),
    ],
)
def test_broken_tables_are_refused_with_the_column_named(spoil, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        tables.collect({"VLO": spoil(_completion(HAND))}, "completion_scores")


def test_ingestion_tables_may_say_more() -> None:
    row = {column: [1] for column in schemas.INGESTION.columns}
    table = pd.DataFrame({**row, "cohort": ["VLO"], "chemistry": ["v1"]})
    assert "chemistry" in tables.collect({"VLO": table}, "ingestion").columns
