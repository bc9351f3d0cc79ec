from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from spared_benchmark.completion.cost import measured

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux starts its peak anew")


def test_seconds_are_by_the_clock():
    with measured() as cost:
        time.sleep(0.05)
    assert 0.05 <= cost.seconds < 1


@LINUX
def test_memory_is_the_peak_and_not_what_is_left():
    with measured() as cost:
        np.ones(8_000_000).sum()  # 64 MB, gone at once
    assert 60 < cost.memory_mb < 90


@LINUX
def test_an_earlier_peak_does_not_count():
    np.ones(16_000_000).sum()
    with measured() as cost:
        np.ones(1_000_000).sum()
    assert cost.memory_mb < 20


def test_work_that_fails_is_measured_too():
    with pytest.raises(ValueError, match="no"), measured() as cost:
        raise ValueError("no")
    assert cost.seconds >= 0
    assert not np.isnan(cost.memory_mb)
