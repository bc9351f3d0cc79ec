"""A predictor's sweep: batches in parts, halving, and a kill in the middle of a checkpoint."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from every_predictor import create, selected
from prediction_samples import cohort

from spared_benchmark.prediction.fit import PredictionProblem, Task, fit_predictor
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.study import Budget
from spared_benchmark.training.out_of_memory import OutOfMemoryError
from spared_benchmark.training.seeds import isolated, torch_generator
from spared_benchmark.training.sweep import Training
from spared_benchmark.training.trials import TrialStore

# Without batch norm, which sees its own part of a batch, and dropout, which draws anew for each.
PLAIN = ("neighbourhood", "exemplar_mean")


def problem(name, target, batch_size=16, missing=0.4):
    slides = cohort(target=target, missing=missing)
    predictor = create(name)
    train = slides.of("train")
    with isolated(3, "network"):
        predictor.prepare(train)
    selection = Selection(slides.of("val"), predictor)
    return PredictionProblem(predictor, predictor.resident(train), selection, batch_size)


def gradients(module):
    return {name: weight.grad.clone() for name, weight in module.named_parameters()}


@pytest.mark.parametrize("target", ["raw", "measured"])
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("count", [2, 3])
def test_gradients_of_parts_add_up_to_those_of_the_batch(name, target, count):
    whole, divided = problem(name, target), problem(name, target)
    assert divided.divisible
    expected = whole.loss(torch_generator(1))["loss"]
    expected.backward()
    total = 0.0
    for terms, share in divided.parts(torch_generator(1), count):
        loss = terms["loss"] * share
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(expected.item(), rel=1e-5)
    mine, theirs = gradients(divided.module), gradients(whole.module)
    for key, value in theirs.items():
        torch.testing.assert_close(mine[key], value, rtol=1e-4, atol=1e-5)


def test_a_slide_cannot_be_divided():
    assert not problem("whole_slide", "raw").divisible


def fit(folder, halving=None, name="small_cnn", rates=(1e-4, 1e-2, 1e-3)):
    budget = Budget(steps=8, batch_size=8, learning_rates=rates, validate_every=2, halving=halving)
    training = Training(budget, 42, TrialStore(Path(folder)))
    return fit_predictor(Task(name, cohort(target="measured"), training, "tiny"))


def test_out_of_memory_a_predictor_goes_on_in_parts(tmp_path, monkeypatch):
    predictor = type(create("small_cnn"))
    plain = predictor.loss
    seen = []

    def full(self, batch):
        seen.append(len(batch.spot))
        if len(batch.spot) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, batch)

    monkeypatch.setattr(predictor, "loss", full)
    fitted = fit(tmp_path, rates=(1e-3,))
    assert fitted.best.micro_batches == 2
    assert seen == [8, *[4, 4] * 8]


def test_out_of_memory_a_model_of_slides_says_how_to_cut_them(tmp_path, monkeypatch):
    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(create("whole_slide")), "loss", full)
    with pytest.raises(OutOfMemoryError, match="more 'tiles' or a 'region'"):
        selected("whole_slide", cohort(target="measured"), tmp_path)


def told(fitted):
    return [(record.status, record.trial, record.history) for record in fitted.trials]


@pytest.mark.parametrize("halving", [None, 2])
def test_killed_in_the_middle_of_a_checkpoint_it_ends_as_if_it_had_not_been(tmp_path, halving):
    script = f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_prediction_sweep import fit
        from spared_benchmark.training import trials

        calls, plain = 0, trials.torch.save

        def halfway(content, path):
            global calls
            calls += 1
            plain(content, path)
            if calls == 4:
                whole = Path(path).read_bytes()
                Path(path).write_bytes(whole[: len(whole) // 2])
                os.kill(os.getpid(), signal.SIGKILL)

        trials.torch.save = halfway
        fit(sys.argv[1], {halving})
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "cut")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.glob("cut/*/.*.pt"))
    cut, whole = fit(tmp_path / "cut", halving), fit(tmp_path / "whole", halving)
    assert told(cut) == told(whole)
    expected = {"finished": 3} if halving is None else {"finished": 1, "halted": 2}
    statuses = [record.status for record in cut.trials]
    assert {status: statuses.count(status) for status in set(statuses)} == expected
    for name, value in whole.predictor.state().items():
        assert (cut.predictor.state()[name] == value).all()


def test_changed_settings_or_labels_make_other_trials(tmp_path):
    first = fit(tmp_path, 2)
    slides = cohort(target="measured")
    budget = Budget(
        steps=8, batch_size=8, learning_rates=(1e-4, 1e-2, 1e-3), validate_every=2, halving=2
    )
    task = Task("small_cnn", slides, Training(budget, 42, TrialStore(tmp_path)), "tiny")
    one = slides.slides[0]
    changed = replace(slides, slides=(replace(one, y=one.y + 1), *slides.slides[1:]))
    others = [
        replace(task, assembled=changed),
        replace(task, training=replace(task.training, seed=43)),
        replace(task, training=replace(task.training, budget=budget.resolved(8))),
    ]
    keys = [{record.trial for record in fit_predictor(other).trials} for other in others]
    known = {record.trial for record in first.trials}
    assert known.isdisjoint(keys[0] | keys[1])
    assert keys[2] == known
