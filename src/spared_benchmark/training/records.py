"""How far a trial has come, and what is written down of it when it ends."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from spared_benchmark.training.observer import Artifacts, current
from spared_benchmark.training.training import SweepTrial

_log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a training has come, over all processes that worked on it.

    Attributes:
        step: Last step after which was validated.
        best_step: Step of the lowest validation error, 0 when there was none.
        best_value: That validation error.
        seconds: Wall time.
        views: Spot views.
        parameters_trainable: Of the network.
        parameters_total: Of the network.
        micro_batches: Parts that a batch is computed in: 2 after it did not fit into memory whole.
        peak_memory_mb: See `training.memory`.
        history: One row per validation.
    """

    step: int = 0
    best_step: int = 0
    best_value: float = math.inf
    seconds: float = 0.0
    views: int = 0
    parameters_trainable: int = 0
    parameters_total: int = 0
    micro_batches: int = 1
    peak_memory_mb: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def describe(self, module: nn.Module) -> None:
        """Note the size of the network that is trained."""
        self.parameters_trainable, self.parameters_total = parameter_counts(module)

    def add(self, metrics: dict[str, float]) -> bool:
        """Take a validation; returns whether it is the best so far."""
        self.history.append(metrics)
        if metrics["val_mse"] >= self.best_value:
            return False
        self.best_step, self.best_value = self.step, metrics["val_mse"]
        return True


@dataclass(frozen=True)
class TrialRecord:
    """What is known of one trial.

    Attributes:
        trial: Digest that names its folder.
        status: ``finished``, ``halted`` (stopped early because others did better) or ``diverged``.
        best_step: Step of the lowest validation error, 0 when there was none.
        best_value: That validation error (``val_mse``); not finite when there was none.
        seconds: Wall time, over all processes that worked on it; of trials that ran in one
            program, each has its share.
        views: Spot views of the training, as far as it went.
        history: One row per validation.
        micro_batches: Parts that a batch was computed in; 2 after it did not fit into memory.
        peak_memory_mb: Highest memory of the training in 10⁶ bytes, see `training.memory`; of
            trials that ran in one program, the program's. None when the system does not tell.
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
    micro_batches: int = 1
    peak_memory_mb: float | None = None

    @property
    def views_per_second(self) -> float:
        """Spot views by wall time, validation included."""
        return self.views / max(self.seconds, 1e-9)

    @property
    def step(self) -> int:
        """Step of the last validation, 0 when there was none."""
        return int(self.history[-1]["step"]) if self.history else 0

    def summary(self) -> dict[str, Any]:
        """Return the record without its history, fit for JSON."""
        content = {name: value for name, value in asdict(self).items() if name != "history"}
        if self.best_step == 0:
            content["best_value"] = None
        return {**content, "views_per_second": round(self.views_per_second, 1)}


def finish(
    own: SweepTrial, status: str, progress: Progress, make: Callable[[], Artifacts] | None = None
) -> TrialRecord:
    """Write down, log and show how a trial ended, and return its record.

    Args:
        own: The trial.
        status: How it ended.
        progress: How far it came.
        make: Draws what is to be seen of the trained network; called only if somebody watches.
    """
    content = {name: value for name, value in asdict(progress).items() if name != "step"}
    content |= {
        "trial": own.trial.key,
        "learning_rate": own.rate,
        "seed": own.training.seed,
        "status": status,
        "device": own.training.device,
        "history": tuple(progress.history),
        "peak_memory_mb": progress.peak_memory_mb or None,
    }
    record = TrialRecord(**content)
    _log.info(
        "%s: %s, best val_mse %.5g at step %d of %d, %.1f s, %.0f spot views/s",
        own.title,
        status,
        progress.best_value,
        progress.best_step,
        own.training.budget.steps,
        progress.seconds,
        record.views_per_second,
    )
    best = record.best_value if record.best_step else None
    own.trial.finish({**asdict(record), "best_value": best})
    _show(own, record, make)
    return record


def known_record(
    own: SweepTrial, make: Callable[[], Artifacts] | None = None
) -> TrialRecord | None:
    """Return the record of a trial that has ended, shown to the observer; else nothing."""
    content = own.trial.result()
    if content is None:
        return None
    names = set(TrialRecord.__dataclass_fields__)
    values = {name: value for name, value in content.items() if name in names}
    values["history"] = tuple(values["history"])
    if values["best_value"] is None:
        values["best_value"] = math.inf
    record = TrialRecord(**values)
    own.tell(record.history)
    _show(own, record, make)
    return record


def parameter_counts(module: nn.Module) -> tuple[int, int]:
    """Return the number of trainable parameters and of all."""
    counts = [(weight.numel(), weight.requires_grad) for weight in module.parameters()]
    return sum(size for size, free in counts if free), sum(size for size, _ in counts)


def _show(own: SweepTrial, record: TrialRecord, make: Callable[[], Artifacts] | None) -> None:
    if make is not None and record.best_step:
        current().shown(own.label, make)
    current().trial_ended(own.label, record.status, record.summary())
