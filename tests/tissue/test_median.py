import numpy as np
import pytest

from spared_benchmark.tissue.lattice import neighbour_table
from spared_benchmark.tissue.median import adaptive_median, nonzero_medians


def by_the_book(values, absent, tables, slide):
    """The definition, one entry at a time."""
    result = values.copy()
    for spot, gene in np.argwhere(absent):
        for table in tables:
            members = [spot, *table[spot][table[spot] >= 0]]
            median = np.median(values[members, gene])
            if median != 0:
                break
        else:
            known = values[slide == slide[spot], gene]
            known = known[known != 0]
            median = np.median(known) if known.size else 0
        result[spot, gene] = median
    return result


def line(count):
    """Tables of 1 and 2 hops of spots in a row."""
    place = np.zeros(count, int), np.arange(count)
    return [neighbour_table(*place, np.zeros(count), "square", hops) for hops in (1, 2)]


def filled(column, tables=None):
    values = np.array(column, dtype=np.float32)[:, None]
    tables = line(len(column)) if tables is None else tables
    return adaptive_median(values, values == 0, tables, np.zeros(len(column), int))[:, 0].tolist()


def test_a_window_with_a_majority_gives_its_median_zeros_included():
    assert filled([4, 0, 6]) == [4, 4, 6]


def test_an_even_window_may_give_half_a_value():
    # The border spot sees itself (0) and one neighbour (8): (0 + 8) / 2.
    assert filled([0, 8, 8])[0] == 4


def test_the_window_grows_until_a_median_is_not_zero():
    # Spot 2: one hop sees 0 0 0, two hops see 3 0 0 0 5 -> 0, then the slide's median of 3, 5, 7.
    assert filled([3, 0, 0, 0, 5, 7])[2] == 5
    # Spot 1 of [2, 0, 0, 9, 9]: one hop 2 0 0 -> 0; two hops 2 0 0 9 -> (0 + 2) / 2.
    assert filled([2, 0, 0, 9, 9])[1] == 1


def test_a_gene_that_is_never_measured_stays_zero_and_measured_entries_stay_as_they_are():
    assert filled([0, 0, 0]) == [0, 0, 0]
    assert filled([1, 2, 3]) == [1, 2, 3]


def test_filled_values_are_never_read():
    # From left to right a cascade would carry the 8 on at the first hop.
    assert filled([8, 8, 0, 0, 0, 0, 0], tables=line(7)[:1])[2:4] == [8, 8]
    values = [8, 8, 0, 0, 0, 0, 2, 2, 2]
    assert filled(values, tables=line(9)[:1])[3] == 2


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
@pytest.mark.parametrize("negative", [False, True])
def test_equals_the_definition(lattice, negative):
    rng = np.random.default_rng(3)
    row, col = (place.ravel() for place in np.meshgrid(range(8), range(16), indexing="ij"))
    even = (row + col) % 2 == 0
    row, col = row[even] * (1 if lattice == "hexagonal" else 2), col[even]
    slide = (np.arange(row.size) % 3 == 0).astype(int)
    keep = rng.random(row.size) < 0.8
    row, col, slide = row[keep], col[keep], slide[keep]
    tables = [neighbour_table(row, col, slide, lattice, hops) for hops in (1, 2, 3, 4)]
    values = rng.normal(0 if negative else 6, 1, (row.size, 9)).astype(np.float32)
    values[rng.random(values.shape) < np.linspace(0, 1, 9)] = 0
    absent = (values == 0) | (rng.random(values.shape) < 0.1)
    result = adaptive_median(values, absent, tables, slide)
    assert result.dtype == np.float32
    assert result == pytest.approx(by_the_book(values, absent, tables, slide), abs=1e-6)
    assert np.array_equal(result[~absent], values[~absent])


def test_slides_do_not_see_each_other():
    values = np.array([[5.0], [0.0], [7.0], [0.0]], dtype=np.float32)
    slide = np.array([0, 1, 0, 1])
    tables = [neighbour_table([0] * 4, [0, 0, 1, 1], slide, "square", 1)]
    assert adaptive_median(values, values == 0, tables, slide)[:, 0].tolist() == [5, 0, 7, 0]


def test_a_gene_does_not_depend_on_the_others():
    rng = np.random.default_rng(4)
    values = rng.poisson(0.8, (12, 600)).astype(np.float32)
    slide = np.zeros(12, int)
    together = adaptive_median(values, values == 0, line(12), slide)
    some = [599, 3, 256]
    alone = adaptive_median(values[:, some], values[:, some] == 0, line(12), slide)
    assert np.array_equal(alone, together[:, some])


def test_nonzero_medians():
    values = np.array([[0, 1, 0], [2, 2, 0], [4, 9, 0]], dtype=np.float32)
    assert nonzero_medians(values).tolist() == [3, 2, 0]


@pytest.mark.real
@pytest.mark.parametrize(("name", "first"), [("her2st_chain", 0), ("hex_chain", 3)])
def test_equals_the_published_library_on_its_own_neighbours(golden, name, first):
    chain = np.load(golden / f"{name}.npz")
    log_tpm = chain["log1p"][:, first:].astype(np.float32)
    for slide in np.unique(chain["slide_id"]):
        rows = chain["slide_id"] == slide
        tables = [chain[f"neigh_{slide}_hops{hops}_new"][:, 1:] for hops in (1, 2, 3, 4)]
        values = log_tpm[rows]
        result = adaptive_median(values, values == 0, tables, np.zeros(rows.sum(), int))
        assert np.abs(result - chain["d_log1p_new"][rows]).max() < 1e-5
