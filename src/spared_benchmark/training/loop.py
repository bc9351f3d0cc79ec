"""One training with one learning rate, resumed from its last checkpoint.

Adam with a constant rate, validation every few steps and at the last, the best validation kept:
the training of the SpaRED benchmark (Ruiz et al. 2025), whose every run this is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from spared_benchmark.errors import ContractError
from spared_benchmark.study import Budget
from spared_benchmark.training.observer import current
from spared_benchmark.training.problem import Problem
from spared_benchmark.training.seeds import torch_generator
from spared_benchmark.training.trials import Trial

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Progress:
    """How far a training has come; ``seconds`` counts every process that worked on it."""

    step: int = 0
    best_step: int = 0
    best_value: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class Loop:
    """The training of one problem at one learning rate.

    Args:
        problem: What is trained.
        learning_rate: Of Adam.
        seed: Of the batches.
        trial: Where checkpoints go.
        label: What the observer knows the trial by.
        title: What the log and errors call it.
    """

    def __init__(
        self,
        problem: Problem,
        learning_rate: float,
        seed: int,
        trial: Trial,
        label: str,
        title: str,
    ) -> None:
        self.problem, self.trial, self.label, self.title = problem, trial, label, title
        parameters = [weight for weight in problem.module.parameters() if weight.requires_grad]
        if not parameters:
            msg = f"{title}: the network has no trainable parameter; a closed form needs no loop"
            raise ContractError(msg)
        self.optimiser = torch.optim.Adam(parameters, lr=learning_rate)
        self.generator = torch_generator(seed, "batches")
        self.progress = Progress()
        self._last_line = time.perf_counter()

    def run(self, budget: Budget) -> str:
        """Train to the end of ``budget``; returns ``finished`` or ``diverged``."""
        self._resume()
        started = time.perf_counter() - self.progress.seconds
        totals: dict[str, Tensor] = {}
        count = 0
        self.problem.module.train()
        for step in range(self.progress.step + 1, budget.steps + 1):
            self._add(totals, self._step())
            count += 1
            if step % budget.validate_every and step != budget.steps:
                continue
            means = {name: float(total) / count for name, total in totals.items()}
            totals, count = {}, 0
            self.progress.step = step
            metrics = self._validated(means)
            self.progress.seconds = time.perf_counter() - started
            if metrics is None:
                return "diverged"
            self._keep(metrics)
        return "finished"

    def _step(self) -> dict[str, Tensor]:
        terms = self.problem.loss(self.generator)
        if "loss" not in terms:
            msg = f"{self.title}: the terms of a loss must contain 'loss'; found {sorted(terms)}"
            raise ContractError(msg)
        self.optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        self.optimiser.step()
        return terms

    @staticmethod
    def _add(totals: dict[str, Tensor], terms: Mapping[str, Tensor]) -> None:
        # Sums stay on the device: reading every loss would make each step wait for it. A loss
        # that is not finite makes its sum so.
        for name, term in terms.items():
            value = term.detach()
            totals[name] = totals[name] + value if name in totals else value.clone()

    def _validated(self, means: Mapping[str, float]) -> dict[str, float] | None:
        """Return the metrics of this step, or nothing when the training has diverged."""
        if not math.isfinite(means["loss"]):
            return None
        module = self.problem.module.eval()
        with torch.no_grad():
            metrics = self.problem.validate()
        module.train()
        if "val_mse" not in metrics:
            msg = f"{self.title}: validation must give 'val_mse'; found {sorted(metrics)}"
            raise ContractError(msg)
        if not math.isfinite(metrics["val_mse"]):
            return None
        views = self.progress.step * self.problem.views_per_step
        train = {f"train_{name}": mean for name, mean in means.items()}
        row = {"step": self.progress.step, "views": views, **train, **metrics}
        return {name: float(value) for name, value in row.items() if math.isfinite(value)}

    def _keep(self, metrics: dict[str, float]) -> None:
        progress = self.progress
        progress.history.append(metrics)
        improved = metrics["val_mse"] < progress.best_value
        if improved:
            progress.best_step, progress.best_value = progress.step, metrics["val_mse"]
        best = weights_of(self.problem) if improved else None
        self.trial.save_checkpoint(self._checkpoint(), best)
        current().validated(self.label, progress.step, metrics)
        if time.perf_counter() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.perf_counter()
            _log.info("%s: step %d, val_mse %.4g", self.title, progress.step, metrics["val_mse"])

    def _checkpoint(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "progress": asdict(self.progress),
            "module": self.problem.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "batches": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": cuda,
        }

    def _resume(self) -> None:
        checkpoint = self.trial.checkpoint()
        if checkpoint is None:
            return
        self.progress = Progress(**checkpoint["progress"])
        _log.info("%s: goes on from step %d", self.title, self.progress.step)
        self.problem.module.load_state_dict(checkpoint["module"])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        self.generator.set_state(checkpoint["batches"])
        torch.set_rng_state(checkpoint["torch"])
        if checkpoint["cuda"] and len(checkpoint["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(checkpoint["cuda"])
        for metrics in self.progress.history:
            current().validated(self.label, int(metrics["step"]), metrics)


def weights_of(problem: Problem) -> dict[str, Tensor]:
    """Return a copy of the network's state on the CPU."""
    state = problem.module.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
