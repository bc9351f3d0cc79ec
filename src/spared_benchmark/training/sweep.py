"""A sweep: the same problem at several learning rates, the best validation kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from spared_benchmark.errors import SparedError
from spared_benchmark.training.halving import Curve, Halving
from spared_benchmark.training.loop import Loop
from spared_benchmark.training.memory import PeakMemory
from spared_benchmark.training.observer import Artifacts, current
from spared_benchmark.training.out_of_memory import (
    OutOfMemoryError,
    is_out_of_memory,
    let_go,
    not_fitting,
)
from spared_benchmark.training.problem import Divisible, Problem, Showable
from spared_benchmark.training.records import (
    Progress,
    TrialRecord,
    finish,
    known_record,
    parameter_counts,
)
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.training import SweepTrial, Training

__all__ = [
    "DivergedError",
    "SweepResult",
    "Training",
    "TrialRecord",
    "parameter_counts",
    "select",
    "sweep",
    "telling_of_failure",
]

_log = logging.getLogger(__name__)
_Make = Callable[[int], Problem]


class DivergedError(SparedError):
    """No trial of a sweep came to its end: there is nothing to select."""


@dataclass(frozen=True)
class SweepResult:
    """The best trial's best weights, on the CPU, and the record of every trial."""

    state: dict[str, Tensor]
    trials: tuple[TrialRecord, ...]
    best: TrialRecord


def sweep(make: _Make, training: Training) -> SweepResult:
    """Train a fresh problem at every learning rate of the budget and keep the best.

    With ``halving`` in the budget only the best go on at each rung, from their checkpoints. A batch
    that does not fit into memory is computed in two parts from the last checkpoint on.

    Args:
        make: Returns a fresh problem for a seed; called with torch's generators seeded.
        training: Budget, seed, store of trials and identity of the inputs.

    Raises:
        DivergedError: When no trial finished.
        OutOfMemoryError: When a batch does not fit into memory in two parts either.
    """
    trials = training.open_trials()
    records: dict[float, TrialRecord] = {}
    curves: dict[float, Curve] = {}
    halving = Halving(training.budget)
    while True:
        for rate in halving.contenders:
            if rate not in records:
                outcome = _advanced(make, trials[rate], halving.until)
                curves[rate] = outcome.history
                if isinstance(outcome, TrialRecord):
                    records[rate] = outcome
        if halving.ended:
            break
        for rate in halving.cut(curves, records):
            records[rate] = _halted(make, trials[rate])
    ordered = [records[rate] for rate in trials]
    return select(ordered, trials, training, lambda: sweep(make, training))


