import pytest
import torch
from torch.nn import functional

from spared_benchmark.training.dropout import Dropout

CPU = torch.device("cpu")


def test_the_wanted_share_is_dropped_and_the_mean_is_kept():
    units = torch.ones(2, 300, 401)
    dropped = Dropout(0.1, [1, 2], CPU)(units)
    for copy in dropped:
        assert float((copy == 0).float().mean()) == pytest.approx(0.1, abs=0.004)
        assert float(copy.mean()) == pytest.approx(1.0, abs=0.005)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.9])


def test_draws_of_a_copy_are_its_own_and_move_on():
    units = torch.ones(1, 1000)
    alone = Dropout(0.5, [2], CPU)
    first, second = alone(units), alone(units)
    beside = Dropout(0.5, [1, 2], CPU)(units.expand(2, -1))
    assert torch.equal(beside[1], first[0])
    assert not torch.equal(beside[0], first[0])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("drop", [Dropout(0.3, None, CPU), Dropout(0.0, [1], CPU)])
def test_nothing_is_dropped_without_seeds_or_probability(drop):
    units = torch.randn(1, 50)
    assert torch.equal(drop(units), units)
    assert torch.equal(drop.rectified(units.clone()), units.relu())
    assert drop.scale == 1.0


def test_rectified_units_and_their_gradient_are_those_of_relu_and_dropout():
    before = torch.randn(2, 30, 7, requires_grad=True)
    drop = Dropout(0.4, [5, 6], CPU)
    after = drop.rectified(before * 1.0) * drop.scale
    kept = Dropout(0.4, [5, 6], CPU)(torch.ones(2, 30, 7))
    expected = functional.relu(before) * kept
    torch.testing.assert_close(after, expected)
    weight = torch.randn(2, 30, 7)
    (own,) = torch.autograd.grad((after * weight).sum(), before, retain_graph=True)
    (other,) = torch.autograd.grad((expected * weight).sum(), before)
    torch.testing.assert_close(own, other)
    assert float((after == 0).float().mean()) > 0.5
