from __future__ import annotations

import math

import pytest

from spared_benchmark.reporting import numbers
from spared_benchmark.reporting.numbers import MINUS, NARROW, PLUS_MINUS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6, "0.600"),
        (6.6449, "6.645"),
        (22.84, "22.8"),
        (9667.0, f"9{NARROW}667"),
        (9.9996, "10.0"),
        (-0.25, f"{MINUS}0.250"),
        (-0.0001, "0.000"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_decimal(value: float | None, text: str) -> None:
    assert numbers.decimal(value) == text


def test_spread_shows_the_deviation_with_the_decimals_of_the_mean() -> None:
    assert numbers.spread(0.6, 0.0049) == f"0.600{PLUS_MINUS}0.005"
    assert numbers.spread(0.6, math.nan) == "0.600"
    assert numbers.spread(0.6, 0.0001) == f"0.600{PLUS_MINUS}<0.001"
    assert numbers.spread(math.nan, 0.1) == "–"


def test_percent() -> None:
    assert numbers.percent(0.584) == f"58{NARROW}%"
    assert numbers.percent(-0.006, 1) == f"{MINUS}0.6{NARROW}%"
    assert numbers.percent(math.nan) == "–"
