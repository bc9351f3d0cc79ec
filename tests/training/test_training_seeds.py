"""Seeds depend on names and on nothing else."""

import torch

from spared_benchmark.training.seeds import derive, isolated, numpy_generator, torch_generator


def test_a_name_is_a_stream_of_its_own():
    assert derive(1, "masks") == derive(1, "masks")
    assert len({derive(1), derive(2), derive(1, "masks"), derive(1, "batches")}) == 4
    assert derive(1, "a", "b") != derive(1, "ab")
    assert 0 <= derive(7, "x") < 2**63


def test_same_seed_same_draws():
    first, second = torch_generator(5, "a"), torch_generator(5, "a")
    assert torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=second))
    assert numpy_generator(5, "a").random() == numpy_generator(5, "a").random()


def test_isolation_puts_the_global_state_back():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with isolated(9):
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    with isolated(9):
        assert torch.equal(torch.rand(2), first)
