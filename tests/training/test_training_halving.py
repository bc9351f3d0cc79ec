"""Successive halving: who goes on, the same after any interruption, and never mixed with others."""

import json
import math

import pytest
import torch
from test_training_stacked import Lines
from test_training_sweep import Line, same

from spared_benchmark.study import Budget
from spared_benchmark.training.halving import Halving, rungs
from spared_benchmark.training.observer import Silent, observing
from spared_benchmark.training.stacked import stacked_sweep
from spared_benchmark.training.sweep import DivergedError, Training, sweep
from spared_benchmark.training.trials import Trial, TrialStore

RATES = (1e-5, 1e-2, 1e-4, 3e-2, 1e-3)


def budget(rates=RATES, steps=80, every=5, halving=2):
    return Budget(
        steps=steps, batch_size=8, learning_rates=rates, validate_every=every, halving=halving
    )


def training(folder, **settings):
    return Training(budget(**settings), 3, TrialStore(folder), identity={"method": "line"})


def told(result):
    return {record.learning_rate: (record.status, record.history) for record in result.trials}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"halving": None}, (80,)),
        ({"rates": (1e-2,)}, (80,)),
        ({}, (10, 20, 40, 80)),  # 5 → 3 → 2 → 1
        ({"halving": 3}, (10, 30, 80)),  # 8.9 and 26.7 are rounded up to a validation
        ({"every": 30}, (30, 60, 80)),  # 10 and 20 fall together on 30
        ({"every": 100}, (80,)),
        ({"rates": tuple(10.0**-n for n in range(1, 11)), "steps": 1000, "every": 50, "halving": 3},
         (50, 150, 350, 1000)),
    ],
)  # fmt: skip
def test_rungs_fall_on_validations(settings, expected):
    assert rungs(budget(**settings)) == expected


def curve(*values):
    return [{"step": 5.0 * (n + 1), "val_mse": value} for n, value in enumerate(values)]


def test_the_best_validation_so_far_decides_and_the_first_of_equals():
    halving = Halving(budget(rates=(1.0, 2.0, 3.0, 4.0), steps=40, every=5))
    assert halving.until == 10
    curves = {1.0: curve(3, 9), 2.0: curve(4, 4), 3.0: curve(4, 5), 4.0: curve(9, 2, 1)}
    assert halving.cut(curves, {}) == [2.0, 3.0]
    assert set(halving.contenders) == {1.0, 4.0}
    halving = Halving(budget(rates=(1.0, 2.0), steps=20, every=5))
    assert halving.cut({1.0: curve(3, 2), 2.0: curve(2, 2)}, {}) == [2.0]


def test_nothing_after_a_rung_is_looked_at():
    halving = Halving(budget(rates=(1.0, 2.0), steps=20, every=5))
    assert halving.cut({1.0: curve(3, 3), 2.0: curve(4, 4, 0, 0)}, {}) == [2.0]


def test_a_diverged_trial_has_had_its_place():
    halving = Halving(budget(rates=(1.0, 2.0, 3.0, 4.0), steps=40, every=5))
    curves = {1.0: curve(1), 2.0: curve(4, 4), 3.0: curve(4, 5), 4.0: []}
    assert halving.cut(curves, {}) == []
    assert halving.contenders == (2.0, 3.0)


def test_one_that_stopped_in_an_earlier_process_stays_stopped(tmp_path):
    # On a GPU a trial that is trained again may rank otherwise than it did.
    result = sweep(Line, training(tmp_path))
    stopped = {r.learning_rate: r for r in result.trials if (r.step, r.status) == (10, "halted")}
    halving = Halving(budget())
    curves = {record.learning_rate: record.history for record in result.trials}
    worse = [{**row, "val_mse": row["val_mse"] + 9} for row in curves[result.best.learning_rate]]
    assert halving.cut({**curves, result.best.learning_rate: worse}, stopped) == []
    assert set(halving.contenders) == set(RATES) - set(stopped)


