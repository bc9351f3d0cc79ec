"""Cohorts that hold the same slides are told from their definitions."""

from __future__ import annotations

from typing import Any

from spared_benchmark.slides.overlap import overlaps
from spared_benchmark.study import Cohort


def cohort(splits: dict[str, str], **changes: Any) -> Cohort:
    content = {
        "title": "A cohort",
        "organism": "mouse",
        "tissue": "brain",
        "lattice": "hexagonal",
        "format": "space_ranger",
        "licence": "CC0-1.0",
        "citation": "none",
        "slides": {slide: {"subject": "P", "split": split} for slide, split in splits.items()},
    }
    return Cohort.model_validate({**content, **changes})


FIRST = {"V10S29-134_A1": "train", "V10S29-134_B1": "val"}
SECOND = {"V11D08-304_A1": "train", "V11D08-304_B1": "val"}


def test_a_cohort_within_another_is_found_under_another_folder() -> None:
    whole = {**FIRST, "V10S29-134_B1": "train", **SECOND}
    cohorts = {
        "BOTH": cohort(whole, folder="brain"),
        "ONE": cohort(FIRST, folder="brain_p1"),
        "TWO": cohort(SECOND, folder="brain_p2"),
    }

    lines = overlaps(cohorts)

    assert len(lines) == 2
    assert "2 of the 4 slides of BOTH and 2 of the 2 slides of ONE are the same" in lines[0]
    assert "in another split there: V10S29-134_B1 (train in BOTH, val in ONE)" in lines[0]
    assert "slides of TWO" in lines[1]
    assert "in another split" not in lines[1]


def test_names_that_every_laboratory_uses_tell_nothing() -> None:
    short = {"A1": "train", "B1": "val"}
    assert overlaps({"ONE": cohort(short), "TWO": cohort(short)}) == []


def test_another_organism_is_another_slide() -> None:
    assert overlaps({"ONE": cohort(FIRST), "TWO": cohort(FIRST, organism="human")}) == []


def test_the_same_place_is_the_same_slide_whatever_it_is_called() -> None:
    slides = {"X": {"subject": "P", "split": "test", "source": "../ONE/A1/"}}
    lines = overlaps({"ONE": cohort({"A1": "train"}), "TWO": cohort({}, slides=slides)})

    assert len(lines) == 1
    assert "(A1 = X)" in lines[0]
    assert "A1 (train in ONE, test in TWO)" in lines[0]


def test_simulated_cohorts_share_nothing() -> None:
    simulated = {"organism": "simulated", "simulation": {}, "folder": "same"}
    assert overlaps({"ONE": cohort(FIRST, **simulated), "TWO": cohort(FIRST, **simulated)}) == []
