"""One training with one learning rate, resumed from its last checkpoint.

Adam with a constant rate, validation every few steps and at the last, the best validation kept:
the training of the SpaRED benchmark (Ruiz et al. 2025), whose every run this is.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from spared_benchmark.errors import ContractError
from spared_benchmark.training.memory import PeakMemory
from spared_benchmark.training.problem import Divisible, Problem
from spared_benchmark.training.records import Progress
from spared_benchmark.training.seeds import torch_generator
from spared_benchmark.training.training import SweepTrial

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class Loop:
    """The training of one problem at one learning rate.

    Args:
        problem: What is trained.
        own: The trial: its rate, its seed, where checkpoints go and what it is called.
        memory: Measures the trial.
        micro_batches: Parts that each batch is computed in; a checkpoint may say more.
    """

    def __init__(
        self, problem: Problem, own: SweepTrial, memory: PeakMemory, micro_batches: int = 1
    ) -> None:
        self.problem, self.own, self._memory = problem, own, memory
        parameters = [weight for weight in problem.module.parameters() if weight.requires_grad]
        if not parameters:
            msg = (
                f"{own.title}: the network has no trainable parameter; a closed form needs no loop"
            )
            raise ContractError(msg)
        self.optimiser = torch.optim.Adam(parameters, lr=own.rate)
        self.generator = torch_generator(own.training.seed, "batches")
        self.progress = Progress(micro_batches=micro_batches)
        self.progress.describe(problem.module)
        self._last_line = time.perf_counter()

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        asked, self.progress = self.progress.micro_batches, Progress(**checkpoint["progress"])
        self.progress.micro_batches = max(asked, self.progress.micro_batches)
        self.progress.describe(self.problem.module)
        _log.info("%s: goes on from step %d", self.own.title, self.progress.step)
        self.problem.module.load_state_dict(checkpoint["module"])
        self.optimiser.load_state_dict(checkpoint["optimiser"])
        self.generator.set_state(checkpoint["batches"])
        torch.set_rng_state(checkpoint["torch"])
        if checkpoint["cuda"] and len(checkpoint["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(checkpoint["cuda"])
        self.own.tell(self.progress.history)

    def run(self, until: int) -> str:
        """Train to step ``until``; returns ``paused``, ``finished`` (the end) or ``diverged``."""
        budget = self.own.training.budget
        started = time.perf_counter() - self.progress.seconds
        totals: dict[str, Tensor] = {}
        count = 0
        self.problem.module.train()
        for step in range(self.progress.step + 1, until + 1):
            self._add(totals, self._step())
            count += 1
            if step % budget.validate_every and step != budget.steps:
                continue
            means = {name: float(total) / count for name, total in totals.items()}
            totals, count = {}, 0
            self.progress.step = step
            self.progress.views = step * self.problem.views_per_step
            metrics = self._validated(means)
            self.progress.seconds = time.perf_counter() - started
            self.progress.peak_memory_mb = max(
                self.progress.peak_memory_mb, self._memory.megabytes()
            )
            if metrics is None:
                return "diverged"
            self._keep(metrics)
        return "finished" if until == budget.steps else "paused"

    def _step(self) -> dict[str, Tensor]:
        self.optimiser.zero_grad(set_to_none=True)
        if self.progress.micro_batches > 1:
            terms = self._accumulated()
        else:
            terms = self._checked(self.problem.loss(self.generator))
            terms["loss"].backward()
        self.optimiser.step()
        return terms

    def _accumulated(self) -> dict[str, Tensor]:
        """Compute a batch in parts, each differentiated before the next; returns its terms."""
        if not isinstance(self.problem, Divisible):
            msg = f"{self.own.title}: the problem has no parts to compute its batch in"
            raise ContractError(msg)
        totals: dict[str, Tensor] = {}
        for terms, share in self.problem.parts(self.generator, self.progress.micro_batches):
            parts = {name: term * share for name, term in self._checked(terms).items()}
            parts["loss"].backward()
            self._add(totals, parts)
        return totals

    def _checked(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        if "loss" not in terms:
            msg = (
                f"{self.own.title}: the terms of a loss must contain 'loss'; found {sorted(terms)}"
            )
            raise ContractError(msg)
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
        # Weights that no val spot uses may be lost without any error showing it.
        if not (math.isfinite(means["loss"]) and _finite(self.problem.module)):
            return None
        module = self.problem.module.eval()
        with torch.no_grad():
            metrics = self.problem.validate()
        module.train()
        if "val_mse" not in metrics:
            msg = f"{self.own.title}: validation must give 'val_mse'; found {sorted(metrics)}"
            raise ContractError(msg)
        if not math.isfinite(metrics["val_mse"]):
            return None
        train = {f"train_{name}": mean for name, mean in means.items()}
        row = {"step": self.progress.step, "views": self.progress.views, **train, **metrics}
        return {name: float(value) for name, value in row.items() if math.isfinite(value)}

    def _keep(self, metrics: dict[str, float]) -> None:
        best = weights_of(self.problem) if self.progress.add(metrics) else None
        self.own.trial.save_checkpoint(self._checkpoint(), best)
        self.own.tell([metrics])
        if time.perf_counter() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.perf_counter()
            step, value = self.progress.step, metrics["val_mse"]
            _log.info("%s: step %d, val_mse %.4g", self.own.title, step, value)

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


def weights_of(problem: Problem) -> dict[str, Tensor]:
    """Return a copy of the network's state on the CPU."""
    state = problem.module.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}


def _finite(module: nn.Module) -> bool:
    checks = [weight.isfinite().all() for weight in module.parameters()]
    return bool(torch.stack(checks).all())
