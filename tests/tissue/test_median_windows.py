"""Windows as the adaptive median meets them outside of tidy lattices."""

import numpy as np
import pytest

from spared_benchmark.tissue.median import adaptive_median


def by_the_book(values, tables):
    result = values.copy()
    for spot, gene in np.argwhere(values == 0):
        for table in tables:
            median = np.median(values[[spot, *table[spot][table[spot] >= 0]], gene])
            if median != 0:
                break
        else:
            known = values[values[:, gene] != 0, gene]
            median = np.median(known) if known.size else 0
        result[spot, gene] = median
    return result


def nested_tables(generator, spots, widths):
    """Random neighbours, each table holding those of the one before, in another order."""
    tables = []
    for width in widths:
        table = np.full((spots, width), -1, dtype=np.int32)
        for spot in range(spots):
            before = tables[-1][spot] if tables else np.array([], dtype=np.int32)
            before = before[before >= 0]
            others = np.setdiff1d(np.arange(spots), [spot, *before])
            more = generator.integers(0, width - before.size + 1)
            row = np.concatenate([before, generator.choice(others, more, replace=False)])
            place = generator.permutation(width)[: row.size]
            table[spot, place] = generator.permutation(row)
        tables.append(table)
    return tables


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("widths", [(1,), (2, 3), (5, 9, 14), (6, 18, 36, 60)])
def test_neighbours_in_any_order_and_number(widths, negative):
    generator = np.random.default_rng(len(widths) + 10 * negative)
    values = generator.normal(0 if negative else 5, 1, (70, 12)).astype(np.float32)
    values[generator.random(values.shape) < np.linspace(0.1, 0.9, 12)] = 0
    tables = nested_tables(generator, 70, widths)
    result = adaptive_median(values, values == 0, tables, np.zeros(70, int))
    assert np.array_equal(result, by_the_book(values, tables))


def test_windows_of_more_than_a_byte_of_spots_are_counted():
    spots = 601
    values = np.zeros((spots, 2), dtype=np.float32)
    values[1:301, 0] = np.arange(1, 301)
    values[1:302, 1] = np.arange(1, 302)
    others = np.array([np.delete(np.arange(spots), spot) for spot in range(spots)], np.int32)
    result = adaptive_median(values, values == 0, [others], np.zeros(spots, int))
    # 300 of 601 values leave zero in the middle, 301 bring the smallest of them there.
    assert result[0].tolist() == [150.5, 1]


def test_no_spots_and_no_genes():
    for shape in ((0, 3), (4, 0)):
        values = np.zeros(shape, dtype=np.float32)
        table = np.full((shape[0], 6), -1, dtype=np.int32)
        filled = adaptive_median(values, values == 0, [table], np.zeros(shape[0], int))
        assert filled.shape == shape