def select(
    records: Sequence[TrialRecord],
    trials: Mapping[float, SweepTrial],
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
        raise _nothing_finished(records, training)
    best = min(finished, key=lambda record: record.best_value)
    winner = trials[best.learning_rate]
    state = winner.trial.weights()
    if state is None:
        _log.warning("trial %s has lost its weights and is run again", best.trial)
        winner.trial.reset()
        return again()
    for record in records:
        trials[record.learning_rate].trial.tidy()
        if record is not best:
            trials[record.learning_rate].trial.drop_weights()
    current().selected(winner.label)
    return SweepResult(state, tuple(records), best)


@contextmanager
def telling_of_failure(*trials: SweepTrial) -> Iterator[None]:
    """Tell the observer of an error in the block, which ends ``trials``."""
    try:
        yield
    except Exception as error:
        for own in trials:
            summary = {"error": f"{type(error).__name__}: {error}"}
            current().trial_ended(own.label, "failed", summary)
        raise


def _nothing_finished(records: Sequence[TrialRecord], training: Training) -> DivergedError:
    diverged = [record for record in records if record.status == "diverged"]
    title = training.title(*(record.learning_rate for record in diverged))
    which = "every trial diverged"
    if len(diverged) < len(records):
        which = "every trial that went on diverged, the others were halted before"
    return DivergedError(
        f"{title}: {which}: the loss became infinite or not a number; give lower rates in the "
        "method's budget"
    )


def _advanced(make: _Make, own: SweepTrial, until: int) -> TrialRecord | Progress:
    """Train a trial up to step ``until``; returns its record when it has ended."""
    if own.begin():
        known = known_record(own, lambda: _artifacts(make, own))
        if known is not None:
            return known
    with telling_of_failure(own), PeakMemory(own.training.device) as memory:
        outcome = _tried(make, own, until, memory)
        if isinstance(outcome, _Lacking):
            if outcome.micro_batches > 1 or not outcome.divisible:
                raise outcome.given_up(own)
            _log.warning(
                "%s: out of memory after step %d; goes on with each batch in 2 parts and their "
                "gradients added up",
                own.title,
                outcome.step,
            )
            let_go()
            outcome = _tried(make, own, until, memory, micro_batches=2)
        if isinstance(outcome, _Lacking):
            raise outcome.given_up(own)
        return outcome


@dataclass(frozen=True)
class _Lacking:
    """Where a trial ran out of memory, and what the allocator said."""

    step: int
    micro_batches: int
    divisible: bool
    said: str

    @classmethod
    def of(cls, loop: Loop | None, step: int, micro_batches: int, error: Exception) -> _Lacking:
        """Return what went wrong in a loop, or before there was one."""
        if loop is None:
            return cls(step, micro_batches, divisible=False, said=str(error))
        problem = loop.problem
        divisible = isinstance(problem, Divisible) and problem.divisible
        progress = loop.progress
        return cls(progress.step, progress.micro_batches, divisible, str(error))

    def given_up(self, own: SweepTrial) -> OutOfMemoryError:
        """Return the error that ends the trial."""
        tried = f"even with each batch in {self.micro_batches} parts"
        if self.micro_batches == 1:
            tried = "and nothing can be divided (the spots of a batch see one another, or the "
            tried += "network alone does not fit)"
        return not_fitting(own.title, self.step, tried, self.said)


def _tried(
    make: _Make, own: SweepTrial, until: int, memory: PeakMemory, micro_batches: int = 1
) -> TrialRecord | Progress | _Lacking:
    checkpoint = own.trial.checkpoint()
    last = checkpoint["progress"]["step"] if checkpoint else 0
    if checkpoint is not None and until <= last and until < own.training.budget.steps:
        reached = Progress(**checkpoint["progress"])
        own.tell(reached.history)
        return reached
    loop: Loop | None = None
    with isolated(own.training.seed, "network"):
        try:
            problem = make(own.training.seed)
            problem.module.to(own.training.device)
            loop = Loop(problem, own, memory, micro_batches)
            if checkpoint is not None:
                loop.resume(checkpoint)
            status = loop.run(until)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return _Lacking.of(loop, last, micro_batches, error)
        if status == "paused":
            return loop.progress
        return finish(own, status, loop.progress, lambda: _artifacts(make, own, problem))


def _halted(make: _Make, own: SweepTrial) -> TrialRecord:
    """Write down that a trial stops at the rung it has reached."""
    checkpoint = own.trial.checkpoint()
    if checkpoint is None:
        msg = f"{own.title}: its checkpoint in {own.trial.folder} was lost while the sweep ran"
        raise SparedError(msg)
    progress = Progress(**checkpoint["progress"])
    return finish(own, "halted", progress, lambda: _artifacts(make, own))


def _artifacts(make: _Make, own: SweepTrial, problem: Problem | None = None) -> Artifacts:
    """Return what there is to see of a trial's best weights."""
    weights = own.trial.weights()
    if weights is None:
        return {}
    with isolated(own.training.seed, "network"):
        problem = make(own.training.seed) if problem is None else problem
        if not isinstance(problem, Showable):
            return {}
        module = problem.module.to(own.training.device).eval()
        module.load_state_dict(weights)
        with torch.no_grad():
            return problem.shown()
