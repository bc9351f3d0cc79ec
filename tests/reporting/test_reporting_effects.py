"""Whether completion helps is said by intervals, and chance by exchanged labels."""

from __future__ import annotations

import pandas as pd
import pytest
from reporting_samples import comparisons_of, predicted_of

from spared_benchmark.reporting import differences, effects, predicting, tables
from spared_benchmark.reporting.numbers import MINUS

NBSP = "\N{NO-BREAK SPACE}"


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = tables.prediction_summary(predicted_of("VLO"))
    return rows[rows["space"] == "combat"]


@pytest.fixture
def compared() -> pd.DataFrame:
    rows = comparisons_of("VLO")
    return rows[rows["space"] == "combat"]


def _difference(low: float, high: float, subjects: tuple[float, float] | None = None):
    rows = [{"over": "blocks", "low": low, "high": high, "units": 40}]
    if subjects:
        rows.append({"over": "subjects", "low": subjects[0], "high": subjects[1], "units": 3})
    return pd.DataFrame(rows).assign(value=-0.012, against="raw")


@pytest.mark.parametrize(
    ("ends", "subjects", "word"),
    [
        ((-0.02, -0.004), None, "better"),
        ((0.004, 0.02), None, "worse"),
        ((-0.02, 0.004), None, "undecided"),
        ((-0.02, -0.004), (-0.03, -0.001), "better"),
        ((-0.02, -0.004), (-0.03, 0.01), "undecided"),
        ((float("nan"), float("nan")), None, "undecided"),
    ],
)
def test_every_interval_must_exclude_zero(ends, subjects, word: str) -> None:
    assert differences.verdict(_difference(*ends, subjects)) == word


def test_the_cell_tells_value_interval_and_subjects() -> None:
    cell = differences.difference_cell(_difference(-0.02, -0.004, (-0.03, 0.01)), "absent")
    ends = f"({MINUS}0.020{NBSP}to{NBSP}{MINUS}0.004)"
    assert cell.text == f"undecided{NBSP}{MINUS}0.012 {ends}"
    assert cell.title.startswith("Minus raw; 40 blocks; over 3 subjects (")
    assert differences.difference_cell(pd.DataFrame(), "absent").title == "absent"
    nothing = _difference(float("nan"), float("nan"))
    assert differences.difference_cell(nothing, "").text.endswith(f"(no{NBSP}interval)")


def test_of_one_seed_nothing_is_better_or_worse() -> None:
    rows = _difference(-0.02, -0.004, (-0.03, -0.001))
    several = rows.assign(over=rows["over"] + " and seeds")
    assert differences.verdict(several) == "better"
    assert "40 blocks and seeds; over 3 subjects and seeds" in _cell(several).title
    once = rows.assign(over=rows["over"] + " of one seed")
    assert differences.verdict(once) == "undecided"
    assert _cell(once).text.startswith(f"undecided, one seed{NBSP}{MINUS}0.012")
    assert "40 blocks of one seed; over 3 subjects of one seed" in _cell(once).title


def _cell(rows: pd.DataFrame):
    return differences.difference_cell(rows, "absent")


def test_each_predictor_stands_beside_itself(summary: pd.DataFrame, compared: pd.DataFrame) -> None:
    methods, controls = effects.effect_grid(summary, compared, "VLO").groups
    rows = {(row[0].text, row[1].text): row for row in (*methods.rows, *controls.rows)}
    assert {target for _, target in rows} == {"median", "spackle"}
    known = summary.set_index(["predictor", "target"])["mse"]
    row = rows["vit_b", "spackle"]
    assert [row[place].sort for place in (2, 3, 5)] == [
        known["vit_b", target] for target in ("spackle", "raw", "measured")
    ]
    assert row[6].text.startswith(f"better{NBSP}{MINUS}0.020")
    assert rows["small_cnn", "median"][6].text.startswith("worse")
    assert rows["feature_ridge", "median"][6].text.startswith("undecided")
    assert "colour_ridge" in {row[0].text for row in controls.rows}
    names = {name for name, _ in rows}
    assert not names & {"vit_b_shuffled", "floor", "library_size"}


def test_without_completed_targets_measured_is_judged(
    summary: pd.DataFrame, compared: pd.DataFrame
) -> None:
    own = summary[summary["target"].isin(["raw", "measured"])]
    grid = effects.effect_grid(own, compared, "VLO")
    assert {row[1].text for group in grid.groups for row in group.rows} == {"measured"}
    assert effects.tally(own, compared) == ""


