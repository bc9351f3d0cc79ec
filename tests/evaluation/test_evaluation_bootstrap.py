from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.evaluation.bootstrap import (
    Part,
    half_width,
    paired_difference,
    spatial_blocks,
)


def grid(side=20):
    return np.repeat(np.arange(side), side), np.tile(np.arange(side), side)


def test_blocks_are_squares_within_slides():
    row, col = grid(4)
    slide = np.repeat(["a", "b"], 8)
    blocks = spatial_blocks(row, col, slide, "square", side=2)
    assert blocks.reshape(4, 4).tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2
    hexagonal = spatial_blocks([0, 0, 0], [0, 2, 4], ["a"] * 3, "hexagonal", side=2)
    assert hexagonal.tolist() == [0, 0, 1]


def predictions(gain, seed=0):
    generator = np.random.default_rng(seed)
    row, col = grid()
    truth = generator.normal(size=(400, 5))
    first = truth + generator.normal(0, 1, (400, 5))
    second = truth + generator.normal(0, np.sqrt(1 + gain), (400, 5))
    measured = generator.random((400, 5)) < 0.6
    blocks = spatial_blocks(row, col, np.zeros(400), "square")
    return truth, first, second, measured, np.zeros(400), blocks


def test_the_mean_is_that_of_the_squared_errors():
    truth, first, second, measured, slide, blocks = predictions(0.5)
    found = paired_difference(truth, first, second, measured, slide, blocks, seed=1)
    expected = ((truth - first)[measured] ** 2).mean() - ((truth - second)[measured] ** 2).mean()
    assert found.mean == pytest.approx(expected)
    assert found.low < found.mean < found.high
    assert found.high < 0
    assert found.blocks == 16
    assert found.n == measured.sum()


def test_methods_that_are_alike_are_not_told_apart():
    covered = [
        (lambda found: found.low <= 0 <= found.high)(
            paired_difference(*predictions(0.0, seed), seed=seed, draws=200)
        )
        for seed in range(20)
    ]
    assert sum(covered) >= 15


def test_correlated_errors_within_blocks_widen_the_interval():
    truth, first, second, measured, slide, blocks = predictions(0.0)
    shared = np.random.default_rng(3).normal(0, 1, blocks.max() + 1)[blocks][:, None]
    by_block = paired_difference(truth, first + shared, second, measured, slide, blocks, seed=4)
    by_spot = paired_difference(
        truth, first + shared, second, measured, slide, np.arange(400), seed=4
    )
    assert by_block.high - by_block.low > 1.3 * (by_spot.high - by_spot.low)


def test_the_seed_decides():
    given = predictions(0.2)
    assert paired_difference(*given, seed=5) == paired_difference(*given, seed=5)
    assert paired_difference(*given, seed=5) != paired_difference(*given, seed=6)


def test_swapping_the_methods_turns_the_sign():
    truth, first, second, *rest = predictions(0.3)
    one = paired_difference(truth, first, second, *rest, seed=7)
    other = paired_difference(truth, second, first, *rest, seed=7)
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))


def test_nothing_measured_is_refused():
    truth, first, second, measured, *rest = predictions(0.0)
    with pytest.raises(InputError, match="no entry counts"):
        paired_difference(truth, first, second, np.zeros_like(measured), *rest, seed=0)


def test_one_part_gives_students_interval_and_no_variance_none():
    assert half_width([Part(4.0, 2)]) == pytest.approx(2 * 4.3027, rel=1e-4)
    assert half_width([Part(4.0, 2), Part(0.0, 50)]) == half_width([Part(4.0, 2)])
    assert half_width([Part(0.0, 2)]) == 0.0


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("share", [0.1, 1.0, 5.0])
def test_seeds_and_blocks_together_cover_what_they_should(seeds, share):
    generator, blocks, repeats = np.random.default_rng(seeds), 36, 1500
    inside = 0
    for _ in range(repeats):
        luck = generator.normal(size=seeds)
        tissue = generator.normal(0, np.sqrt(share * blocks / seeds), blocks)
        parts = (Part(own.var(ddof=1) / own.size, own.size - 1) for own in (luck, tissue))
        inside += abs(luck.mean() + tissue.mean()) <= half_width(list(parts))
    assert 0.93 <= inside / repeats <= 0.99
