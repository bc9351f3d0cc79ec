"""All rates in one program: what each would be alone, resumed bit for bit, never redone."""

import json
import logging
import math
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from spared_benchmark.errors import ContractError
from spared_benchmark.study import Budget
from spared_benchmark.training.dropout import Dropout
from spared_benchmark.training.observer import Silent, observing
from spared_benchmark.training.stacked import stacked_sweep
from spared_benchmark.training.sweep import DivergedError, Training, sweep
from spared_benchmark.training.trials import TrialStore

CPU = torch.device("cpu")
RATES = (1e-3, 1e-2, 3e-2)


class Lines:
    """y = x W by a small network; its batch and its noise come from what it is given."""

    views_per_step = 8

    def __init__(self, seed, stop_at=None, dropout=0.2, explode=None):
        self.module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))
        self.x, self.y = x, x[:, :2] - 2 * x[:, 2:]
        self.calls, self.stop_at, self.dropout = 0, stop_at, dropout
        self.explode = explode
        self.sizes = []

    def draw(self, generator):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return torch.randint(64, (8,), generator=generator)

    def forward(self, weights, x, drop):
        hidden = torch.baddbmm(
            weights["0.bias"][:, None],
            x.expand(len(weights["0.bias"]), -1, -1),
            weights["0.weight"].transpose(1, 2),
        )
        hidden = drop(hidden.relu())
        return torch.baddbmm(
            weights["2.bias"][:, None], hidden, weights["2.weight"].transpose(1, 2)
        )

    def parts(self, weights, batch, noise):
        drop = Dropout(self.dropout, noise, CPU)
        self.sizes.append(len(noise))
        for rows in batch.split(5):
            error = self.forward(weights, self.x[rows], drop) - self.y[rows]
            loss = error.square().sum(dim=(1, 2)) / 16
            if self.explode is not None and self.calls >= 12 and len(noise) == 3:
                loss = loss * torch.where(torch.arange(len(noise)) == self.explode, math.nan, 1.0)
            yield {"loss": loss, "absolute": error.abs().sum(dim=(1, 2)) / 16}

    def validations(self, weights):
        assert not torch.is_grad_enabled()
        error = self.forward(weights, self.x, Dropout(0.0, None, CPU)) - self.y
        mse = error.square().mean(dim=(1, 2))
        return {"val_mse": mse, "val_pcc_gene": torch.full_like(mse, math.nan)}

    def loss(self, generator):
        weights = {name: value[None] for name, value in self.module.named_parameters()}
        batch = self.draw(generator)
        seed = int(torch.randint(2**62, (), generator=generator))
        parts = list(self.parts(weights, batch, [seed]))
        return {name: sum(part[name][0] for part in parts) for name in parts[0]}

    def validate(self):
        weights = {name: value[None] for name, value in self.module.named_parameters()}
        return {name: float(value[0]) for name, value in self.validations(weights).items()}


class Watcher(Silent):
    def __init__(self):
        self.events = []

    def trial_started(self, trial, parameters):
        self.events.append(("start", trial))

    def validated(self, trial, step, metrics):
        self.events.append((step, trial))

    def trial_ended(self, trial, status, summary):
        self.events.append((status, trial))


def training(folder, rates=RATES, steps=25, **identity):
    budget = Budget(steps=steps, batch_size=8, learning_rates=rates, validate_every=10)
    return Training(budget, 3, TrialStore(folder), identity={"method": "lines", **identity})


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def curves(result):
    return {record.learning_rate: record.history for record in result.trials}


def test_without_dropout_it_is_the_sequential_sweep(tmp_path):
    def make(seed):
        return Lines(seed, dropout=0.0)

    one = stacked_sweep(make, training(tmp_path / "stacked"))
    other = sweep(make, training(tmp_path / "sequential"))
    assert one.best.learning_rate == other.best.learning_rate
    for mine, theirs in zip(one.trials, other.trials, strict=True):
        assert mine.learning_rate == theirs.learning_rate
        assert mine.best_step == theirs.best_step
        assert mine.views == theirs.views
        for row, expected in zip(mine.history, theirs.history, strict=True):
            assert row == pytest.approx(expected, rel=1e-4)
    for name, value in one.state.items():
        torch.testing.assert_close(value, other.state[name], rtol=1e-4, atol=1e-5)


def test_a_trial_is_what_it_would_be_alone(tmp_path):
    together = stacked_sweep(Lines, training(tmp_path / "all"))
    for rate in RATES:
        alone = stacked_sweep(Lines, training(tmp_path / str(rate), rates=(rate,)))
        for row, expected in zip(curves(together)[rate], curves(alone)[rate], strict=True):
            assert row == pytest.approx(expected, rel=1e-4)


