"""What is not a number is never selected; a kill in the middle of a write loses nothing."""

import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from test_training_sweep import Line, same, training
from torch import nn

from spared_benchmark.study import Budget
from spared_benchmark.training.sweep import DivergedError, Training, sweep
from spared_benchmark.training.trials import TrialStore


class Spoilt(Line):
    """Holds weights that no validation uses, and spoils weights or gradients at its n-th step."""

    def __init__(self, seed, what, at):
        super().__init__(seed)
        self.module.append(nn.Identity())
        self.module[3].unused = nn.Parameter(torch.zeros(2))
        self.what, self.at = what, at

    def loss(self, generator):
        terms = super().loss(generator)
        if self.calls == self.at and self.what == "weights":
            self.module[3].unused.data[0] = float("nan")
        if self.calls == self.at and self.what == "gradient":
            weight = self.module[0].weight
            weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
        return terms


# At the last step there is no later loss that would show it.
@pytest.mark.parametrize("at", [12, 25])
@pytest.mark.parametrize("what", ["weights", "gradient"])
def test_weights_that_are_not_numbers_are_never_selected(tmp_path, what, at):
    made = []

    def make(seed):
        made.append(seed)
        return Spoilt(seed, what, at if len(made) == 1 else None)

    result = sweep(make, training(tmp_path, rates=(1e-2, 1e-6)))
    assert [record.status for record in result.trials] == ["diverged", "finished"]
    assert result.trials[0].best_value < result.trials[1].best_value
    assert result.best.learning_rate == 1e-6
    assert all(value.isfinite().all() for value in result.state.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_diverges(tmp_path, value):
    class Lost(Line):
        def loss(self, generator):
            terms = super().loss(generator)
            return {"loss": terms["loss"] * (value if self.calls == 25 else 1.0)}

    with pytest.raises(DivergedError):
        sweep(Lost, training(tmp_path))


def killed_while_writing(folder, writer, at, halving):
    """Train in a process that kills itself when half of the at-th file is written."""
    script = f"""
        import json, os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(__file__.rsplit("/", 1)[0])!r})
        from test_training_faults import halved, Line, sweep
        from spared_benchmark import atomic
        from spared_benchmark.training import trials

        calls = 0

        def halfway(original):
            def write(content, path, *arguments):
                global calls
                calls += 1
                original(content, path, *arguments)
                if calls == {at}:
                    whole = Path(path).read_bytes()
                    with open(path, "wb") as stream:
                        stream.write(whole[: len(whole) // 2])
                        stream.flush()
                        os.fsync(stream.fileno())
                    os.kill(os.getpid(), signal.SIGKILL)
            return write

        if {writer!r} == "checkpoint":
            trials.torch.save = halfway(trials.torch.save)
        elif {writer!r} == "weights":
            trials.save_file = halfway(trials.save_file)
        else:
            half = halfway(lambda text, path: Path(path).write_text(text))

            def write_json(target, content):
                with atomic.atomic_path(target) as path:
                    half(json.dumps(content), path)

            trials.write_json = write_json
        sweep(Line, halved(sys.argv[1], {halving}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def halved(folder, halving):
    budget = Budget(steps=40, learning_rates=(1e-3, 1e-2, 1e-4), validate_every=10, halving=halving)
    return Training(budget, 3, TrialStore(folder), identity={"method": "line"})


@pytest.mark.parametrize(
    ("writer", "at", "halving"),
    [
        ("checkpoint", 1, None),
        ("checkpoint", 6, 2),
        ("weights", 2, None),
        ("weights", 5, 2),
        ("result", 1, None),
        ("result", 2, 2),
    ],
)
def test_killed_in_the_middle_of_a_write_it_ends_as_if_it_had_not_been(
    tmp_path, writer, at, halving
):
    killed_while_writing(tmp_path / "cut", writer, at, halving)
    assert list(tmp_path.glob("cut/*/.*")), "no file was left half written"
    cut = sweep(Line, halved(tmp_path / "cut", halving))
    whole = sweep(Line, halved(tmp_path / "whole", halving))
    assert same(cut.state, whole.state)
    assert [(record.status, record.history) for record in cut.trials] == [
        (record.status, record.history) for record in whole.trials
    ]
    assert not list(tmp_path.glob("cut/*/.*")), "half-written files stay"
