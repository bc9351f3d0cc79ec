"""What another random start would change of the difference of two models' errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.evaluation.bootstrap import Part

AND_SEEDS, OF_ONE_SEED = " and seeds", " of one seed"


@dataclass(frozen=True)
class Trainings:
    """The error of one model with each seed it was trained with.

    Attributes:
        seeds: As layers name them.
        errors: One for each ``(n_seeds,)``.
        fixed: Whether every seed gives the same: a closed form that was not fitted to labels
            exchanged by the seed. It is there under one seed alone.
    """

    seeds: tuple[str, ...]
    errors: NDArray[np.float64]
    fixed: bool


def seed_parts(first: Trainings, second: Trainings) -> list[Part] | None:
    """Return the variance, over seeds, of the difference of two models' mean errors.

    Models of the same seeds are paired, and what is fixed is paired with every seed of the other;
    else both are taken as independent, one part each.

    Returns:
        No part when neither depends on the seed; ``None`` when one that does was trained once, of
        which nobody knows what another seed would change.
    """
    drawn = [model for model in (first, second) if not model.fixed]
    if any(len(model.seeds) < 2 for model in drawn):
        return None
    if len(drawn) == 2 and set(first.seeds) == set(second.seeds):
        place = [second.seeds.index(seed) for seed in first.seeds]
        return [_of_mean(first.errors - second.errors[place])]
    return [_of_mean(model.errors) for model in drawn]


def drawn_name(units: str, parts: list[Part] | None) -> str:
    """Return what an interval is over: ``blocks``, ``blocks and seeds``, ``blocks of one seed``."""
    if parts is None:
        return units + OF_ONE_SEED
    return units + AND_SEEDS if parts else units


def _of_mean(values: NDArray[np.float64]) -> Part:
    return Part(float(values.var(ddof=1)) / len(values), len(values) - 1)
