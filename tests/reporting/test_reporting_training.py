"""What cards tell becomes one row each; what failed is told and never hidden."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from reporting_samples import cards_of

from spared_benchmark.reporting import schemas, training


@pytest.fixture
def table() -> pd.DataFrame:
    return training.training_table(cards_of("VLO"), "VLO")


def _row(table: pd.DataFrame, method: str) -> pd.Series:
    return table.set_index("method").loc[method]


def test_every_card_has_its_row(table: pd.DataFrame) -> None:
    schemas.check(table, schemas.TRAINING, "VLO")
    assert dict(zip(table["method"], table["role"], strict=True)) == {
        "spackle": "completer",
        "train_mean": "control",
        "colour_ridge": "control",
        "vit_b": "method",
        "small_cnn": "method",
        "stnet": "method",
    }


def test_costs_are_those_of_all_trials(table: pd.DataFrame) -> None:
    row = _row(table, "vit_b")
    assert (row["trials"], row["diverged"], row["micro_batches"]) == (2, 1, 2)
    assert row["spot_views"] == 51_200
    assert row["seconds_per_1000_views"] == pytest.approx(1000 * 20 / 51_200)
    assert row["peak_memory_mb"] == 410.5
    assert (row["learning_rate"], row["best_step"]) == ("0.001", "300, 250")
    assert _row(table, "small_cnn")["learning_rate"] == "0.001, 0.01"
    solved = _row(table, "colour_ridge")
    assert pd.isna(solved["seconds_per_1000_views"])
    assert (solved["learning_rate"], solved["trials"]) == ("", 0)


def test_a_completer_tells_its_best_trial(table: pd.DataFrame) -> None:
    row = _row(table, "spackle")
    assert (row["target"], row["learning_rate"], row["val_mse"]) == ("", "0.001", 0.82)


def test_only_the_name_of_a_file_of_weights_is_told() -> None:
    card = {**cards_of("VLO")[2], "settings": {"weights": "/data/secret/vit.safetensors"}}
    assert training.training_table([card], "VLO")["weights"].item() == "vit.safetensors"


def test_the_table_survives_the_disk(table: pd.DataFrame, tmp_path) -> None:
    table.to_parquet(tmp_path / "t.parquet", index=False)
    again = schemas.check(pd.read_parquet(tmp_path / "t.parquet"), schemas.TRAINING, "VLO")
    assert training.failures(again) == training.failures(table)
    assert training.training_grid(again, "VLO") == training.training_grid(table, "VLO")


def test_failures_of_one_reason_share_a_line(table: pd.DataFrame) -> None:
    second = table[table["method"] == "stnet"].assign(target="raw")
    lines = training.failures(pd.concat([table, second], ignore_index=True))
    told = "DivergedError: every trial diverged on VLO (learning rates 0.1)"
    assert lines == [f"Failed: stnet on spackle, raw, VLO: {told}"]
    assert training.failures(table.assign(reason="x" * 1000))[0].endswith("x …")
    assert training.failures(schemas.TRAINING.empty()) == []


@pytest.mark.parametrize(
    ("size", "weights", "words"),
    [
        ("small", "none", "no pre-training, small models: no ranking of the published models"),
        ("paper", "none", "no pre-training: no ranking of the published models"),
        ("tiny", "pretrained", "small models: no ranking of the published models"),
        ("paper", "pretrained", ""),
    ],
)
def test_limits_follow_sizes_and_weights(
    table: pd.DataFrame, size: str, weights: str, words: str
) -> None:
    methods = table[table["role"] == "method"].assign(size=size, weights=weights)
    others = table[table["role"] != "method"].assign(size="tiny", weights="none")
    assert training.limits(pd.concat([methods, others])) == words


def test_the_grid_says_why_a_cell_is_empty(table: pd.DataFrame) -> None:
    grid = training.training_grid(table, "VLO")
    predictors, completers = grid.groups
    assert completers.label == "Completers"
    cells = {row[0].text: row for group in grid.groups for row in group.rows}
    assert cells["vit_b"][2].text == "small, no weights"
    assert cells["vit_b"][6].text == "2, 1 diverged*"
    assert cells["stnet"][2].text == "failed"
    assert "every trial diverged" in cells["stnet"][2].title
    assert all(cell.title for row in cells.values() for cell in row if cell.text == "–")
    assert len(predictors.rows) == 5
    assert np.isfinite(cells["vit_b"][8].sort)
