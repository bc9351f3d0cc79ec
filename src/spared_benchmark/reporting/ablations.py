"""What the paper says of SpaCKLE's parts, beside the variants of the study ``ablations``.

Variants are known by the names that the shipped study gives them.
"""

from __future__ import annotations

import numpy as np

from spared_benchmark.reporting.claim import (
    IN_PART,
    NOT_REPRODUCED,
    REPRODUCED,
    UNTESTABLE,
    Claim,
    Errors,
    compared,
)
from spared_benchmark.reporting.numbers import DASH, decimal

WHOLE = "spackle"
NO_MEDIAN, MEASURED = f"{WHOLE}_no_median", f"{WHOLE}_no_median_measured_loss"
HOPS = (f"{WHOLE}_hops_0", f"{WHOLE}_hops_1", WHOLE, f"{WHOLE}_hops_3")
CONTEXT, IMAGE = f"{WHOLE}_context", f"{WHOLE}_image"
_ALONE, _WIDER = 1.05, 0.02

_NOT_RUN = Claim(
    "Ablations: MSE 6.166 without median pre-completion; 0, 6, 18, 36 neighbours; 1,024 genes",
    UNTESTABLE,
    "Not part of this study; the study 'ablations' has them",
    {},
    DASH,
)


def ablation_claims(errors: Errors, space: str) -> list[Claim]:
    """Judge what the paper says of SpaCKLE's parts; a statement without its variant is left out.

    Args:
        errors: Of the headline.
        space: Of these errors, for the rule.
    """
    found = (
        _without_medians(errors, space),
        _neighbours(errors, space),
        _further_inputs(errors, space),
    )
    return [claim for claim in found if claim is not None] or [_NOT_RUN]


def _without_medians(errors: Errors, space: str) -> Claim | None:
    ratios = _ratios(errors, NO_MEDIAN)
    if not ratios:
        return None
    mean = _mean(ratios)
    told = _ratios(errors, MEASURED)
    return Claim(
        "Without median pre-completion SpaCKLE's MSE is 6.166 instead of 0.713 (how many times)",
        _verdict(mean > 1, mean >= 6.166 / 0.713 / 2),
        f"In {space}: geometric mean {decimal(mean)} times; reproduced from half of the paper's "
        "8.6, in part above 1",
        {cohort: decimal(ratio) for cohort, ratio in ratios.items()},
        f"neither medians nor missing entries in the loss: {decimal(_mean(told))} times"
        if told
        else DASH,
    )


def _neighbours(errors: Errors, space: str) -> Claim | None:
    alone, wider = _ratios(errors, HOPS[0]), _ratios(errors, HOPS[3])
    cohorts = [cohort for cohort in alone if cohort in wider]
    if not cohorts:
        return None
    of = {(cohort, name): error for (cohort, name, _), error in errors.items()}
    found = {
        cohort: "; ".join(decimal(of[cohort, name], 2) for name in HOPS if (cohort, name) in of)
        for cohort in cohorts
    }
    helped = _mean(alone) >= _ALONE
    enough = abs(_mean(wider) - 1) <= _WIDER
    return Claim(
        "MSE 0.814, 0.726, 0.713, 0.716 with 0, 1, 2, 3 steps of the lattice: neighbours help, and "
        "two steps are enough",
        _verdict(helped or enough, helped and enough),
        f"In {space}: without neighbours {decimal(_mean(alone))} times the MSE of two steps, from "
        f"{_ALONE:g} they help; three steps {decimal(_mean(wider))} times, within {_WIDER:.0%} two "
        "are enough",
        found,
        DASH,
    )


def _further_inputs(errors: Errors, space: str) -> Claim | None:
    genes, images = _ratios(errors, CONTEXT), _ratios(errors, IMAGE)
    cohorts = [cohort for cohort in genes if cohort in images]
    if not cohorts:
        return None
    worse = [_mean(genes) > 1, _mean(images) > 1]
    return Claim(
        "1,024 genes instead of 128 raise the MSE 1.10 times, features of a vision transformer "
        "1.20 times",
        _verdict(any(worse), all(worse)),
        f"In {space}: geometric means {decimal(_mean(genes))} and {decimal(_mean(images))} times; "
        "each above 1. The context is what the cohort has, and the transformer is as the study "
        "says, perhaps without training",
        {c: f"{decimal(genes[c])}; {decimal(images[c])}" for c in cohorts},
        DASH,
    )


def _ratios(errors: Errors, variant: str) -> dict[str, float]:
    return compared(errors, variant, WHOLE, lambda changed, whole: changed / whole)


def _mean(ratios: dict[str, float]) -> float:
    return float(np.exp(np.mean(np.log(list(ratios.values())))))


def _verdict(in_part: bool, whole: bool) -> str:  # noqa: FBT001 - two judgements in a row
    if whole:
        return REPRODUCED
    return IN_PART if in_part else NOT_REPRODUCED
