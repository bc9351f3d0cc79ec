"""Cohorts that hold the same slides are told from their definitions."""

from __future__ import annotations

from typing import Any

import pytest

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


@pytest.mark.parametrize("name", ["A1", "slide1", "section_0001", "sample_2021", "P2_H2-2"])
def test_names_that_every_laboratory_uses_tell_nothing(name: str) -> None:
    slides = {name: "train"}
    assert overlaps({"ONE": cohort(slides), "TWO": cohort(slides)}) == []


@pytest.mark.parametrize("name", ["V10S29-134_A1", "v19d02-088_D1", "GSM4284316", "1142243F"])
def test_serials_are_a_sections_own(name: str) -> None:
    slides = {name: "train"}
    assert len(overlaps({"ONE": cohort(slides), "TWO": cohort(slides)})) == 1


def published(folder: str, train: list[str], val: list[str], test: list[str]) -> Cohort:
    splits = {"train": train, "val": val, "test": test}
    slides = {slide: split for split, names in splits.items() for slide in names}
    return cohort(slides, folder=folder)


def test_the_published_mouse_brain_holds_both_of_its_parts() -> None:
    """The splits of three of SpaRED's cohorts, as its version 2.2.1 defines them."""
    one, two = "V10S29-134", "V11D08-304"
    whole = published(
        "mirzazadeh_mouse_brain",
        train=[f"{one}_{area}1" for area in "ABCD"],
        val=[f"{two}_B1", f"{two}_D1"],
        test=[f"{two}_A1", f"{two}_C1"],
    )
    first = published(
        "mirzazadeh_mouse_brain_p1", [f"{one}_A1", f"{one}_C1"], [f"{one}_B1"], [f"{one}_D1"]
    )
    second = published(
        "mirzazadeh_mouse_brain_p2", [f"{two}_A1", f"{two}_C1"], [f"{two}_D1"], [f"{two}_B1"]
    )

    lines = overlaps({"MMBR": whole, "MMBP1": first, "MMBP2": second})

    assert len(lines) == 2
    assert "4 of the 8 slides of MMBR and 4 of the 4 slides of MMBP1 are the same" in lines[0]
    assert "4 of the 8 slides of MMBR and 4 of the 4 slides of MMBP2 are the same" in lines[1]
    moved = ["V10S29-134_B1", "V10S29-134_D1", "V11D08-304_B1", "V11D08-304_A1", "V11D08-304_C1"]
    assert ["".join(lines).count(f"{slide} (") for slide in moved] == [1] * 5
    assert "".join(lines).count(" in MMBR, ") == 5


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
