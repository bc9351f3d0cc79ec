"""A sweep selects, resumes bit for bit, never redoes and never selects what diverged."""

import json
import logging
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from spared_benchmark.errors import ContractError
from spared_benchmark.study import Budget
from spared_benchmark.training import loop
from spared_benchmark.training.observer import Silent, current, observing
from spared_benchmark.training.sweep import DivergedError, Training, sweep
from spared_benchmark.training.trials import TrialStore


class Line:
    """y = x W with dropout and noise: uses the batch generator and torch's own."""

    views_per_step = 8

    def __init__(self, seed, stop_at=None):
        self.module = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.Linear(16, 2))
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(seed))
        self.x, self.y = x, x[:, :2] - 2 * x[:, 2:]
        self.calls, self.stop_at = 0, stop_at

    def loss(self, generator):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        rows = torch.randint(64, (8,), generator=generator)
        error = self.module(self.x[rows]) - self.y[rows]
        return {"loss": error.square().mean(), "absolute": error.abs().mean()}

    def validate(self):
        assert not self.module.training
        assert not torch.is_grad_enabled()
        error = self.module(self.x) - self.y
        return {"val_mse": float(error.square().mean()), "val_pcc_gene": float("nan")}


class Watcher(Silent):
    def __init__(self):
        self.events = []

    def trial_started(self, trial, parameters):
        self.events.append(("start", trial, parameters["learning_rate"]))

    def validated(self, trial, step, metrics):
        self.events.append(("validated", trial, step))

    def trial_ended(self, trial, status, summary):
        self.events.append(("end", trial, status))


def training(folder, rates=(1e-2,), steps=25, **identity):
    budget = Budget(steps=steps, batch_size=8, learning_rates=rates, validate_every=10)
    return Training(budget, 3, TrialStore(folder), identity={"method": "line", **identity})


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_keeps_the_best_step_of_the_best_rate(tmp_path):
    result = sweep(Line, training(tmp_path, rates=(1e-5, 1e-2, 1e-3)))
    values = {record.learning_rate: record.best_value for record in result.trials}
    assert result.best.learning_rate == min(values, key=values.get) == 1e-2
    history = {row["step"]: row["val_mse"] for row in result.best.history}
    assert list(history) == [10, 20, 25]  # every ten steps and at the last
    assert result.best.best_value == min(history.values()) == history[result.best.best_step]
    problem = Line(3)
    problem.module.load_state_dict(result.state)
    problem.module.eval()
    with torch.no_grad():
        assert problem.validate()["val_mse"] == pytest.approx(result.best.best_value, rel=1e-6)
    assert result.best.views == 25 * 8
    assert result.best.parameters_total == 4 * 16 + 16 + 16 * 2 + 2


def test_undefined_metrics_stay_out_of_the_history(tmp_path):
    row = sweep(Line, training(tmp_path)).best.history[0]
    assert set(row) == {"step", "views", "train_loss", "train_absolute", "val_mse"}


