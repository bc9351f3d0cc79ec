"""The peak of a block is its own, and blocks within it or beside it do not lose it."""

import mmap
import sys

import numpy as np
import pytest

from spared_benchmark.training import memory
from spared_benchmark.training.memory import PeakMemory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux starts its peak anew")


def touch(megabytes):
    # Fresh pages: an array may lie in those that the process holds already, which do not count.
    with mmap.mmap(-1, megabytes * 1_000_000) as pages:
        for start in range(0, len(pages), mmap.PAGESIZE):
            pages[start] = 1


def test_a_block_within_starts_its_peak_anew_and_loses_none():
    with PeakMemory() as outer:
        touch(64)
        with PeakMemory() as inner:
            touch(16)
            assert 10 < inner.megabytes() < 30
    assert 60 < outer.megabytes() < 90


def test_a_block_within_counts_for_the_one_around():
    with PeakMemory() as outer:
        with PeakMemory():
            touch(64)
        with PeakMemory():
            touch(8)
    assert 60 < outer.megabytes() < 90


def test_what_comes_after_the_block_does_not_count():
    with PeakMemory() as block:
        touch(8)
    touch(64)
    assert block.megabytes() < 30


def test_where_the_system_tells_nothing_there_is_no_number(monkeypatch):
    monkeypatch.setattr(memory, "_field", lambda name: float("nan"))
    with PeakMemory() as block:
        assert np.isnan(block.megabytes())