def test_copies_draw_their_own_dropout(tmp_path):
    result = stacked_sweep(Lines, training(tmp_path, rates=(1e-2, 1e-2 + 1e-9)))
    first, second = (record.history[0]["train_loss"] for record in result.trials)
    assert abs(first - second) > 1e-4


def test_one_problem_is_made_and_all_copies_take_every_step_together(tmp_path):
    problems = []

    def make(seed):
        problems.append(Lines(seed))
        return problems[-1]

    stacked_sweep(make, training(tmp_path, steps=4))
    assert [problem.sizes for problem in problems] == [[3] * 4]


def test_keeps_the_best_step_of_the_best_rate(tmp_path):
    result = stacked_sweep(Lines, training(tmp_path))
    values = {record.learning_rate: record.best_value for record in result.trials}
    assert result.best.learning_rate == min(values, key=values.get)
    history = {row["step"]: row["val_mse"] for row in result.best.history}
    assert list(history) == [10, 20, 25]
    assert set(result.best.history[0]) == {
        "step",
        "views",
        "train_loss",
        "train_absolute",
        "val_mse",
    }
    problem = Lines(3)
    problem.module.load_state_dict(result.state)
    with torch.no_grad():
        assert problem.validate()["val_mse"] == pytest.approx(result.best.best_value, rel=1e-6)
    assert result.best.parameters_total == 4 * 16 + 16 + 16 * 2 + 2
    assert len(list(tmp_path.glob("*/best-*.safetensors"))) == 1


