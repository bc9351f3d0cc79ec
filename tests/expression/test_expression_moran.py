import numpy as np
import pytest

from spared_benchmark.expression.moran import morans_i, row_weights
from spared_benchmark.tissue.lattice import neighbour_table


@pytest.fixture(scope="module")
def sheet():
    row, col = (place.ravel() for place in np.meshgrid(range(10), range(20), indexing="ij"))
    even = (row + col) % 2 == 0
    keep = np.random.default_rng(0).random(even.sum()) < 0.7
    row, col = row[even][keep], col[even][keep]
    return row, col, neighbour_table(row, col, np.zeros(row.size), "hexagonal", 1)


def test_a_chessboard_is_minus_one_and_a_gradient_near_one():
    row, col = (place.ravel() for place in np.meshgrid(range(12), range(12), indexing="ij"))
    table = neighbour_table(row, col, np.zeros(row.size), "square", 1)
    values = np.stack([(row + col) % 2, row], axis=1).astype(np.float32)
    chess, gradient = morans_i(values, table)
    assert chess == pytest.approx(-1)
    assert gradient > 0.9


def test_by_hand():
    # Four spots in a row; z = -3, -1, 1, 3 (halves); lags -1, -1, 1, 1; sum of squares 20.
    table = neighbour_table([0] * 4, range(4), [0] * 4, "square", 1)
    values = np.array([[0], [1], [2], [3]], dtype=np.float32)
    assert morans_i(values, table)[0] == pytest.approx((3 + 1 + 1 + 3) / 20)


def test_equals_scanpy(sheet):
    import scanpy

    row, _, table = sheet
    values = np.random.default_rng(1).gamma(2, size=(row.size, 600)).astype(np.float32)
    values[:, :300] += row[:, None]
    theirs = scanpy.metrics.morans_i(row_weights(table), values.T.astype(np.float64))
    connected = (table >= 0).any(axis=1).sum()
    # scanpy divides by the sum of weights: the number of spots with a neighbour.
    assert connected <= row.size
    assert morans_i(values, table) == pytest.approx(theirs, abs=1e-9)


def test_constant_genes_and_unconnected_spots_are_undefined(sheet):
    row, _, table = sheet
    values = np.full((row.size, 2), 0.1, dtype=np.float32)
    values[0, 1] = 3
    result = morans_i(values, table)
    assert np.isnan(result[0])
    assert np.isfinite(result[1])
    assert np.isnan(morans_i(values, np.full_like(table, -1))).all()


def test_shift_and_scale_do_not_matter(sheet):
    row, _, table = sheet
    values = np.random.default_rng(2).normal(size=(row.size, 5)).astype(np.float32)
    assert morans_i(values, table) == pytest.approx(morans_i(3 * values + 7, table), abs=1e-4)


@pytest.mark.real
@pytest.mark.parametrize("name", ["her2st_chain", "hex_chain"])
def test_equals_the_published_library_on_its_own_neighbours(golden, name):
    chain = np.load(golden / f"{name}.npz")
    by_slide = [
        morans_i(
            chain["d_log1p_new"][chain["slide_id"] == slide],
            chain[f"neigh_{slide}_hops1_new"][:, 1:],
        )
        for slide in dict.fromkeys(chain["slide_id"])
    ]
    assert np.nanmean(by_slide, axis=0) == pytest.approx(chain["moran_new"], abs=1e-8)