@pytest.mark.parametrize(("program", "problem"), [(sweep, Line), (stacked_sweep, Lines)])
def test_trials_stop_at_their_rung_and_the_last_is_what_it_would_be_alone(
    tmp_path, program, problem
):
    result = program(problem, training(tmp_path / "halved"))
    assert sorted((record.step, record.status) for record in result.trials) == [
        (10, "halted"),
        (10, "halted"),
        (20, "halted"),
        (40, "halted"),
        (80, "finished"),
    ]
    assert [record.views for record in result.trials] == [r.step * 8 for r in result.trials]
    assert result.best.status == "finished"
    alone = program(problem, training(tmp_path / "alone", rates=(result.best.learning_rate,)))
    for mine, theirs in zip(result.best.history, alone.best.history, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    if program is sweep:
        assert same(result.state, alone.state)
    whole = program(problem, training(tmp_path / "whole", halving=None))
    for record in result.trials:
        full = next(r for r in whole.trials if r.learning_rate == record.learning_rate)
        for mine, theirs in zip(record.history, full.history, strict=False):
            assert mine == pytest.approx(theirs, rel=1e-4)
    assert len(list(tmp_path.glob("halved/*/best-*.safetensors"))) == 1
    assert not list(tmp_path.glob("halved/*/checkpoint.pt"))


class Cut:
    """Interrupts a sweep at its n-th step of training or call of the store."""

    def __init__(self, monkeypatch, owner, step):
        self.count, self.at = 0, math.inf
        for cls, name in ((owner, step), (Trial, "save_checkpoint"), (Trial, "finish")):
            monkeypatch.setattr(cls, name, self._counted(getattr(cls, name)))

    def _counted(self, original):
        def wrapper(*arguments, **settings):
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt
            return original(*arguments, **settings)

        return wrapper

    def sweep(self, program, problem, training, at=math.inf):
        self.count, self.at = 0, at
        return program(problem, training)


@pytest.mark.parametrize(
    ("program", "problem", "step"), [(sweep, Line, "loss"), (stacked_sweep, Lines, "draw")]
)
def test_interrupted_anywhere_it_ends_as_if_it_had_not_been(
    tmp_path, monkeypatch, program, problem, step
):
    cut = Cut(monkeypatch, problem, step)
    small = {"rates": (1e-5, 1e-2, 1e-3), "steps": 12, "every": 3}
    whole = cut.sweep(program, problem, training(tmp_path / "whole", **small))
    for at in range(1, cut.count + 1):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            cut.sweep(program, problem, training(folder, **small), at)
        # Interrupted once more on the way.
        with pytest.raises(KeyboardInterrupt):
            cut.sweep(program, problem, training(folder, **small), 1)
        found = cut.sweep(program, problem, training(folder, **small))
        if program is sweep:
            assert told(found) == told(whole)
            assert same(found.state, whole.state)
        for (status, history), (expected, curve) in zip(
            told(found).values(), told(whole).values(), strict=True
        ):
            assert status == expected
            for mine, theirs in zip(history, curve, strict=True):
                assert mine == pytest.approx(theirs, rel=1e-4)


def test_what_has_ended_is_never_redone(tmp_path):
    first = sweep(Line, training(tmp_path))

    def never(seed):
        raise AssertionError

    again = sweep(never, training(tmp_path))
    assert again.trials == first.trials
    assert same(again.state, first.state)


def test_lost_weights_of_the_winner_bring_no_halted_trial_back(tmp_path):
    first = sweep(Line, training(tmp_path))
    (weights,) = tmp_path.glob("*/best-*.safetensors")
    weights.unlink()
    made = []
    again = sweep(lambda seed: made.append(seed) or Line(seed), training(tmp_path))
    assert told(again) == told(first)
    assert same(again.state, first.state)


def keys(folder, **settings):
    trials = training(folder, **settings).open_trials()
    return {rate: own.trial.key for rate, own in trials.items()}


def test_a_halved_trial_is_taken_for_no_other(tmp_path):
    plain, halved = keys(tmp_path, halving=None), keys(tmp_path)
    other, more = keys(tmp_path, halving=3), keys(tmp_path, rates=(*RATES, 0.5))
    for others in (halved, other, more):
        assert set(others.values()).isdisjoint(plain.values())
    assert set(halved.values()).isdisjoint({*other.values(), *more.values()})
    # Alone, nothing stops a trial.
    assert keys(tmp_path, rates=(1e-2,))[1e-2] == plain[1e-2]


class Late(Line):
    """Every trial that comes further than the first rung diverges."""

    def validate(self):
        return {"val_mse": float("nan")} if self.calls > 10 else super().validate()


def test_when_those_that_went_on_diverged_the_error_says_so(tmp_path):
    made = []

    def make(seed):
        made.append(Late(seed))
        if len(made) > 5:
            made[-1].calls = 11
        return made[-1]

    with pytest.raises(DivergedError, match="every trial that went on diverged, the others were"):
        sweep(make, training(tmp_path))
    statuses = [json.loads(p.read_text())["status"] for p in tmp_path.glob("*/result.json")]
    assert sorted(set(statuses)) == ["diverged", "halted"]


def test_the_observer_hears_each_validation_once(tmp_path):
    class Watcher(Silent):
        def __init__(self):
            self.events = []

        def trial_started(self, trial, parameters):
            self.events.append((trial, 0))

        def validated(self, trial, step, metrics):
            self.events.append((trial, step))

        def trial_ended(self, trial, status, summary):
            self.events.append((trial, status))

    watcher = Watcher()
    with observing(watcher):
        result = sweep(Line, training(tmp_path))
    assert len(set(watcher.events)) == len(watcher.events)
    for record in result.trials:
        mine = [
            event for trial, event in watcher.events if f"lr={record.learning_rate:g} " in trial
        ]
        assert mine == [0, *range(5, record.step + 1, 5), record.status]


def test_random_state_is_left_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    sweep(Line, training(tmp_path))
    assert torch.equal(torch.rand(3), expected)
