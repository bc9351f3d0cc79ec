import numpy as np
import pytest


@pytest.fixture(scope="module")
def remade(script):
    return script.everything()


def test_the_script_makes_the_file_again(own, remade):
    assert set(own) == set(remade)
    for name, expected in own.items():
        if not (name.startswith("ties_") and name.endswith("_order")):
            assert remade[name].dtype == expected.dtype, name
            np.testing.assert_allclose(remade[name], expected, rtol=1e-12, atol=0, err_msg=name)


def test_the_script_asks_nothing_of_the_package(own_script):
    text = own_script.read_text(encoding="utf-8")
    assert "spared_benchmark" not in text
    assert "scipy" not in text


def test_the_file_is_small(own_script):
    assert own_script.with_name("published.npz").stat().st_size < 100_000


def test_the_loops_know_the_definitions(script):
    # Four spots in a row; spot 0 has 1 for a neighbour, 1 has 2, 2 has 3, 3 has none.
    graph = [{1}, {2}, {3}, set()]
    assert script.neighbourhoods(graph, 2) == [[1, 2], [2, 3], [3], []]
    assert script.turned(graph) == [set(), {0}, {1}, {2}]
    assert script.completed([[0.0], [4.0], [6.0], [0.0]], graph) == [[2.0], [4.0], [6.0], [5.0]]
    # z = -1, 1: the one link of spot 0 gives N / W * (-1) / 2 = -1.
    assert script.moran([[1.0], [3.0]], [{1}, set()]) == [-1.0]
