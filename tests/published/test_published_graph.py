import numpy as np
import pytest
from scipy import sparse

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.expression.moran import morans_i
from spared_benchmark.expression.selection import mean_over_slides
from spared_benchmark.published.graph import hop_neighbourhoods, hop_tables, pixel_graph
from spared_benchmark.tissue.median import adaptive_median


def slides_of(names):
    """The slides in the order of the file, and the rows of each."""
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}


def completed(values, tables):
    values = values.astype(np.float32)
    return adaptive_median(values, values == 0, tables, np.zeros(len(values), int))


@pytest.mark.parametrize("squidpy", ["new", "old"])
@pytest.mark.parametrize(("name", "lattice"), [("hex", "hexagonal"), ("square", "square")])
def test_equals_our_loops(own, name, lattice, squidpy):
    for slide, rows in slides_of(own[f"{name}_slide"]).items():
        graph = pixel_graph(own[f"{name}_spatial"][rows], lattice, squidpy)
        for hops in (1, 2, 3, 4):
            expected = own[f"{name}_neighbours_{slide}_hops{hops}_{squidpy}"]
            assert np.array_equal(hop_neighbourhoods(graph, hops), expected)
        tables = hop_tables(graph, 4)
        median = own[f"{name}_d_log1p_{squidpy}"][rows]
        result = completed(own[f"{name}_log1p"][rows], tables)
        np.testing.assert_allclose(result, median, rtol=1e-6)
        moran = own[f"{name}_moran_{squidpy}"][slide]
        np.testing.assert_allclose(morans_i(median, tables[0]), moran, rtol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("squidpy", ["new", "old"])
def test_neighbourhoods_are_the_published_ones(chain, squidpy):
    for slide, rows in slides_of(chain["slide_id"]).items():
        graph = pixel_graph(chain["pixel_xy"][rows], chain["lattice"], squidpy)
        for hops in (1, 2, 3, 4) if squidpy == "new" else (1, 2):
            expected = chain[f"neigh_{slide}_hops{hops}_{squidpy}"]
            assert np.array_equal(hop_neighbourhoods(graph, hops), expected)


@pytest.mark.real
@pytest.mark.parametrize("squidpy", ["new", "old"])
def test_medians_and_morans_i_are_the_published_ones(chain, squidpy):
    by_slide = []
    for rows in slides_of(chain["slide_id"]).values():
        graph = pixel_graph(chain["pixel_xy"][rows], chain["lattice"], squidpy)
        tables = hop_tables(graph, 4)
        result = completed(chain["log1p"][rows, chain["first"] :], tables)
        np.testing.assert_allclose(result, chain[f"d_log1p_{squidpy}"][rows], rtol=1e-6)
        # The reference took both orientations' Moran's I of the medians of the new one.
        by_slide.append(morans_i(chain["d_log1p_new"][rows], tables[0]))
    if squidpy == "new":
        np.testing.assert_allclose(by_slide, chain["moran_per_slide_new"], rtol=1e-6)
    mean = mean_over_slides(by_slide)
    np.testing.assert_allclose(mean, chain[f"moran_{squidpy}"], rtol=1e-6)
    if squidpy == "new":
        best = chain["genes"][chain["first"] :][np.argsort(-mean)[:16]]
        assert best.tolist() == chain["genes_top16_by_moran"].tolist()


@pytest.mark.real
def test_genes_that_are_never_or_rarely_expressed(golden):
    with np.load(golden / "hex_chain.npz") as file:
        whole = dict(file)
    by_slide = []
    for rows in slides_of(whole["slide_id"]).values():
        for squidpy in ("old", "new"):
            tables = hop_tables(pixel_graph(whole["pixel_xy"][rows], "hexagonal", squidpy), 4)
            result = completed(whole["log1p"][rows], tables)
            expected = whole[f"allgenes_d_log1p_{squidpy}"][rows]
            np.testing.assert_allclose(result, expected, rtol=1e-6)
        by_slide.append(morans_i(expected, tables[0]))
    moran = mean_over_slides(by_slide)
    assert np.isnan(moran[0])
    assert np.isnan(by_slide[0][1])
    np.testing.assert_allclose(moran, whole["allgenes_moran_new"], rtol=1e-6)


def hexagon_row(count):
    """Two rows of a hexagonal lattice, a little shaken."""
    col = np.arange(count)
    rows = [
        np.stack([100.0 * col + shift, np.full(count, y)], 1) for shift, y in ((0, 0), (50, 87))
    ]
    return np.concatenate(rows) + np.random.default_rng(0).uniform(-1, 1, (2 * count, 2))


def test_borders_reach_for_spots_that_are_no_neighbours():
    graph = pixel_graph(hexagon_row(8), "hexagonal", "new")
    # On the lattice a corner has 2 or 3 neighbours; here each spot has six, and not mutually.
    assert (np.diff(graph.indptr) == 6).all()
    assert (graph != graph.T).nnz > 0
    assert graph.dtype == bool
    assert not graph.diagonal().any()


def test_old_is_new_turned_round():
    spatial = hexagon_row(8)
    new, old = (pixel_graph(spatial, "hexagonal", squidpy) for squidpy in ("new", "old"))
    assert (old != new.T).nnz == 0


def test_a_grid_has_diagonals_and_fewer_neighbours_at_its_border():
    row, col = (place.ravel() for place in np.meshgrid(range(6), range(6), indexing="ij"))
    graph = pixel_graph(np.stack([col, row], axis=1) * 100.0, "square", "new")
    degree = np.diff(graph.indptr).reshape(6, 6)
    assert (degree[1:-1, 1:-1] == 8).all()
    assert degree[0].tolist() == [3, 5, 5, 5, 5, 3]


def test_hops_follow_walks():
    # 0 -> 1 -> 2 -> 0 and 3 -> 0: a walk that comes back does not make a spot its own neighbour.
    dense = np.zeros((4, 4), dtype=bool)
    dense[[0, 1, 2, 3], [1, 2, 0, 0]] = True
    one, two, three = hop_tables(sparse.csr_matrix(dense), 3)
    assert one.tolist() == [[1], [2], [0], [0]]
    assert two.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert three.tolist() == [[1, 2, -1], [0, 2, -1], [0, 1, -1], [0, 1, 2]]
    assert hop_neighbourhoods(sparse.csr_matrix(dense), 1).tolist() == [
        [0, 1],
        [1, 2],
        [2, 0],
        [3, 0],
    ]
    assert one.dtype == np.int32


def test_many_hops_do_not_overflow():
    graph = pixel_graph(hexagon_row(8), "hexagonal", "new")
    assert (hop_tables(graph, 40)[-1] >= 0).all()


def test_bad_inputs_say_what_is_wrong():
    spatial = hexagon_row(8)
    with pytest.raises(ConfigurationError, match="found 'newest'; allowed: 'old', 'new'"):
        pixel_graph(spatial, "hexagonal", "newest")
    with pytest.raises(InputError, match=r"6 nearest spots are taken.*found 5 spots"):
        pixel_graph(spatial[:5], "hexagonal", "new")
    spatial[3] = np.nan
    with pytest.raises(InputError, match="1 of them not finite"):
        pixel_graph(spatial, "square", "new")
    with pytest.raises(ConfigurationError, match="found 0; give 1 or more"):
        hop_tables(sparse.csr_matrix((3, 3), dtype=bool), 0)
