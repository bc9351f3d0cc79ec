import numpy as np
import pytest

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.tissue.lattice import neighbour_table, offsets


def sheet(lattice, side=9):
    row, col = np.meshgrid(np.arange(side), np.arange(2 * side), indexing="ij")
    row, col = row.ravel(), col.ravel()
    if lattice == "square":
        return row, col
    even = (row + col) % 2 == 0
    return row[even], col[even]


@pytest.mark.parametrize(
    ("lattice", "moore", "sizes"),
    [
        ("hexagonal", False, (0, 6, 18, 36)),
        ("square", False, (0, 4, 12, 24)),
        ("diamond", False, (0, 4, 12, 24)),
        ("square", True, (0, 8, 24, 48)),
    ],
)
def test_windows_have_the_sizes_of_the_infinite_lattice(lattice, moore, sizes):
    for hops, size in enumerate(sizes):
        steps, ring = offsets(lattice, hops, moore=moore)
        assert steps.shape == (size, 2)
        assert ring.max(initial=0) == hops
        assert not (steps == 0).all(axis=1).any()


def test_hexagonal_neighbours_by_hand():
    #   (0,0)   (0,2)
    #       (1,1)   (1,3)
    #   (2,0)   (2,2)
    row = [0, 0, 1, 1, 2, 2]
    col = [0, 2, 1, 3, 0, 2]
    table = neighbour_table(row, col, np.zeros(6), "hexagonal", 1)
    assert table.dtype == np.int32
    assert table[2].tolist() == [0, 1, -1, 3, 4, 5]
    assert table[0].tolist() == [-1, -1, -1, 1, -1, 2]


def test_square_diamond_and_eight_neighbours_by_hand():
    row, col = np.divmod(np.arange(9), 3)
    slide = np.zeros(9, int)
    assert neighbour_table(row, col, slide, "square", 1)[4].tolist() == [1, 3, 5, 7]
    moore = neighbour_table(row, col, slide, "square", 1, moore=True)
    assert moore[4].tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    even = (row + col) % 2 == 0
    diamond = neighbour_table(row[even], col[even], slide[even], "diamond", 1)
    assert diamond[2].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("lattice", ["hexagonal", "square", "diamond"])
def test_neighbourhoods_are_symmetric_and_exact(lattice):
    row, col = sheet(lattice)
    table = neighbour_table(row, col, np.zeros(row.size), lattice, 2)
    spot, place = np.nonzero(table >= 0)
    pairs = set(zip(spot.tolist(), table[spot, place].tolist(), strict=True))
    assert pairs == {(other, one) for one, other in pairs}
    dr = np.abs(row[:, None] - row)
    dc = np.abs(col[:, None] - col)
    distance = {
        "hexagonal": np.maximum(dr, (dr + dc) / 2),
        "square": dr + dc,
        "diamond": np.maximum(dr, dc),
    }[lattice]
    assert pairs == {(int(i), int(j)) for i, j in np.argwhere((distance > 0) & (distance <= 2))}


def test_distance_is_that_of_the_lattice_not_of_the_spots_present():
    table = neighbour_table([0, 0], [0, 4], [0, 0], "hexagonal", 2)
    assert 1 in table[0]
    assert 1 not in neighbour_table([0, 0], [0, 4], [0, 0], "hexagonal", 1)[0]


def test_neighbours_never_cross_slides_and_slides_may_be_interleaved():
    row, col = sheet("hexagonal", side=5)
    alone = neighbour_table(row, col, np.zeros(row.size), "hexagonal", 3)
    both = neighbour_table(
        np.repeat(row, 2), np.repeat(col, 2), np.tile([7, 3], row.size), "hexagonal", 3
    )
    assert np.array_equal(both[::2], np.where(alone >= 0, 2 * alone, -1))
    assert np.array_equal(both[1::2], np.where(alone >= 0, 2 * alone + 1, -1))


def test_first_columns_are_the_table_of_fewer_hops():
    row, col = sheet("hexagonal")
    slide = np.zeros(row.size)
    wide = neighbour_table(row, col, slide, "hexagonal", 4)
    assert np.array_equal(wide[:, :18], neighbour_table(row, col, slide, "hexagonal", 2))


def test_translation_and_order_of_spots_do_not_matter():
    row, col = sheet("hexagonal")
    slide = np.zeros(row.size, int)
    table = neighbour_table(row, col, slide, "hexagonal", 2)
    assert np.array_equal(table, neighbour_table(row - 50, col + 30, slide, "hexagonal", 2))
    order = np.random.default_rng(0).permutation(row.size)
    moved = neighbour_table(row[order], col[order], slide, "hexagonal", 2)
    back = np.append(order, -1)[moved]
    assert np.array_equal(back, table[order])


def test_no_hops_and_no_spots():
    assert neighbour_table([0, 1], [0, 1], [0, 0], "hexagonal", 0).shape == (2, 0)
    empty = np.array([], dtype=int)
    assert neighbour_table(empty, empty, empty, "square", 2).shape == (0, 12)


def test_bad_inputs_say_what_is_wrong():
    with pytest.raises(InputError, match="one length"):
        neighbour_table([0, 1], [0, 1], [0], "square", 1)
    with pytest.raises(InputError, match=r"spots 0 and 1 lie at one place.*own code"):
        neighbour_table([0, 0], [2, 2], [0, 0], "hexagonal", 1)
    with pytest.raises(InputError, match="row \\+ column is even"):
        neighbour_table([0, 0], [0, 1], [0, 0], "hexagonal", 1)
    with pytest.raises(InputError, match="whole numbers"):
        neighbour_table([0.5, 1], [0, 1], [0, 0], "square", 1)
    with pytest.raises(ConfigurationError, match="did you mean 'hexagonal'"):
        neighbour_table([0], [0], [0], "hexagon", 1)
    with pytest.raises(ConfigurationError, match="found -1"):
        neighbour_table([0], [0], [0], "square", -1)
    with pytest.raises(ConfigurationError, match="square lattice"):
        neighbour_table([0], [0], [0], "hexagonal", 1, moore=True)