def test_other_settings_stand_beside_the_plain_predictor(
    summary: pd.DataFrame, compared: pd.DataFrame
) -> None:
    assert effects.settings_grid(summary, compared, "VLO").groups == ()
    assert predicting.settings_blocks(summary, compared, "combat") == []
    own = summary[(summary["predictor"] == "vit_b") & (summary["target"] == "measured")]
    wide = own.assign(predictor="vit_b-wide", mse=own["mse"] + 0.5)
    rows = compared[(compared["comparison"] == "target") & (compared["predictor"] == "vit_b")]
    pair = rows.iloc[:1].assign(
        comparison="settings", predictor="vit_b-wide", target="measured", against="vit_b"
    )
    pair = pair.assign(value=0.5, low=0.4, high=0.6)
    both = pd.concat([summary, wide])
    (group,) = effects.settings_grid(both, pd.concat([compared, pair]), "VLO").groups
    (row,) = group.rows
    mse = float(own["mse"].iloc[0])
    assert [row[place].sort for place in (2, 3)] == [mse + 0.5, mse]
    assert row[0].text == "vit_b-wide"
    assert row[4].text.startswith(f"worse{NBSP}+0.500")
    (block,) = predicting.settings_blocks(both, pd.concat([compared, pair]), "combat")
    assert "other settings" in block.title


def test_with_one_target_there_is_nothing_to_judge(
    summary: pd.DataFrame, compared: pd.DataFrame
) -> None:
    own = summary[summary["target"] == "measured"]
    alone = compared[compared["comparison"] != "target"]
    assert predicting.effect_blocks(own, compared, "combat")
    assert predicting.effect_blocks(own, alone, "combat") == []


def test_the_tally_counts_methods_alone(summary: pd.DataFrame, compared: pd.DataFrame) -> None:
    assert effects.tally(summary, compared) == (
        "Predictor by predictor and completed target, by 95 % intervals: against raw 10 better; "
        "against measured 2 better, 2 worse, 6 undecided."
    )
    assert effects.tally(summary, pd.DataFrame()) == ""
    once = effects.tally(summary, compared.assign(over="blocks of one seed"))
    assert "against raw 10 undecided; against measured 10 undecided." in once
    assert once.endswith("trained with one seed are undecided; several seeds would tell.")


def test_exchanged_labels_at_chance_and_beyond(compared: pd.DataFrame) -> None:
    sentence = effects.shuffled_sentence(compared)
    assert sentence == (
        "Fitted to exchanged labels: PCC by gene 0.004 in 4 trainings; zero lies in the interval "
        "of 4; no error is below train_mean's."
    )
    leaky = compared.copy()
    own = (leaky["comparison"] == "shuffled") & (leaky["target"] == "raw")
    leaky.loc[own & (leaky["metric"] == "pcc_gene"), ["value", "low", "high"]] = [0.3, 0.2, 0.4]
    error = own & (leaky["metric"] == "mse_difference")
    leaky.loc[error, ["value", "low", "high"]] = [-0.3, -0.4, -0.2]
    sentence = effects.shuffled_sentence(leaky)
    assert "in the interval of 3, not of vit_b_shuffled on raw (0.300" in sentence
    assert (
        f"errors below train_mean's, by luck or by a leak: vit_b_shuffled on raw ({MINUS}0.300)"
        in sentence
    )
    once = leaky.assign(over=leaky["over"].mask(error, "blocks of one seed"))
    assert effects.shuffled_sentence(once) == sentence, "a leak is told of, of one seed too"
    single = effects.shuffled_sentence(compared.assign(over="blocks"))
    assert "of one exchange of labels, it may well lie outside by luck" in single
    assert effects.shuffled_sentence(pd.DataFrame()) == ""


def test_what_reads_the_truth_stands_once_and_apart(
    summary: pd.DataFrame, compared: pd.DataFrame
) -> None:
    (block,) = predicting.prediction_blocks(summary, compared, "combat")
    methods, controls, made = block.grids[0].groups
    assert [row[0].text for row in made.rows] == [
        *("library_size", "floor", "truth_low_rank", "truth_neighbours")
    ]
    assert {row[1].title for row in made.rows} == {"Made from true values"}
    assert "vit_b_shuffled" in {row[0].text for row in controls.rows}
    assert "vit_b_smoothed" in {row[0].text for row in methods.rows}
    assert not any(cell.best for row in (*controls.rows, *made.rows) for cell in row)
    assert {row[3].title for row in methods.rows} == {"Minus colour_ridge; 74 blocks"}


def test_controls_that_read_the_slide_or_exchanged_labels_are_no_rivals(
    summary: pd.DataFrame,
) -> None:
    assert set(tables.rivals(summary)["predictor"]) == {"train_mean", "coordinates", "colour_ridge"}
    cheap = summary.assign(
        mse=summary["mse"].mask(summary["predictor"].isin(["library_size", "vit_b_shuffled"]), 0.1)
    )
    before, after = (tables.target_summary(rows) for rows in (summary, cheap))
    assert before["control_mse"].tolist() == after["control_mse"].tolist()
    assert set(after["target"]) == {"raw", "measured", "median", "spackle"}
