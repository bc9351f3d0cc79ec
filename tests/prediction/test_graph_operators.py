"""Each graph operator on four nodes: a path 0 - 1 - 2, and 3 alone. Expected by hand."""

import pytest
import torch

from spared_benchmark.prediction.methods import _graph

PATH = torch.tensor([[1, -1], [0, 2], [1, -1], [-1, -1]])
VALUES = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]])


def first_column(result):
    torch.testing.assert_close(result[:, 1], 10 * result[:, 0])  # channels do not mix
    return result[:, 0].tolist()


def test_neighbour_sum():
    assert first_column(_graph.neighbour_sum(VALUES, PATH)) == [2, 5, 2, 0]


def test_neighbour_mean():
    assert first_column(_graph.neighbour_mean(VALUES, PATH)) == [2, 2.5, 2, 0]


def test_neighbour_mean_with_the_node_itself():
    mean = _graph.neighbour_mean(VALUES, _graph.with_self(PATH))
    assert first_column(mean) == pytest.approx([1.5, 7 / 3, 3, 8])


def test_hypergraph_mean():
    # Hyperedge 0 = {1, 2} (mean 3), hyperedge 1 = {0} (mean 1), hyperedge 2 = {1} (mean 2).
    members = torch.tensor([[1, -1], [0, 2], [0, -1], [-1, -1]])
    assert first_column(_graph.hypergraph_mean(VALUES, members)) == [1, 2.5, 3, 0]


def test_hypergraph_weights_enter_the_degree_alone():
    members = torch.tensor([[1, -1], [0, 2], [0, -1], [-1, -1]])
    weight = torch.tensor([0.5, 2.0, 1.5, 1.0])
    mean = _graph.hypergraph_mean(VALUES, members, weight)
    assert first_column(mean) == pytest.approx([1 / 2, (3 + 2) / (0.5 + 1.5), 3 / 0.5, 0])


def test_hypergraph_mean_of_a_constant_is_that_constant():
    mean = _graph.hypergraph_mean(
        torch.full((4, 3), 7.0), torch.tensor([[1, 3], [0, 2], [1, 2], [0, -1]])
    )
    torch.testing.assert_close(mean, torch.full((4, 3), 7.0))


def test_nearest_in_array():
    places = torch.tensor([[0, 0], [0, 2], [1, 1], [4, 4]])
    # 2 is √2 from 0 and 1, which are 2 apart; 3 is farther from all.
    found = _graph.nearest_in_array(places, k=3, longest=2)
    assert found.tolist() == [[2, 1, -1], [2, 0, -1], [0, 1, -1], [-1, -1, -1]]
    everything = _graph.nearest_in_array(places, k=5, longest=100)
    assert (everything >= 0).sum(1).tolist() == [3] * 4


def test_nearest_four_of_a_hexagonal_array_are_the_diagonal_ones():
    row, column = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    places = torch.stack([row.flatten(), 2 * column.flatten() + row.flatten() % 2], dim=1)
    found = _graph.nearest_in_array(places, k=4, longest=2)
    steps = places[found[12]] - places[12]
    assert steps.abs().tolist() == [[1, 1]] * 4


def test_nearest_in_array_does_not_depend_on_the_order_of_nodes(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    places = torch.unique(torch.randint(12, (90, 2), generator=generator), dim=0)
    found = _graph.nearest_in_array(places, k=4, longest=2)
    order = torch.randperm(len(places), generator=generator)
    place_of = torch.argsort(order)
    monkeypatch.setattr(_graph, "_ROWS_AT_ONCE", 7)
    permuted = _graph.nearest_in_array(places[order], k=4, longest=2)
    expected = torch.where(found >= 0, place_of[found], -1)[order]
    assert torch.equal(permuted, expected)


def test_gradients_reach_the_neighbours_alone():
    values = VALUES.clone().requires_grad_()
    _graph.neighbour_mean(values, PATH)[0].sum().backward()
    assert values.grad.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
