"""A sweep: the same problem at several learning rates, the best validation kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spared_benchmark.errors import SparedError
from spared_benchmark.study import Budget
from spared_benchmark.training.loop import Loop, Progress
from spared_benchmark.training.observer import current
from spared_benchmark.training.problem import Problem
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.trials import Trial, TrialStore

_log = logging.getLogger(__name__)

# Raised when the loop changes results, so that trials of the earlier one are not taken for its own.
_VERSION = 1


class DivergedError(SparedError):
    """Every trial of a sweep diverged: there is nothing to select."""


@dataclass(frozen=True)
class Training:
    """Everything around a training that is not the problem itself.

    Attributes:
        budget: Steps, batch size, learning rates and how often to validate.
        seed: Of initialisation, batches and every other draw.
        trials: Where trials are kept; one that has ended is never run again.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``.
        precision: In which products are computed; see `training.precision`.
        identity: All that made the inputs (method, version, hyper-parameters, data digests); with
            budget, rate and seed it names a trial. Its ``method``, ``target`` and ``space``, where
            given, are also what the log calls the training.
    """

    budget: Budget
    seed: int
    trials: TrialStore
    device: str = "cpu"
    precision: str = "float32"
    identity: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def on_best_device(
        cls, budget: Budget, seed: int, trials: TrialStore, precision: str = "float32"
    ) -> Training:
        """Return a training on the first CUDA device where there is one, else on the CPU."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(budget, seed, trials, device, precision)


@dataclass(frozen=True)
class TrialRecord:
    """What is known of one trial.

    Attributes:
        trial: Digest that names its folder.
        status: ``finished`` or ``diverged``.
        best_step: Step of the lowest validation error, 0 when there was none.
        best_value: That validation error (``val_mse``); not finite when there was none.
        seconds: Wall time, over all processes that worked on it; of trials that ran in one
            program, each has its share.
        views: Spot views of the whole training.
        history: One row per validation.
    """

    trial: str
    learning_rate: float
    seed: int
    status: str
    best_step: int
    best_value: float
    seconds: float
    views: int
    parameters_trainable: int
    parameters_total: int
    device: str
    history: tuple[Mapping[str, float], ...]

    def summary(self) -> dict[str, Any]:
        """Return the record without its history, fit for JSON."""
        content = {name: value for name, value in asdict(self).items() if name != "history"}
        if self.best_step == 0:
            content["best_value"] = None
        return content


@dataclass(frozen=True)
class SweepResult:
    """The best trial's best weights, on the CPU, and the record of every trial."""

    state: dict[str, Tensor]
    trials: tuple[TrialRecord, ...]
    best: TrialRecord


def sweep(make: Callable[[int], Problem], training: Training) -> SweepResult:
    """Train a fresh problem at every learning rate of the budget and keep the best.

    Args:
        make: Returns a fresh problem for a seed; called with torch's generators seeded.
        training: Budget, seed, store of trials and identity of the inputs.

    Raises:
        DivergedError: When no trial finished.
    """
    trials = {rate: open_trial(training, rate) for rate in training.budget.learning_rates}
    records = [_trial(make, training, rate, trial) for rate, trial in trials.items()]
    return select(records, trials, training, lambda: sweep(make, training))


def open_trial(training: Training, rate: float, program: str | None = None) -> Trial:
    """Return the trial of one learning rate.

    Args:
        training: What all trials of the sweep share.
        rate: Learning rate.
        program: Names the way of training where its results are not those of `sweep`.
    """
    budget = training.budget.model_dump(mode="json", exclude={"learning_rates"})
    own = {"budget": budget, "learning_rate": rate, "seed": training.seed, "version": _VERSION}
    if program is not None:
        own["program"] = program
    return training.trials.open({"inputs": dict(training.identity), "training": own})


def select(
    records: Sequence[TrialRecord],
    trials: Mapping[float, Trial],
    training: Training,
    again: Callable[[], SweepResult],
) -> SweepResult:
    """Return the finished trial of lowest validation error; the others lose their weights.

    Args:
        records: Of all trials.
        trials: By learning rate.
        training: What they share.
        again: Runs the sweep once more, where the best trial has lost its weights.

    Raises:
        DivergedError: When no trial finished.
    """
    finished = [record for record in records if record.status == "finished"]
    if not finished:
        rates = ", ".join(f"{record.learning_rate:g}" for record in records)
        msg = (
            f"every trial diverged (learning rates {rates}; {dict(training.identity)}): the loss "
            "became infinite or not a number; give lower rates in the method's budget"
        )
        raise DivergedError(msg)
    best = min(finished, key=lambda record: record.best_value)
    state = trials[best.learning_rate].weights()
    if state is None:
        _log.warning("trial %s has lost its weights and is run again", best.trial)
        trials[best.learning_rate].reset()
        return again()
    for record in records:
        if record is not best:
            trials[record.learning_rate].drop_weights()
    return SweepResult(state, tuple(records), best)


