"""A batch that does not fit is computed in two parts, once, and the record says so."""

import json
import logging

import pytest
import torch
from test_training_sweep import Line, training

from spared_benchmark.training.observer import Silent, observing
from spared_benchmark.training.out_of_memory import OutOfMemoryError, is_out_of_memory
from spared_benchmark.training.sweep import sweep


class Divided(Line):
    """Runs out of memory at its n-th whole batch; dropout is off so that parts add up."""

    divisible = True
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def __init__(self, seed, full_at=None):
        super().__init__(seed)
        self.module[1].p = 0.0
        self.full_at, self.divided = full_at, 0

    def loss(self, generator):
        if self.calls + 1 == self.full_at:
            raise self.error
        return super().loss(generator)

    def parts(self, generator, count):
        self.divided += 1
        rows = torch.randint(64, (8,), generator=generator)
        for chunk in rows.tensor_split(count):
            error = self.module(self.x[chunk]) - self.y[chunk]
            yield {"loss": error.square().mean(), "absolute": error.abs().mean()}, len(chunk) / 8


def close(first, second):
    return all(torch.allclose(first[name], second[name], rtol=1e-4, atol=1e-6) for name in first)


def problems(*full_at, kind=Divided):
    """Return what makes one problem after the other, the n-th full at its n-th step, and a list."""
    made, remaining = [], list(full_at)

    def make(seed):
        made.append(kind(seed, remaining.pop(0) if remaining else None))
        return made[-1]

    return make, made


@pytest.mark.parametrize(("full_at", "step"), [(1, 0), (14, 10), (25, 20)])
def test_it_goes_on_from_the_last_checkpoint_in_two_parts(tmp_path, caplog, full_at, step):
    whole = sweep(Divided, training(tmp_path / "whole"))
    make, made = problems(full_at)
    result = sweep(make, training(tmp_path / "full"))
    assert made[1].divided == 25 - step
    assert result.best.micro_batches == 2
    assert result.best.summary()["micro_batches"] == 2
    assert whole.best.micro_batches == 1
    assert close(result.state, whole.state)
    for mine, theirs in zip(result.best.history, whole.best.history, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    assert f"line lr=0.01 seed=3: out of memory after step {step}" in caplog.text
    assert "2 parts" in caplog.text


def test_the_cpus_allocator_is_understood(tmp_path):
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 45)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))

    class Plain(Divided):
        error = raised.value

    make, _ = problems(14, kind=Plain)
    assert sweep(make, training(tmp_path)).best.micro_batches == 2


def test_another_error_is_not_swallowed(tmp_path):
    class Wrong(Divided):
        error = RuntimeError("shapes do not match")

    make, made = problems(14, kind=Wrong)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        sweep(make, training(tmp_path))
    assert len(made) == 1


class Watcher(Silent):
    def __init__(self):
        self.ended = []

    def trial_ended(self, trial, status, summary):
        self.ended.append((trial, status, summary))


class Hopeless(Divided):
    def parts(self, generator, count):
        yield next(super().parts(generator, count))
        raise self.error


def test_a_second_time_ends_the_trial_and_says_how_to_mend_it(tmp_path):
    make, made = problems(14, kind=Hopeless)
    watcher = Watcher()
    with pytest.raises(OutOfMemoryError) as raised, observing(watcher):
        sweep(make, training(tmp_path))
    message = str(raised.value)
    assert "line lr=0.01 seed=3: out of memory after step 10" in message
    assert "even with each batch in 2 parts: CUDA out of memory" in message
    assert "smaller batch_size" in message
    assert len(made) == 2
    ((trial, status, summary),) = watcher.ended
    assert (trial, status) == ("lr=0.01 seed=3", "failed")
    assert summary["error"].startswith("OutOfMemoryError: line")
    # It is no result: with more memory it goes on where it was.
    assert not list(tmp_path.glob("*/result.json"))
    assert sweep(Divided, training(tmp_path)).best.micro_batches == 1


@pytest.mark.parametrize("divisible", [False, None])
def test_what_cannot_be_divided_fails_at_once(tmp_path, divisible):
    class Slides(Line):
        def loss(self, generator):
            raise torch.OutOfMemoryError("CUDA out of memory")

        if divisible is not None:
            parts = Divided.parts

    if divisible is not None:
        Slides.divisible = divisible
    made = []
    with pytest.raises(OutOfMemoryError, match=r"nothing can be divided .*'tiles'"):
        sweep(lambda seed: made.append(seed) or Slides(seed), training(tmp_path))
    assert made == [3]


def test_a_network_that_does_not_fit_fails_at_once(tmp_path):
    def make(seed):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemoryError, match="the network alone does not fit"):
        sweep(make, training(tmp_path))


def test_an_interrupted_trial_in_parts_stays_in_parts(tmp_path):
    class Stopped(Divided):
        def parts(self, generator, count):
            if self.divided == 14:
                raise KeyboardInterrupt
            return super().parts(generator, count)

    make, made = problems(4, kind=Stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep(make, training(tmp_path / "cut"))
    make, made = problems(kind=Divided)
    cut = sweep(make, training(tmp_path / "cut"))
    assert made[0].divided == 25 - 10
    assert cut.best.micro_batches == 2


def test_the_other_trials_keep_whole_batches(tmp_path, caplog):
    make, _ = problems(14)
    with caplog.at_level(logging.WARNING):
        result = sweep(make, training(tmp_path, rates=(1e-2, 1e-3)))
    assert [record.micro_batches for record in result.trials] == [2, 1]
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*/result.json")]
    assert sorted(content["micro_batches"] for content in results) == [1, 2]