@pytest.mark.parametrize("stop_at", [1, 10, 11, 17, 25])
def test_resumes_bit_for_bit(tmp_path, stop_at):
    whole = sweep(Line, training(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        sweep(lambda seed: Line(seed, stop_at), training(tmp_path / "cut"))
    continued = []

    def make(seed):
        continued.append(Line(seed))
        return continued[-1]

    cut = sweep(make, training(tmp_path / "cut"))
    assert continued[0].calls == 25 - (stop_at - 1) // 10 * 10
    assert same(whole.state, cut.state)
    assert whole.best.history == cut.best.history


def test_resumes_bit_for_bit_after_the_process_was_killed(tmp_path):
    script = f"""
        import os, signal, sys
        sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
        from test_training_sweep import Line, training, sweep

        class Killed(Line):
            def loss(self, generator):
                if self.calls == 14:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().loss(generator)

        sweep(Killed, training(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "cut")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.glob("cut/*/checkpoint.pt"))
    cut = sweep(Line, training(tmp_path / "cut"))
    assert same(sweep(Line, training(tmp_path / "whole")).state, cut.state)


def test_a_trial_that_has_ended_is_never_redone(tmp_path):
    first = sweep(Line, training(tmp_path, rates=(1e-3, 1e-2)))

    def never(seed):
        raise AssertionError

    again = sweep(never, training(tmp_path, rates=(1e-3, 1e-2)))
    assert same(first.state, again.state)
    assert first.trials == again.trials
    assert not list(tmp_path.glob("*/checkpoint.pt"))


def test_one_more_rate_trains_only_that_rate(tmp_path):
    sweep(Line, training(tmp_path, rates=(1e-3,)))
    made = []
    sweep(lambda seed: made.append(seed) or Line(seed), training(tmp_path, rates=(1e-3, 1e-2)))
    assert made == [3]


def test_other_inputs_are_another_trial(tmp_path):
    store = TrialStore(tmp_path)
    assert store.open({"data": "a"}).key != store.open({"data": "b"}).key


def test_lost_or_damaged_weights_are_made_again(tmp_path):
    first = sweep(Line, training(tmp_path))
    (weights,) = tmp_path.glob("*/best-*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert same(first.state, sweep(Line, training(tmp_path)).state)


def test_a_damaged_checkpoint_starts_the_trial_again(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        sweep(lambda seed: Line(seed, 15), training(tmp_path))
    (checkpoint,) = tmp_path.glob("*/checkpoint.pt")
    checkpoint.write_bytes(b"nonsense")
    sweep(Line, training(tmp_path))
    assert "cannot be read" in caplog.text


class Exploding(Line):
    def loss(self, generator):
        terms = super().loss(generator)
        return {"loss": terms["loss"] * (float("nan") if self.calls >= 12 else 1.0)}


def test_a_diverged_trial_is_recorded_and_never_selected(tmp_path):
    made = []

    def make(seed):
        made.append(seed)
        return Exploding(seed) if len(made) == 1 else Line(seed)

    # The exploding trial has the better validation at step 10.
    result = sweep(make, training(tmp_path, rates=(1e-2, 1e-6)))
    assert [record.status for record in result.trials] == ["diverged", "finished"]
    assert result.trials[0].best_value < result.trials[1].best_value
    assert result.best.learning_rate == 1e-6
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*/result.json")]
    assert {content["status"] for content in results} == {"diverged", "finished"}


def test_all_diverged_is_an_error_that_names_the_rates(tmp_path):
    with pytest.raises(DivergedError, match=r"lr=0.01, 0.5.*: every trial diverged"):
        sweep(Exploding, training(tmp_path, rates=(0.01, 0.5)))


def test_observer_hears_every_validation_once(tmp_path):
    watcher = Watcher()
    with observing(watcher):
        sweep(Line, training(tmp_path))
    label = "lr=0.01 seed=3"
    assert watcher.events == [
        ("start", label, 0.01),
        *[("validated", label, step) for step in (10, 20, 25)],
        ("end", label, "finished"),
    ]
    # A run that reads the trial from disk shows the same curve.
    again = Watcher()
    with observing(again):
        sweep(Line, training(tmp_path))
    assert again.events == watcher.events


def test_observer_of_a_resumed_trial_sees_the_whole_curve(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweep(lambda seed: Line(seed, 15), training(tmp_path))
    watcher = Watcher()
    with observing(watcher):
        sweep(Line, training(tmp_path))
    assert [event[2] for event in watcher.events if event[0] == "validated"] == [10, 20, 25]


def test_a_failing_observer_loses_no_result(tmp_path, caplog):
    class Lost(Watcher):
        def validated(self, trial, step, metrics):
            raise ConnectionError("tracking server is gone")

    with observing(Lost()):
        sweep(Line, training(tmp_path))
    assert "tracking server is gone" in caplog.text
    current().validated("nobody", 1, {})  # silent by default


def test_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    sweep(Line, training(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_a_line_is_logged_for_every_trial(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="spared_benchmark.training"):
        sweep(Line, training(tmp_path, rates=(1e-2, 1e-3)))
    lines = [record.message for record in caplog.records if "spot views/s" in record.message]
    assert len(lines) == 2
    assert lines[0].startswith("line lr=0.01 seed=3: finished, best val_mse")


@pytest.mark.parametrize(
    ("identity", "label", "title"),
    [
        ({}, "lr=0.01 seed=3", "line lr=0.01 seed=3"),
        ({"target": "raw"}, "lr=0.01 seed=3", "line on raw lr=0.01 seed=3"),
        ({"space": "combat"}, "combat lr=0.01 seed=3", "line in combat lr=0.01 seed=3"),
    ],
)
def test_observer_and_log_say_what_is_trained(
    tmp_path, caplog, monkeypatch, identity, label, title
):
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_LINES", 0.0)
    watcher = Watcher()
    with observing(watcher), caplog.at_level(logging.INFO, logger="spared_benchmark.training"):
        sweep(Line, training(tmp_path, **identity))
    assert {event[1] for event in watcher.events} == {label}
    starts = [f"{title}: step {step}, val_mse " for step in (10, 20, 25)]
    starts.append(f"{title}: finished, best val_mse ")
    assert len(caplog.messages) == len(starts)
    assert all(map(str.startswith, caplog.messages, starts))


def test_a_resumed_trial_says_which_it_is(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        sweep(lambda seed: Line(seed, 15), training(tmp_path, space="combat"))
    with caplog.at_level(logging.INFO, logger="spared_benchmark.training"):
        sweep(Line, training(tmp_path, space="combat"))
    assert caplog.messages[0] == "line in combat lr=0.01 seed=3: goes on from step 10"


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("loss", lambda generator: {"mse": torch.zeros(())}, "must contain 'loss'.*'mse'"),
        ("validate", lambda: {"mse": 0.0}, "must give 'val_mse'.*'mse'"),
        ("module", nn.Identity(), "no trainable parameter"),
    ],
)
def test_a_problem_that_breaks_its_contract(tmp_path, attribute, value, message):
    problem = Line(0)
    setattr(problem, attribute, value)
    with pytest.raises(ContractError, match=message):
        sweep(lambda seed: problem, training(tmp_path))