def _trial(
    make: Callable[[int], Problem], training: Training, rate: float, trial: Trial
) -> TrialRecord:
    label = announce(training, rate, trial)
    known = known_record(trial, label)
    return _run(make, training, rate, trial, label) if known is None else known


def announce(training: Training, rate: float, trial: Trial) -> str:
    """Tell the observer that a trial begins; returns the label it knows the trial by."""
    label = _label(training, rate)
    parameters = {"learning_rate": rate, "seed": training.seed, "trial": trial.key}
    parameters |= _space(training)
    current().trial_started(label, {**parameters, **training.budget.model_dump(mode="json")})
    return label


def known_record(trial: Trial, label: str) -> TrialRecord | None:
    """Return the record of a trial that has ended, shown to the observer; else nothing."""
    content = trial.result()
    if content is None:
        return None
    record = _recorded(content)
    for metrics in record.history:
        current().validated(label, int(metrics["step"]), metrics)
    current().trial_ended(label, record.status, record.summary())
    return record


def _run(
    make: Callable[[int], Problem], training: Training, rate: float, trial: Trial, label: str
) -> TrialRecord:
    with isolated(training.seed, "network"):
        problem = make(training.seed)
        problem.module.to(training.device)
        loop = Loop(problem, rate, training.seed, trial, label, title_of(training, rate))
        status = loop.run(training.budget)
    return finish(trial, label, status, loop.progress, problem, training, rate)


def finish(
    trial: Trial,
    label: str,
    status: str,
    progress: Progress,
    problem: Problem,
    training: Training,
    rate: float,
) -> TrialRecord:
    """Write down, log and show how a trial ended, and return its record."""
    views = progress.step * problem.views_per_step
    trainable, total = parameter_counts(problem.module)
    _log.info(
        "%s: %s, best val_mse %.5g at step %d of %d, %.1f s, %.0f spot views/s",
        title_of(training, rate),
        status,
        progress.best_value,
        progress.best_step,
        training.budget.steps,
        progress.seconds,
        views / max(progress.seconds, 1e-9),
    )
    record = TrialRecord(
        trial=trial.key,
        learning_rate=rate,
        seed=training.seed,
        status=status,
        best_step=progress.best_step,
        best_value=progress.best_value,
        seconds=progress.seconds,
        views=views,
        parameters_trainable=trainable,
        parameters_total=total,
        device=training.device,
        history=tuple(progress.history),
    )
    trial.finish({**asdict(record), "best_value": _finite(record)})
    current().trial_ended(label, status, record.summary())
    return record


def _label(training: Training, rate: float) -> str:
    """Return the name of a trial among those of one node, which may sweep in several spaces."""
    return " ".join([*_space(training).values(), f"lr={rate:g}", f"seed={training.seed}"])


def title_of(training: Training, *rates: float) -> str:
    """Return the name of trials in the log, where any method may be training beside them."""
    known = training.identity
    target = f" on {known['target']}" if "target" in known else ""
    space = f" in {known['space']}" if "space" in known else ""
    method = known.get("method", "training")
    given = ", ".join(f"{rate:g}" for rate in rates)
    return f"{method}{target}{space} lr={given} seed={training.seed}"


def _space(training: Training) -> dict[str, str]:
    return {key: str(value) for key, value in training.identity.items() if key == "space"}


def parameter_counts(module: nn.Module) -> tuple[int, int]:
    """Return the number of trainable parameters and of all."""
    counts = [(weight.numel(), weight.requires_grad) for weight in module.parameters()]
    return sum(size for size, free in counts if free), sum(size for size, _ in counts)


def _finite(record: TrialRecord) -> float | None:
    return record.best_value if record.best_step else None


def _recorded(content: Mapping[str, Any]) -> TrialRecord:
    names = set(TrialRecord.__dataclass_fields__)
    values = {name: value for name, value in content.items() if name in names}
    values["history"] = tuple(values["history"])
    if values["best_value"] is None:
        values["best_value"] = float("inf")
    return TrialRecord(**values)
