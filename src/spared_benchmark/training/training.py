"""What surrounds a training that is not its problem, and how each trial of a sweep is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from spared_benchmark.study import Budget
from spared_benchmark.training.observer import current
from spared_benchmark.training.trials import Trial, TrialStore

# Raised when the loop changes results, so that trials of the earlier one are not taken for its own.
_VERSION = 1
# What of an identity the observer is told, and by which name.
_TOLD = {"space": "space", "method": "method", "target": "target", "data": "data"}


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

    def title(self, *rates: float) -> str:
        """Return the name of trials in the log, where any method may be training beside them."""
        known = self.identity
        target = f" on {known['target']}" if "target" in known else ""
        space = f" in {known['space']}" if "space" in known else ""
        method = known.get("method", "training")
        given = ", ".join(f"{rate:g}" for rate in rates)
        return f"{method}{target}{space} lr={given} seed={self.seed}"

    def open_trials(self, program: str | None = None) -> dict[float, SweepTrial]:
        """Return the trial of each learning rate.

        Args:
            program: Names the way of training where its results are not those of `sweep`.
        """
        budget = self.budget
        steps = budget.model_dump(mode="json", exclude={"learning_rates", "halving", "views"})
        own = {
            "budget": steps,
            "seed": self.seed,
            "version": _VERSION,
        }
        if program is not None:
            own["program"] = program
        if budget.halving is not None and len(set(budget.learning_rates)) > 1:
            # Which trials stop early depends on the others, so all of them name each.
            own["halving"] = {"one_in": budget.halving, "rates": budget.learning_rates}
        trials = {}
        for rate in budget.learning_rates:
            made_by = {**own, "learning_rate": rate}
            trial = self.trials.open({"inputs": dict(self.identity), "training": made_by})
            trials[rate] = SweepTrial(self, rate, trial)
        return trials


@dataclass
class SweepTrial:
    """One trial of a sweep, and what the observer was told of it.

    Attributes:
        training: What all trials of the sweep share.
        rate: Learning rate.
        trial: Where its artifacts are.
    """

    training: Training
    rate: float
    trial: Trial
    _begun: bool = False
    _told: int = 0

    @property
    def label(self) -> str:
        """Its name among the trials of one node, which may sweep in several spaces."""
        space = self.training.identity.get("space")
        rate, seed = f"lr={self.rate:g}", f"seed={self.training.seed}"
        return " ".join(part for part in (space, rate, seed) if part)

    @property
    def title(self) -> str:
        """Its name in the log."""
        return self.training.title(self.rate)

    def begin(self) -> bool:
        """Tell the observer that the trial begins; returns whether it was not told before."""
        if self._begun:
            return False
        self._begun = True
        known = self.training.identity
        parameters = {"learning_rate": self.rate, "seed": self.training.seed}
        given = {name: str(known[key]) for key, name in _TOLD.items() if key in known}
        budget = self.training.budget.model_dump(mode="json")
        current().trial_started(
            self.label, {**parameters, "trial": self.trial.key, **given, **budget}
        )
        return True

    def tell(self, history: Sequence[Mapping[str, float]]) -> None:
        """Show the observer the validations of ``history`` that it has not seen."""
        for metrics in history:
            step = int(metrics["step"])
            if step > self._told:
                self._told = step
                current().validated(self.label, step, metrics)
