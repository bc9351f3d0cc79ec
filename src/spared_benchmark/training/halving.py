"""Successive halving (Jamieson and Talwalkar 2016): at each rung only the best trials go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spared_benchmark.study import Budget
from spared_benchmark.training.records import TrialRecord

Curve = Sequence[Mapping[str, float]]


class Halving:
    """Which trials of a sweep go on, decided from their validations alone.

    A decision looks at no validation after its rung, so a sweep that was interrupted decides as it
    would have. Without halving the only rung is the end.

    Args:
        budget: Of the sweep.
    """

    def __init__(self, budget: Budget) -> None:
        self.contenders = tuple(dict.fromkeys(budget.learning_rates))
        self._one_in = budget.halving or 1
        self._rungs = rungs(budget)

    @property
    def until(self) -> int:
        """Step to which contenders are trained next."""
        return self._rungs[0]

    @property
    def ended(self) -> bool:
        """Whether contenders are trained to the end next."""
        return len(self._rungs) == 1

    def cut(
        self, curves: Mapping[float, Curve], records: Mapping[float, TrialRecord]
    ) -> list[float]:
        """Return the contenders that stop at this rung; the best ``1/halving`` of them go on.

        A trial that diverged counts among those that entered the rung. One that stopped here
        before the sweep was interrupted stays stopped.

        Args:
            curves: Validations by learning rate, of every contender.
            records: Of the trials that have ended, by learning rate.
        """
        step = self._rungs[0]
        self._rungs = self._rungs[1:]
        keep = -(-len(self.contenders) // self._one_in)
        stopped = {
            rate
            for rate, record in records.items()
            if record.status == "halted" and record.step <= step
        }
        reached = [
            rate
            for rate in self.contenders
            if rate not in stopped and any(row["step"] == step for row in curves[rate])
        ]
        ranked = sorted(reached, key=lambda rate: _best(curves[rate], step))
        self.contenders, worse = tuple(ranked[:keep]), ranked[keep:]
        return [rate for rate in worse if rate not in records]


def rungs(budget: Budget) -> tuple[int, ...]:
    """Return the steps at which trials are compared; the last is the end.

    There are as many as it takes to come down to one trial, each ``halving`` times as far as the
    one before; a rung falls on the next validation, and those that fall together are one.
    """
    left, further = len(set(budget.learning_rates)), 0
    while budget.halving is not None and left > 1:
        left = -(-left // budget.halving)
        further += 1
    every = budget.validate_every
    early = {
        -(-budget.steps // ((budget.halving or 1) ** rung * every)) * every
        for rung in range(1, further + 1)
    }
    return (*sorted(step for step in early if step < budget.steps), budget.steps)


def _best(curve: Curve, step: int) -> float:
    return min(row["val_mse"] for row in curve if row["step"] <= step)