@pytest.mark.parametrize("stop_at", [1, 10, 11, 17, 25])
def test_resumes_bit_for_bit(tmp_path, stop_at):
    whole = stacked_sweep(Lines, training(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        stacked_sweep(lambda seed: Lines(seed, stop_at), training(tmp_path / "cut"))
    continued = []

    def make(seed):
        continued.append(Lines(seed))
        return continued[-1]

    cut = stacked_sweep(make, training(tmp_path / "cut"))
    assert continued[0].calls == 25 - (stop_at - 1) // 10 * 10
    assert same(whole.state, cut.state)
    assert curves(whole) == curves(cut)


def killed(folder, at, where):
    """Train in a process that kills itself at call ``at`` of ``where``."""
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
        from test_training_stacked import Lines, training, stacked_sweep
        from spared_benchmark.training.trials import Trial

        calls = 0

        def counted(original):
            def wrapper(*arguments):
                global calls
                calls += 1
                if calls == {at}:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments)
            return wrapper

        owner = Lines if {where!r} == "draw" else Trial
        setattr(owner, {where!r}, counted(getattr(owner, {where!r})))
        stacked_sweep(Lines, training(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


# Killed between two validations, while the second validation's checkpoints are written (one
# trial is then ahead of the others), and while the trials are written down as finished.
@pytest.mark.parametrize(("where", "at"), [("draw", 14), ("save_checkpoint", 5), ("finish", 2)])
def test_resumes_bit_for_bit_after_the_process_was_killed(tmp_path, where, at):
    killed(tmp_path / "cut", at, where)
    assert list(tmp_path.glob("cut/*/checkpoint.pt"))
    cut = stacked_sweep(Lines, training(tmp_path / "cut"))
    whole = stacked_sweep(Lines, training(tmp_path / "whole"))
    assert same(whole.state, cut.state)
    for rate, history in curves(whole).items():
        assert [row["step"] for row in curves(cut)[rate]] == [10, 20, 25]
        for row, expected in zip(curves(cut)[rate], history, strict=True):
            assert row == pytest.approx(expected, rel=1e-5)


def test_a_sweep_that_has_ended_is_never_redone(tmp_path):
    first = stacked_sweep(Lines, training(tmp_path))

    def never(seed):
        raise AssertionError

    again = stacked_sweep(never, training(tmp_path))
    assert same(first.state, again.state)
    assert first.trials == again.trials
    assert not list(tmp_path.glob("*/checkpoint.pt"))


def test_one_more_rate_trains_only_that_rate(tmp_path):
    stacked_sweep(Lines, training(tmp_path, rates=RATES[:2]))
    made = []

    def make(seed):
        made.append(Lines(seed))
        return made[-1]

    result = stacked_sweep(make, training(tmp_path))
    assert set(made[0].sizes) == {1}
    assert [record.learning_rate for record in result.trials] == list(RATES)


def test_a_rate_added_to_an_interrupted_sweep_catches_up(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stacked_sweep(lambda seed: Lines(seed, 15), training(tmp_path, rates=RATES[:2]))
    made = []

    def make(seed):
        made.append(Lines(seed))
        return made[-1]

    stacked_sweep(make, training(tmp_path))
    assert made[0].sizes == [1] * 10 * 1 + [3] * 15


def test_trials_of_the_two_programs_are_not_taken_for_each_other(tmp_path):
    one = stacked_sweep(Lines, training(tmp_path))
    other = sweep(Lines, training(tmp_path))
    assert {r.trial for r in one.trials}.isdisjoint(r.trial for r in other.trials)


def test_lost_weights_are_made_again(tmp_path):
    first = stacked_sweep(Lines, training(tmp_path))
    (weights,) = tmp_path.glob("*/best-*.safetensors")
    weights.unlink()
    again = stacked_sweep(Lines, training(tmp_path))
    for name, value in first.state.items():
        torch.testing.assert_close(value, again.state[name])


@pytest.mark.parametrize(("rates", "explode"), [(RATES, 1), ((1e-3, 1e30, 3e-2), None)])
def test_a_diverged_rate_is_recorded_never_selected_and_disturbs_no_other(tmp_path, rates, explode):
    def make(seed):
        return Lines(seed, explode=explode)

    result = stacked_sweep(make, training(tmp_path / "some", rates=rates))
    assert [r.status for r in result.trials] == ["finished", "diverged", "finished"]
    assert result.best.learning_rate != rates[1]
    calm = stacked_sweep(Lines, training(tmp_path / "calm", rates=(rates[0], rates[2])))
    for rate in (rates[0], rates[2]):
        found = [row["val_mse"] for row in curves(result)[rate]]
        expected = [row["val_mse"] for row in curves(calm)[rate]]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    statuses = [json.loads(p.read_text())["status"] for p in tmp_path.glob("some/*/result.json")]
    assert sorted(statuses) == ["diverged", "finished", "finished"]


def test_all_diverged_is_an_error_that_names_the_rates(tmp_path):
    with pytest.raises(DivergedError, match=r"lr=1e\+30, 1e\+31.*: every trial diverged"):
        stacked_sweep(Lines, training(tmp_path, rates=(1e30, 1e31)))


def test_observer_hears_every_validation_of_every_rate_once(tmp_path):
    watcher = Watcher()
    with observing(watcher):
        stacked_sweep(Lines, training(tmp_path))
    labels = [f"lr={rate:g} seed=3" for rate in RATES]
    assert watcher.events == [
        (event, label) for event in ("start", 10, 20, 25, "finished") for label in labels
    ]
    again = Watcher()
    with observing(again):
        stacked_sweep(Lines, training(tmp_path))
    assert sorted(map(str, again.events)) == sorted(map(str, watcher.events))


def test_observer_of_a_resumed_sweep_sees_whole_curves(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stacked_sweep(lambda seed: Lines(seed, 15), training(tmp_path))
    watcher = Watcher()
    with observing(watcher):
        stacked_sweep(Lines, training(tmp_path))
    label = "lr=0.001 seed=3"
    assert [e for e, name in watcher.events if name == label] == ["start", 10, 20, 25, "finished"]


def test_trials_share_the_wall_time(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr("spared_benchmark.training.stacked.time.perf_counter", lambda: next(clock))
    result = stacked_sweep(Lines, training(tmp_path))
    assert [record.seconds for record in result.trials] == [6.0] * 3


def test_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    stacked_sweep(Lines, training(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_the_log_says_what_is_trained_and_where_it_stands(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="spared_benchmark.training"):
        stacked_sweep(Lines, training(tmp_path, space="combat"))
    assert caplog.messages[0].startswith("lines in combat lr=0.001, 0.01, 0.03 seed=3: step 10, ")
    ends = [line for line in caplog.messages if "finished" in line]
    assert len(ends) == 3
    assert ends[0].startswith("lines in combat lr=0.001 seed=3: finished, best val_mse")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("parts", lambda *_: iter([{"mse": torch.zeros(3)}]), "must contain 'loss'.*'mse'"),
        ("validations", lambda weights: {"mse": torch.zeros(3)}, "must give 'val_mse'.*'mse'"),
        ("module", nn.Identity(), "needs parameters"),
        ("module", nn.BatchNorm1d(2), "may have no buffers"),
    ],
)
def test_a_problem_that_breaks_its_contract(tmp_path, attribute, value, message):
    problem = Lines(0)
    setattr(problem, attribute, value)
    with pytest.raises(ContractError, match=message):
        stacked_sweep(lambda seed: problem, training(tmp_path))
