"""A sweep as one program: all learning rates trained at once on the same batches."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor

from spared_benchmark.errors import ContractError
from spared_benchmark.training.loop import Progress
from spared_benchmark.training.observer import current
from spared_benchmark.training.problem import Batch, StackedProblem
from spared_benchmark.training.seeds import isolated, torch_generator
from spared_benchmark.training.stack import CopyState, Stack
from spared_benchmark.training.sweep import (
    SweepResult,
    Training,
    TrialRecord,
    announce,
    finish,
    known_record,
    open_trial,
    select,
    title_of,
)
from spared_benchmark.training.trials import Trial

_log = logging.getLogger(__name__)
_PROGRAM = "stacked"


def stacked_sweep(make: Callable[[int], StackedProblem[Batch]], training: Training) -> SweepResult:
    """Train the problem at every learning rate of the budget at once and keep the best.

    Each trial is what it would be alone: it starts from the same weights, sees the same batches
    and draws its own noise, so which rates run beside it changes nothing but rounding. A trial
    that has ended is never run again; one that lags behind the others catches up first. A trial
    whose loss is no longer finite is recorded as diverged and leaves the program.

    Args:
        make: Returns the problem for a seed; called once, with torch's generators seeded.
        training: Budget, seed, store of trials and identity of the inputs.

    Raises:
        DivergedError: When no trial finished.
        ContractError: When the problem breaks its contract.
    """
    rates = training.budget.learning_rates
    trials = {rate: open_trial(training, rate, _PROGRAM) for rate in rates}
    labels = {rate: announce(training, rate, trial) for rate, trial in trials.items()}
    records: dict[float, TrialRecord] = {}
    for rate, trial in trials.items():
        known = known_record(trial, labels[rate])
        if known is not None:
            records[rate] = known
    copies = [_Copy(rate, trials[rate], labels[rate]) for rate in trials if rate not in records]
    if copies:
        with isolated(training.seed, "network"):
            problem = make(training.seed)
            problem.module.to(training.device)
            records |= _Program(problem, training, copies).run()
    ordered = [records[rate] for rate in trials]
    return select(ordered, trials, training, lambda: stacked_sweep(make, training))


@dataclass
class _Copy:
    """One trial of the program: how far it has come and its state as of the last validation."""

    rate: float
    trial: Trial
    label: str
    progress: Progress = field(default_factory=Progress)
    state: CopyState | None = None

    def resume(self, title: str) -> None:
        """Go on from the last checkpoint, if there is one."""
        checkpoint = self.trial.checkpoint()
        if checkpoint is None:
            return
        self.progress = Progress(**checkpoint["progress"])
        self.state = CopyState(**checkpoint["state"])
        _log.info("%s: goes on from step %d", title, self.progress.step)
        for metrics in self.progress.history:
            current().validated(self.label, int(metrics["step"]), metrics)

    def keep(self, state: CopyState, metrics: dict[str, float]) -> None:
        """Add a validation and write a checkpoint, with the weights where they are the best."""
        progress, self.state = self.progress, state
        progress.history.append(metrics)
        improved = metrics["val_mse"] < progress.best_value
        if improved:
            progress.best_step, progress.best_value = progress.step, metrics["val_mse"]
        content: dict[str, Any] = {"progress": asdict(progress), "state": vars(state)}
        self.trial.save_checkpoint(content, state.weights if improved else None)
        current().validated(self.label, progress.step, metrics)


class _Program(Generic[Batch]):
    """The training of all trials that are not done."""

    def __init__(
        self, problem: StackedProblem[Batch], training: Training, copies: list[_Copy]
    ) -> None:
        self.problem, self.training, self.copies = problem, training, copies
        self.records: dict[float, TrialRecord] = {}
        start = self._start()
        for copy in copies:
            copy.resume(title_of(training, copy.rate))
            copy.state = copy.state or start

    def run(self) -> dict[float, TrialRecord]:
        """Train to the end of the budget; returns the records by learning rate."""
        stack: Stack[Batch] | None = None
        together: list[_Copy] = []
        while waiting := [copy for copy in self.copies if copy.rate not in self.records]:
            step = min(copy.progress.step for copy in waiting)
            group = [copy for copy in waiting if copy.progress.step == step]
            if step >= self.training.budget.steps:
                for copy in group:
                    self._end(copy, "finished")
                continue
            if stack is None or group != together:
                stack, together = self._stack(group), group
            self._interval(stack, group)
        return self.records

    def _interval(self, stack: Stack[Batch], group: list[_Copy]) -> None:
        """Train a group of trials to their next validation and take it."""
        started = time.perf_counter()
        budget = self.training.budget
        every = budget.validate_every
        means = stack.advance(min((stack.step // every + 1) * every, budget.steps))
        with torch.no_grad():
            metrics = self.problem.validations(stack.weights)
        if "val_mse" not in metrics:
            name = title_of(self.training, group[0].rate)
            msg = f"{name}: validation must give 'val_mse'; found {sorted(metrics)}"
            raise ContractError(msg)
        states = stack.states()
        seconds = (time.perf_counter() - started) / len(group)
        for number, copy in enumerate(group):
            copy.progress.step = stack.step
            copy.progress.seconds += seconds
            row = self._row(copy, _of_copy(means, number), _of_copy(metrics, number))
            if row is None:
                self._end(copy, "diverged")
            else:
                copy.keep(states[number], row)
        best = min(copy.progress.best_value for copy in group)
        title = title_of(self.training, *(copy.rate for copy in group))
        _log.info("%s: step %d, best val_mse %.4g", title, stack.step, best)

    def _row(
        self, copy: _Copy, means: Mapping[str, float], metrics: Mapping[str, float]
    ) -> dict[str, float] | None:
        """Return one row of a history, or nothing when the trial has diverged."""
        if not (math.isfinite(means["loss"]) and math.isfinite(metrics["val_mse"])):
            return None
        views = copy.progress.step * self.problem.views_per_step
        train = {f"train_{name}": mean for name, mean in means.items()}
        row = {"step": copy.progress.step, "views": views, **train, **metrics}
        return {name: float(value) for name, value in row.items() if math.isfinite(value)}

    def _end(self, copy: _Copy, status: str) -> None:
        self.records[copy.rate] = finish(
            copy.trial, copy.label, status, copy.progress, self.problem, self.training, copy.rate
        )

    def _stack(self, group: list[_Copy]) -> Stack[Batch]:
        states = [copy.state for copy in group if copy.state is not None]
        rates = [copy.rate for copy in group]
        step = group[0].progress.step
        return Stack(self.problem, states, rates, step, torch.device(self.training.device))

    def _start(self) -> CopyState:
        """Return the state in which every trial begins."""
        module, name = self.problem.module, title_of(self.training, self.copies[0].rate)
        weights = {key: value.detach().cpu() for key, value in module.named_parameters()}
        if not weights or any(True for _ in module.buffers()):
            msg = f"{name}: a network trained in copies needs parameters and may have no buffers"
            raise ContractError(msg)
        batches = torch_generator(self.training.seed, "batches").get_state()
        zeros = {key: torch.zeros_like(value) for key, value in weights.items()}
        return CopyState(weights, zeros, zeros, batches)


def _of_copy(values: Mapping[str, Tensor], number: int) -> dict[str, float]:
    return {name: float(value[number]) for name, value in values.items()}
