"""What splits share is an error or a warning by rule, and never passes silently."""

from __future__ import annotations

import logging

import pandas as pd
import pytest

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.pipelines.ingestion.nodes import check_splits as node
from spared_benchmark.pipelines.ingestion.nodes import ingest_slide, tabulate_ingestion
from spared_benchmark.reporting.schemas import SHARED
from spared_benchmark.simulation import SimulatedSlide, simulate_slide
from spared_benchmark.slides.gate import FINDINGS, check_splits, find_shared
from spared_benchmark.study import Cohort, GateSettings

HASHES = [f"{number:08x}" * 8 for number in (0x0F5A_3C96, 0x55AA_1234, 0xC0FF_EE11, 0x9137_BD20)]
LENIENT = GateSettings(same_slide="warning", same_image="warning")


def slides(cohort: str = "MINE", **columns: list[str]) -> pd.DataFrame:
    """Return three slides that share nothing, one in each split."""
    table = pd.DataFrame(
        {
            "cohort": cohort,
            "slide": ["A", "B", "C"],
            "subject": ["P1", "P2", "P3"],
            "split": ["train", "val", "test"],
            "source_digest": [f"{cohort} file {number}" for number in range(3)],
            "counts_digest": [f"{cohort} counts {number}" for number in range(3)],
            "image_digest": [f"{cohort} image {number}" for number in range(3)],
            "image_hash": HASHES[:3],
        }
    )
    return table.assign(**columns)


def other(**columns: list[str]) -> pd.DataFrame:
    """Return a cohort with images of its own."""
    strange = {"image_hash": [HASHES[3][number:] + HASHES[3][:number] for number in (0, 3, 5)]}
    return slides("OTHER", **{**strange, "slide": ["X", "Y", "Z"], **columns})


def test_slides_of_their_own_pass(caplog: pytest.LogCaptureFixture) -> None:
    findings = check_splits(slides(), GateSettings())

    assert list(findings.columns) == list(FINDINGS) == list(SHARED.columns)
    assert len(findings) == 0
    assert not caplog.records


def test_a_subject_in_two_splits_is_a_warning_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    findings = check_splits(slides(subject=["P1", "P2", "P1"]), GateSettings())

    row = findings.iloc[0]
    assert len(findings) == 1
    assert (row["cohort"], row["rule"], row["severity"]) == ("MINE", "same_subject", "warning")
    assert (row["slides"], row["splits"]) == ("A, C", "train, test")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "subject P1 has slides in several splits: A (train), C (test)" in caplog.text


def test_a_subject_in_one_split_is_none() -> None:
    table = slides(subject=["P1", "P2", "P1"], split=["train", "val", "train"])

    assert len(check_splits(table, GateSettings())) == 0


@pytest.mark.parametrize(
    ("rule", "columns", "reason"),
    [
        ("same_slide", {"source_digest": ["s", "t", "s"]}, "have the same files"),
        ("same_slide", {"counts_digest": ["s", "t", "s"]}, "have the same counts"),
        ("same_image", {"image_digest": ["s", "t", "s"]}, "have the same pixels"),
        (
            "same_image",
            {"image_hash": [HASHES[0], HASHES[1], "f" + HASHES[0][1:]]},
            r"have one picture \(3 of 255 bits differ, 48 may\)",
        ),
        ("same_subject", {"subject": ["s", "t", "s"]}, "subject s has slides in several splits"),
    ],
)
def test_an_error_ends_the_run_and_says_how_to_mend_it(
    rule: str, columns: dict[str, list[str]], reason: str
) -> None:
    rules = GateSettings(same_subject="error")

    with pytest.raises(InputError, match=reason) as error:
        check_splits(slides(**columns), rules)

    message = str(error.value)
    assert f"MINE: {rule}: " in message
    assert "A (train), C (test)" in message
    assert "study.leave_out" in message
    assert f"study.gate: {{{rule}: warning}}" in message
    findings = check_splits(slides(**columns), GateSettings.model_validate({rule: "warning"}))
    assert list(findings["rule"]) == [rule]


