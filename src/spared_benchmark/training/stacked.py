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
from spared_benchmark.training.halving import Halving
from spared_benchmark.training.memory import PeakMemory
from spared_benchmark.training.out_of_memory import is_out_of_memory, not_fitting
from spared_benchmark.training.problem import Batch, StackedProblem
from spared_benchmark.training.records import Progress, TrialRecord, finish, known_record
from spared_benchmark.training.seeds import isolated, torch_generator
from spared_benchmark.training.stack import CopyState, Stack
from spared_benchmark.training.sweep import SweepResult, select, telling_of_failure
from spared_benchmark.training.training import SweepTrial, Training

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
    trials = training.open_trials(_PROGRAM)
    for own in trials.values():
        own.begin()
    known = {rate: known_record(own) for rate, own in trials.items()}
    records = {rate: record for rate, record in known.items() if record is not None}
    copies = [_Copy(own) for rate, own in trials.items() if rate not in records]
    if copies:
        with (
            isolated(training.seed, "network"),
            telling_of_failure(*(copy.own for copy in copies)),
            PeakMemory(training.device) as memory,
        ):
            problem = make(training.seed)
            problem.module.to(training.device)
            records = _Program(problem, training, copies, records, memory).run()
    ordered = [records[rate] for rate in trials]
    return select(ordered, trials, training, lambda: stacked_sweep(make, training))


@dataclass
class _Copy:
    """One trial of the program: how far it has come and its state as of the last validation."""

    own: SweepTrial
    progress: Progress = field(default_factory=Progress)
    state: CopyState | None = None

    @property
    def rate(self) -> float:
        """Its learning rate."""
        return self.own.rate

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        checkpoint = self.own.trial.checkpoint()
        if checkpoint is None:
            return
        self.progress = Progress(**checkpoint["progress"])
        self.state = CopyState(**checkpoint["state"])
        _log.info("%s: goes on from step %d", self.own.title, self.progress.step)
        self.own.tell(self.progress.history)

    def keep(self, state: CopyState, metrics: dict[str, float]) -> None:
        """Add a validation and write a checkpoint, with the weights where they are the best."""
        self.state = state
        improved = self.progress.add(metrics)
        content: dict[str, Any] = {"progress": asdict(self.progress), "state": vars(state)}
        self.own.trial.save_checkpoint(content, state.weights if improved else None)
        self.own.tell([metrics])


class _Program(Generic[Batch]):
    """The training of all trials that are not done."""

    def __init__(
        self,
        problem: StackedProblem[Batch],
        training: Training,
        copies: list[_Copy],
        records: Mapping[float, TrialRecord],
        memory: PeakMemory,
    ) -> None:
        self.problem, self.training, self.copies = problem, training, copies
        self.records = dict(records)
        self._memory = memory
        self._halving = Halving(training.budget)
        start = self._start()
        for copy in copies:
            copy.resume()
            copy.state = copy.state or start
            copy.progress.describe(problem.module)

    def run(self) -> dict[float, TrialRecord]:
        """Train to the end of the budget; returns the records of all trials by learning rate."""
        stack: Stack[Batch] | None = None
        together: list[_Copy] = []
        while waiting := self._waiting():
            step = min(copy.progress.step for copy in waiting)
            group = [copy for copy in waiting if copy.progress.step == step]
            if step >= self._halving.until and not self._halving.ended:
                self._cut(waiting)
                continue
            if step >= self.training.budget.steps:
                for copy in group:
                    self._end(copy, "finished")
                continue
            if stack is None or group != together:
                stack, together = self._stack(group), group
            self._advance(stack, group)
        return self.records

    def _waiting(self) -> list[_Copy]:
        return [copy for copy in self.copies if copy.rate not in self.records]

    def _cut(self, waiting: list[_Copy]) -> None:
        """Let those go that are not among the best at the rung that all have reached."""
        curves = {rate: record.history for rate, record in self.records.items()}
        curves |= {copy.rate: tuple(copy.progress.history) for copy in waiting}
        stopping = self._halving.cut(curves, self.records)
        for copy in waiting:
            if copy.rate in stopping:
                self._end(copy, "halted")

    def _advance(self, stack: Stack[Batch], group: list[_Copy]) -> None:
        """Train a group of trials to their next validation.

        Raises:
            OutOfMemoryError: When the program does not fit: its batch is in parts already.
        """
        last = stack.step
        try:
            self._interval(stack, group)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            title = self.training.title(*(copy.rate for copy in group))
            tried = f"with all {len(group)} learning rates at once"
            raise not_fitting(title, last, tried, str(error)) from error

    def _interval(self, stack: Stack[Batch], group: list[_Copy]) -> None:
        """Train a group of trials to their next validation and take it."""
        started = time.perf_counter()
        budget = self.training.budget
        every = budget.validate_every
        means = stack.advance(min((stack.step // every + 1) * every, budget.steps))
        with torch.no_grad():
            metrics = self.problem.validations(stack.weights)
        if "val_mse" not in metrics:
            msg = f"{group[0].own.title}: validation must give 'val_mse'; found {sorted(metrics)}"
            raise ContractError(msg)
        states, finite = stack.states(), stack.finite()
        seconds = (time.perf_counter() - started) / len(group)
        for number, copy in enumerate(group):
            self._note(copy.progress, stack.step, seconds)
            row = None
            if finite[number]:
                row = self._row(copy, _of_copy(means, number), _of_copy(metrics, number))
            if row is None:
                self._end(copy, "diverged")
            else:
                copy.keep(states[number], row)
        best = min(copy.progress.best_value for copy in group)
        title = self.training.title(*(copy.rate for copy in group))
        _log.info("%s: step %d, best val_mse %.4g", title, stack.step, best)

    def _note(self, progress: Progress, step: int, seconds: float) -> None:
        progress.step, progress.views = step, step * self.problem.views_per_step
        progress.seconds += seconds
        progress.peak_memory_mb = max(progress.peak_memory_mb, self._memory.megabytes())

    def _row(
        self, copy: _Copy, means: Mapping[str, float], metrics: Mapping[str, float]
    ) -> dict[str, float] | None:
        """Return one row of a history, or nothing when the trial has diverged."""
        if not (math.isfinite(means["loss"]) and math.isfinite(metrics["val_mse"])):
            return None
        train = {f"train_{name}": mean for name, mean in means.items()}
        row = {"step": copy.progress.step, "views": copy.progress.views, **train, **metrics}
        return {name: float(value) for name, value in row.items() if math.isfinite(value)}

    def _end(self, copy: _Copy, status: str) -> None:
        self.records[copy.rate] = finish(copy.own, status, copy.progress)

    def _stack(self, group: list[_Copy]) -> Stack[Batch]:
        states = [copy.state for copy in group if copy.state is not None]
        rates = [copy.rate for copy in group]
        step = group[0].progress.step
        return Stack(self.problem, states, rates, step, torch.device(self.training.device))

    def _start(self) -> CopyState:
        """Return the state in which every trial begins."""
        module, name = self.problem.module, self.copies[0].own.title
        weights = {key: value.detach().cpu() for key, value in module.named_parameters()}
        if not weights or any(True for _ in module.buffers()):
            msg = f"{name}: a network trained in copies needs parameters and may have no buffers"
            raise ContractError(msg)
        batches = torch_generator(self.training.seed, "batches").get_state()
        zeros = {key: torch.zeros_like(value) for key, value in weights.items()}
        return CopyState(weights, zeros, zeros, batches)


def _of_copy(values: Mapping[str, Tensor], number: int) -> dict[str, float]:
    return {name: float(value[number]) for name, value in values.items()}
