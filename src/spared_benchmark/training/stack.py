"""Copies of one network side by side: weights stacked, one Adam with a rate for each copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from spared_benchmark.errors import ContractError
from spared_benchmark.training.problem import Batch, StackedProblem
from spared_benchmark.training.seeds import derive

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class CopyState:
    """All that a copy's training goes on from, on the CPU.

    Attributes:
        weights: By name.
        first: Adam's mean of the gradients, by name.
        second: Adam's mean of their squares, by name.
        batches: State of the generator of batches.
    """

    weights: Mapping[str, Tensor]
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    batches: Tensor


class Stack(Generic[Batch]):
    """Copies that have come equally far, trained together.

    Args:
        problem: What is trained.
        states: Of the copies; their batches are the same.
        rates: Learning rate of each.
        step: How far they have come.
        device: Where the problem is.
    """

    def __init__(
        self,
        problem: StackedProblem[Batch],
        states: Sequence[CopyState],
        rates: Sequence[float],
        step: int,
        device: torch.device,
    ) -> None:
        self.problem, self.step = problem, step
        self.weights = _stacked([state.weights for state in states], device)
        self._adam = StackedAdam(
            self.weights,
            _stacked([state.first for state in states], device),
            _stacked([state.second for state in states], device),
            torch.tensor(rates, device=device),
        )
        self._rates = tuple(rates)
        self._generator = torch.Generator()
        self._generator.set_state(states[0].batches)

    def advance(self, until: int) -> dict[str, Tensor]:
        """Train up to step ``until``; returns the mean of each term of the loss ``(n_copies,)``."""
        totals: dict[str, Tensor] = {}
        count = until - self.step
        while self.step < until:
            self.step += 1
            self._take_step(totals)
        return {name: total / count for name, total in totals.items()}

    def finite(self) -> list[bool]:
        """Return for each copy whether all its weights are finite numbers."""
        checks = [weight.isfinite().flatten(1).all(1) for weight in self.weights.values()]
        return [bool(all_finite) for all_finite in torch.stack(checks).all(0)]

    def states(self) -> list[CopyState]:
        """Return the state of each copy."""
        batches = self._generator.get_state()
        kept = (self.weights, self._adam.first, self._adam.second)
        weights, first, second = (
            {name: value.cpu() for name, value in stacked.items()} for stacked in kept
        )
        return [
            CopyState(
                _of_copy(weights, copy), _of_copy(first, copy), _of_copy(second, copy), batches
            )
            for copy in range(len(self._rates))
        ]

    def _take_step(self, totals: dict[str, Tensor]) -> None:
        batch = self.problem.draw(self._generator)
        seed = int(torch.randint(2**62, (), generator=self._generator))
        noise = [derive(seed, repr(rate)) for rate in self._rates]
        weights = {name: value.detach().requires_grad_() for name, value in self.weights.items()}
        for terms in self.problem.parts(weights, batch, noise):
            if "loss" not in terms:
                msg = f"the terms of a loss must contain 'loss'; found {sorted(terms)}"
                raise ContractError(msg)
            # Copies share no weight, so the gradient of the sum is that of each.
            terms["loss"].sum().backward()
            # Sums stay on the device: reading every loss would make each step wait for it.
            for name, term in terms.items():
                totals[name] = totals.get(name, 0) + term.detach()
        self._adam.update({name: weight.grad for name, weight in weights.items()}, self.step)


class StackedAdam:
    """Adam (Kingma and Ba 2015, algorithm 1) with a learning rate for each copy.

    Args:
        weights: Stacked weights, updated in place.
        first: Means of the gradients, stacked.
        second: Means of their squares, stacked.
        rates: ``(n_copies,)``.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        first: Mapping[str, Tensor],
        second: Mapping[str, Tensor],
        rates: Tensor,
    ) -> None:
        self.weights, self.first, self.second, self.rates = weights, first, second, rates

    def update(self, gradients: Mapping[str, Tensor | None], step: int) -> None:
        """Take step number ``step``; weights without gradient stay."""
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            weight, first, second = self.weights[name], self.first[name], self.second[name]
            first.lerp_(gradient, 1 - _BETAS[0])
            second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
            rates = self.rates.view(-1, *[1] * (weight.ndim - 1))
            scale = math.sqrt(1 - _BETAS[1] ** step)
            denominator = second.sqrt().div_(scale).add_(_EPSILON)
            weight.sub_(first * (rates / (1 - _BETAS[0] ** step)) / denominator)


def _of_copy(stacked: Mapping[str, Tensor], copy: int) -> dict[str, Tensor]:
    return {name: value[copy].clone() for name, value in stacked.items()}


def _stacked(states: Sequence[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.stack([state[name] for state in states]).to(device) for name in states[0]}