def test_every_error_is_told_at_once() -> None:
    table = slides(counts_digest=["s", "s", "t"], image_digest=["u", "v", "v"])

    with pytest.raises(InputError, match=r"2 thing\(s\) are shared") as error:
        check_splits(table, GateSettings())

    assert "same_slide: A (train), B (val) have the same counts" in str(error.value)
    assert "same_image: B (val), C (test) have the same pixels" in str(error.value)


def test_copies_within_a_split_are_warnings() -> None:
    table = slides(counts_digest=["s", "s", "t"], split=["train", "train", "val"])

    findings = check_splits(table, GateSettings())

    assert list(findings["severity"]) == ["warning"]
    assert findings.loc[0, "splits"] == "train"


def test_copies_of_copies_are_one_finding() -> None:
    table = slides(source_digest=["s", "s", "t"], counts_digest=["u", "v", "v"])

    findings = check_splits(table, LENIENT)

    assert list(findings["slides"]) == ["A, B, C"]
    assert "the same counts and the same files" in findings.loc[0, "detail"]


def test_slides_without_image_are_compared_by_counts_and_named() -> None:
    blind = {"image_digest": ["", "i", ""], "image_hash": ["", HASHES[1], ""]}

    findings = check_splits(slides(**blind), GateSettings())

    assert list(findings["rule"]) == ["no_image"]
    assert findings.loc[0, "detail"] == "A, C: no image, so compared by files and counts alone"
    with pytest.raises(InputError, match="the same counts"):
        check_splits(slides(**blind, counts_digest=["s", "t", "s"]), GateSettings())


def test_a_table_without_identities_is_refused() -> None:
    with pytest.raises(ContractError, match=r"no column 'counts_digest'.*run ingestion again"):
        check_splits(slides().drop(columns="counts_digest"), GateSettings())


def test_a_cohort_within_another_is_told_with_its_other_splits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mine = slides(counts_digest=["c1", "c2", "c3"])
    others = other(counts_digest=["c3", "c1", "c2"])

    findings = check_splits(mine, GateSettings(), others)

    row = findings.iloc[0]
    assert len(findings) == 1
    assert (row["cohort"], row["rule"], row["severity"]) == (
        "MINE, OTHER",
        "same_cohort",
        "warning",
    )
    assert row["slides"] == "A, B, C, Y, Z, X"
    assert "3 of the 3 slides of MINE and 3 of the 3 slides of OTHER" in row["detail"]
    assert "A (train in MINE, val in OTHER)" in row["detail"]
    assert "averages over cohorts count them twice" in caplog.text
    caplog.clear()
    recorded = find_shared(pd.concat([mine, others]), GateSettings(same_cohort="error"))
    assert recorded["severity"].tolist() == ["error"], "the report records and refuses nothing"
    assert recorded["detail"].tolist() == findings["detail"].tolist()
    assert not caplog.records


def test_what_other_cohorts_share_among_them_is_their_own_gates_concern() -> None:
    third = slides("THIRD", image_hash=["", "", ""], counts_digest=["x", "y", "z"])
    others = pd.concat([other(counts_digest=["x", "y", "z"], subject=["P", "P", "P"]), third])

    assert len(check_splits(slides(), GateSettings(same_cohort="error"), others)) == 0
    assert len(check_splits(slides(), GateSettings(), others.iloc[:0])) == 0
    between = find_shared(pd.concat([slides(), others]), GateSettings())
    assert "OTHER, THIRD" in between["cohort"].tolist()


def test_one_slide_in_two_cohorts_is_found_by_its_image_too() -> None:
    table = pd.concat([slides(), other(image_hash=[HASHES[2], "", ""])])

    findings = find_shared(table, GateSettings())

    between = findings[findings["rule"] == "same_cohort"]
    assert len(between) == 1
    assert "1 of the 3 slides of MINE and 1 of the 3 slides of OTHER" in between.iloc[0]["detail"]
    assert "C (test in MINE, train in OTHER)" in between.iloc[0]["detail"]


