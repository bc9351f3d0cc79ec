"""A small simulated slide in each layout, written anew for every test that breaks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spared_benchmark.simulation import SimulatedSlide, simulate_slide, write_slide
from spared_benchmark.study import Cohort


def make_cohort(lattice: str, layout: str, image: str | None = "hires", **changes: Any) -> Cohort:
    return Cohort.model_validate(
        {
            "title": "test",
            "organism": "simulated",
            "tissue": "simulated",
            "lattice": lattice,
            "format": layout,
            "licence": "CC0-1.0",
            "citation": "none",
            "simulation": {"spots": 40, "genes": 30, "spot_diameter_px": 8},
            "slides": {
                "S1": {"subject": "P1", "split": "train", "image": image},
                "S2": {"subject": "P2", "split": "val", "image": image},
            },
            **changes,
        }
    )


@pytest.fixture(scope="session")
def visium_cohort() -> Cohort:
    return make_cohort("hexagonal", "space_ranger")


@pytest.fixture(scope="session")
def legacy_cohort() -> Cohort:
    return make_cohort("square", "legacy_st")


@pytest.fixture(scope="session")
def visium_slide(visium_cohort: Cohort) -> SimulatedSlide:
    return simulate_slide(visium_cohort, "SIM", "S1")


@pytest.fixture(scope="session")
def legacy_slide(legacy_cohort: Cohort) -> SimulatedSlide:
    return simulate_slide(legacy_cohort, "SIM", "S1")


@pytest.fixture
def visium(tmp_path: Path, visium_cohort: Cohort, visium_slide: SimulatedSlide) -> Path:
    write_slide(tmp_path / "S1", visium_slide, visium_cohort)
    return tmp_path / "S1"


@pytest.fixture
def legacy(tmp_path: Path, legacy_cohort: Cohort, legacy_slide: SimulatedSlide) -> Path:
    write_slide(tmp_path / "S1", legacy_slide, legacy_cohort)
    return tmp_path / "S1"
