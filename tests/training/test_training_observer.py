"""What an observer is shown: trained networks on demand, winners, failures, costs."""

import pytest
import torch
from test_training_sweep import Line, training

from spared_benchmark.training.observer import Silent, observing
from spared_benchmark.training.sweep import sweep


class Shown(Line):
    """Shows the error of the weights that it holds."""

    def __init__(self, seed, drawn=None):
        super().__init__(seed)
        self.drawn = [] if drawn is None else drawn

    def shown(self):
        assert not self.module.training
        assert not torch.is_grad_enabled()
        self.drawn.append(1)
        torch.rand(1)  # drawing may draw
        return {"error": [{"val_mse": super().validate()["val_mse"]}]}


class Watcher(Silent):
    def __init__(self):
        self.events, self.artifacts, self.summaries = [], {}, {}

    def trial_started(self, trial, parameters):
        self.events.append(("start", trial))
        self.parameters = parameters

    def shown(self, trial, make):
        self.events.append(("shown", trial))
        self.artifacts[trial] = make()

    def trial_ended(self, trial, status, summary):
        self.events.append((status, trial))
        self.summaries[trial] = summary

    def selected(self, trial):
        self.events.append(("selected", trial))


def watched(make, training):
    watcher = Watcher()
    with observing(watcher):
        result = sweep(make, training)
    return watcher, result


def test_each_trial_is_shown_with_its_best_weights_before_it_ends(tmp_path):
    watcher, result = watched(Shown, training(tmp_path, rates=(1e-3, 1e-1)))
    first, second = "lr=0.001 seed=3", "lr=0.1 seed=3"
    assert watcher.events == [
        *(("start", first), ("shown", first), ("finished", first)),
        *(("start", second), ("shown", second), ("finished", second)),
        ("selected", first if result.best.learning_rate == 1e-3 else second),
    ]
    for record in result.trials:
        (row,) = watcher.artifacts[f"lr={record.learning_rate:g} seed=3"]["error"]
        assert row["val_mse"] == pytest.approx(record.best_value, rel=1e-6)


def test_halted_trials_are_shown_too(tmp_path):
    settings = training(tmp_path, rates=(1e-3, 1e-2), steps=40)
    budget = settings.budget.model_copy(update={"halving": 2})
    watcher, result = watched(Shown, type(settings)(budget, 3, settings.trials))
    halted = next(record for record in result.trials if record.status == "halted")
    (row,) = watcher.artifacts[f"lr={halted.learning_rate:g} seed=3"]["error"]
    assert row["val_mse"] == pytest.approx(halted.best_value, rel=1e-6)


def test_nothing_is_drawn_when_nobody_watches(tmp_path):
    drawn = []
    sweep(lambda seed: Shown(seed, drawn), training(tmp_path))
    assert drawn == []


def test_watching_changes_no_result(tmp_path):
    _, seen = watched(Shown, training(tmp_path / "seen", rates=(1e-3, 1e-2)))
    unseen = sweep(Shown, training(tmp_path / "unseen", rates=(1e-3, 1e-2)))
    for mine, theirs in zip(seen.trials, unseen.trials, strict=True):
        assert mine.history == theirs.history
    assert all(torch.equal(value, unseen.state[name]) for name, value in seen.state.items())


def test_of_trials_read_from_disk_the_winner_can_still_be_shown(tmp_path):
    sweep(Shown, training(tmp_path, rates=(1e-3, 1e-2)))
    watcher, result = watched(Shown, training(tmp_path, rates=(1e-3, 1e-2)))
    shown = {trial for trial, artifacts in watcher.artifacts.items() if artifacts}
    assert shown == {f"lr={result.best.learning_rate:g} seed=3"}


def test_drawing_that_fails_loses_no_result(tmp_path, caplog):
    class Broken(Line):
        def shown(self):
            raise ValueError("no canvas")

    watcher, result = watched(Broken, training(tmp_path))
    assert "no canvas" in caplog.text
    assert result.best.status == "finished"
    assert watcher.events[-1] == ("selected", "lr=0.01 seed=3")


def test_an_error_ends_the_trial_as_failed(tmp_path):
    class Wrong(Line):
        def loss(self, generator):
            raise ValueError("no spots left")

    watcher = Watcher()
    with pytest.raises(ValueError, match="no spots"), observing(watcher):
        sweep(Wrong, training(tmp_path))
    assert watcher.events == [("start", "lr=0.01 seed=3"), ("failed", "lr=0.01 seed=3")]
    assert watcher.summaries["lr=0.01 seed=3"] == {"error": "ValueError: no spots left"}


def test_a_trial_is_described(tmp_path):
    watcher, result = watched(Line, training(tmp_path, target="raw", data="abc"))
    told = {key: watcher.parameters[key] for key in ("learning_rate", "seed", "method", "data")}
    assert told == {"learning_rate": 0.01, "seed": 3, "method": "line", "data": "abc"}
    assert watcher.parameters["trial"] == result.best.trial
    summary = watcher.summaries["lr=0.01 seed=3"]
    assert summary["parameters_trainable"] == summary["parameters_total"] == 114
    assert summary["micro_batches"] == 1
    assert summary["views_per_second"] == pytest.approx(25 * 8 / result.best.seconds, rel=0.01)


def test_the_peak_of_memory_is_that_of_the_trial(tmp_path):
    class Large(Line):
        def loss(self, generator):
            if self.calls == 3:
                torch.ones(16_000_000).sum()  # 64 MB, gone at once
            return super().loss(generator)

    large = sweep(Large, training(tmp_path / "large")).best
    small = sweep(Line, training(tmp_path / "small")).best
    assert 60 < large.peak_memory_mb < 120
    assert (small.peak_memory_mb or 0) < 30
    assert sweep(Large, training(tmp_path / "large")).best == large