def test_cohorts_that_share_end_the_run_by_rule() -> None:
    mine = slides(source_digest=["s", "t", "s"])
    others = other(counts_digest=["x", "MINE counts 0", "z"])

    with pytest.raises(InputError, match="MINE, OTHER: same_cohort") as error:
        check_splits(mine, GateSettings(same_cohort="error"), others)

    assert "MINE: same_slide: A (train), C (test)" in str(error.value), "all is told at once"
    assert "take one of the cohorts out of study.cohorts" in str(error.value)


def test_the_report_tells_what_each_cohort_was_allowed(caplog: pytest.LogCaptureFixture) -> None:
    table = pd.concat([slides(subject=["P1", "P1", "P1"]), other(counts_digest=["x", "x", "z"])])

    findings = find_shared(table, GateSettings())

    assert list(findings["rule"]) == ["same_subject", "same_slide"]
    assert list(findings["severity"]) == ["warning", "error"]
    assert not caplog.records, "each cohort's own gate has logged or refused them before"


def test_a_study_without_slides_shares_nothing() -> None:
    assert list(find_shared(pd.DataFrame({"cohort": []}), GateSettings()).columns) == list(FINDINGS)


SPLITS = {
    "SIM": {
        "S1": {"subject": "P", "split": "train"},
        "S2": {"subject": "P2", "split": "val"},
    },
    "OTHER": {"X": {"subject": "Q", "split": "test"}},
}
NOTHING = pd.DataFrame(columns=["cohort", "slide"])


def test_the_node_checks_what_ingestion_found(
    visium_cohort: Cohort, visium_slide: SimulatedSlide
) -> None:
    second = simulate_slide(visium_cohort, "SIM", "S2")
    identities = {
        "identity:S1": ingest_slide(visium_slide.raw)[2],
        "identity:S2": ingest_slide(second.raw)[2],
    }

    assert len(node("SIM", SPLITS, GateSettings(), NOTHING, **identities)) == 0
    identities["identity:S2"] = identities["identity:S1"]
    with pytest.raises(InputError, match=r"SIM: same_slide: S1 \(train\), S2 \(val\)"):
        node("SIM", SPLITS, GateSettings(), NOTHING, **identities)
    rows = {slide: {"cohort": "SIM", "slide": slide, "subject": "P"} for slide in ("S1", "S2")}
    ingestion = tabulate_ingestion(visium_cohort, **rows, **identities)
    assert list(find_shared(ingestion, GateSettings())["rule"]) == [
        "same_subject",
        "same_slide",
        "same_image",
    ]


def identity(name: str) -> dict[str, str]:
    kinds = ("source_digest", "counts_digest", "image_digest")
    return {**{kind: f"{name} {kind}" for kind in kinds}, "image_hash": ""}


def known(*slides: tuple[str, str, str]) -> pd.DataFrame:
    rows = [{"cohort": code, "slide": slide, **identity(name)} for code, slide, name in slides]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (("OTHER", "X", "one"), True),
        (("OTHER", "Y", "one"), False),  # left out of the study, or no longer of the cohort
        (("STRANGE", "X", "one"), False),  # of another study
        (("SIM", "S2", "one"), False),  # its own as they were before
        (("OTHER", "X", "elsewhere"), False),
    ],
)
def test_the_node_compares_with_those_slides_of_the_study_that_are_there(
    there: tuple[str, str, str], found: bool
) -> None:
    own = {"identity:S1": identity("one"), "identity:S2": identity("two")}
    rules = GateSettings(same_cohort="error")

    if found:
        with pytest.raises(InputError, match=r"S1 \(train in SIM, test in OTHER\)"):
            node("SIM", SPLITS, rules, known(there), **own)
    else:
        assert "same_cohort" not in set(node("SIM", SPLITS, rules, known(there), **own)["rule"])
