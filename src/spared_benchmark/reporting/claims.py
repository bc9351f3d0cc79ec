"""What the SpaRED paper says of completion, beside what this study finds.

Printed figures are of Ruiz et al. 2025, over 26 cohorts and with the budget given there.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from spared_benchmark.reporting.ablations import ablation_claims
from spared_benchmark.reporting.claim import (
    IN_PART,
    NOT_REPRODUCED,
    REPRODUCED,
    UNTESTABLE,
    Claim,
    Errors,
    compared,
)
from spared_benchmark.reporting.grid import Cell, Column, Grid, Group
from spared_benchmark.reporting.numbers import DASH, decimal, percent
from spared_benchmark.reporting.tables import headline

NOTE = (
    "Verdicts hold for the cohorts and budgets of this study, by limits of our own; hover over one "
    "for its rule. “Simpler” says what a method "
    "without any training, or the same method told which entries are visible, does in the same "
    "comparison."
)
_REDUCTION, _REDUCTION_SLACK = 0.825, 0.05
_WORSE, _MUCH_WORSE = 10.0, 50.0  # about two orders of magnitude: more than half of a hundred
_FLAT, _STEEP = 1.2, 2.0


def completion_claims(summary: pd.DataFrame) -> list[Claim]:
    """Judge the paper's statements on completion by this study's scores on ``entries``.

    A statement is left out when what it compares was not run.

    Args:
        summary: `tables.completion_summary` of all cohorts, spaces and regimes.
    """
    if summary.empty:
        return []
    entries = summary[summary["regime"] == "entries"]
    plain = entries[entries["space"] == "log_tpm"]
    # Printed figures are of the corrected layer; growing shares are scored in the other alone.
    space = "combat" if (entries["space"] == "combat").any() else "log_tpm"
    leading = headline(entries[entries["space"] == space])
    found = [
        _below_the_median(_errors(leading), space),
        _far_below_stlearn(_errors(leading), space),
        _flat_in_the_share(_errors(plain)),
        _averages(leading, space),
    ]
    judged = [claim for claim in found if claim is not None]
    return [*judged, *ablation_claims(_errors(leading), space)] if judged else []


def claims_grid(claims: list[Claim]) -> Grid:
    """Return the statements, their verdicts and what was found in each cohort."""
    cohorts = list(dict.fromkeys(cohort for claim in claims for cohort in claim.found))
    columns = (
        Column("The paper says", numeric=False),
        Column("here", numeric=False),
        *(Column(cohort) for cohort in cohorts),
    )
    rows = tuple(
        (
            Cell(_told(claim), claim.words),
            Cell(claim.verdict, claim.verdict, claim.rule),
            *(Cell(claim.found.get(cohort, DASH)) for cohort in cohorts),
        )
        for claim in claims
    )
    return Grid("Completion: the paper's statements", columns, (Group("", rows),))


def _told(claim: Claim) -> str:
    return claim.words if claim.beside == DASH else f"{claim.words}. Simpler: {claim.beside}"


def _below_the_median(errors: Errors, space: str) -> Claim | None:
    reduced = compared(errors, "spackle", "median", lambda ours, other: 1 - ours / other)
    if not reduced:
        return None
    mean = float(np.mean(list(reduced.values())))
    verdict = NOT_REPRODUCED if mean <= 0 else IN_PART
    verdict = REPRODUCED if mean >= _REDUCTION - _REDUCTION_SLACK else verdict
    simple = compared(errors, "gene_mean", "median", lambda ours, other: 1 - ours / other)
    beside = f"gene_mean: {percent(float(np.mean(list(simple.values()))))}" if simple else DASH
    return Claim(
        "SpaCKLE's MSE is 82.5 % below that of the median filter",
        verdict,
        f"In {space}: mean over cohorts {percent(mean)}; reproduced from 77.5 %, in part above 0",
        {cohort: percent(value) for cohort, value in reduced.items()},
        beside,
    )


def _far_below_stlearn(errors: Errors, space: str) -> Claim | None:
    ratios = compared(errors, "sme_zeros", "spackle", lambda other, ours: other / ours)
    if not ratios:
        return None
    mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    verdict = NOT_REPRODUCED if mean < _WORSE else IN_PART
    told = compared(errors, "sme", "spackle", lambda other, ours: other / ours)
    middle = float(np.exp(np.mean(np.log(list(told.values()))))) if told else float("nan")
    return Claim(
        "stLearn's MSE is about two orders of magnitude above SpaCKLE's",
        REPRODUCED if mean >= _MUCH_WORSE else verdict,
        f"In {space}: geometric mean {decimal(mean)} times; reproduced from 50, in part from 10",
        {cohort: f"{decimal(value, 0)} times" for cohort, value in ratios.items()},
        f"told what is visible (sme): {decimal(middle)} times" if told else DASH,
    )


def _flat_in_the_share(errors: Errors) -> Claim | None:
    shares = sorted({share for _, _, share in errors})
    if len(shares) < 2:
        return None
    low, high = shares[0], shares[-1]

    def growth(name: str) -> dict[str, float]:
        cohorts = [cohort for cohort, method, share in errors if (method, share) == (name, low)]
        known = [cohort for cohort in cohorts if (cohort, name, high) in errors]
        return {c: errors[c, name, high] / errors[c, name, low] for c in known}

    ours, median = (growth(f"{name} (paper evaluation)") for name in ("spackle", "median"))
    simple = {name: growth(name) for name in ("median", "spackle", "additive")}
    beside = [f"{name} {decimal(float(np.mean([*g.values()])))}" for name, g in simple.items() if g]
    both = [cohort for cohort in ours if cohort in median]
    if not both:
        return None
    flat = float(np.mean([ours[cohort] for cohort in both])) <= _FLAT
    steep = float(np.mean([median[cohort] for cohort in both])) >= _STEEP
    return Claim(
        "From 10 to 70 % hidden the median's MSE grows from 1.2 to above 3, SpaCKLE's hardly "
        "(how many times; median, SpaCKLE)",
        {2: REPRODUCED, 1: IN_PART, 0: NOT_REPRODUCED}[flat + steep],
        f"In log_tpm, medians at missing entries: MSE at {percent(high)} over that at "
        f"{percent(low)} hidden, mean over cohorts; SpaCKLE at most {_FLAT:g}, the median at least "
        f"{_STEEP:g}",
        {c: f"{decimal(median[c], 1)}; {decimal(ours[c], 1)}" for c in both},
        f"nothing told of missing entries: {', '.join(beside)} times" if beside else DASH,
    )


def _averages(leading: pd.DataFrame, space: str) -> Claim | None:
    errors = _errors(leading)
    own = {cohort: error for (cohort, method, _), error in errors.items() if method == "spackle"}
    if not own:
        return None
    rows = leading[leading["completer"] == "spackle"]
    correlation = dict(zip(rows["cohort"], rows["pcc_gene"], strict=True))
    methods = [
        min(error for (code, _, _), error in errors.items() if code == cohort) for cohort in own
    ]
    return Claim(
        "SpaCKLE's average MSE is 0.713 and its average PCC 0.600",
        UNTESTABLE,
        f"In {space}; the average is over 26 cohorts, of which the study has few",
        {c: f"{decimal(error, 2)}; {decimal(correlation.get(c), 2)}" for c, error in own.items()},
        f"the lowest of each cohort: {decimal(float(np.mean(methods)))}",
    )


def _errors(rows: pd.DataFrame) -> Errors:
    """Return the MSE by cohort, completer and hidden share, ceilings left out."""
    known = rows[(rows["kind"] != "ceiling") & rows["mse"].notna()]
    keys = zip(known["cohort"], known["completer"], known["hidden_fraction"], strict=True)
    return {
        (str(cohort), str(name), float(share)): float(error)
        for (cohort, name, share), error in zip(keys, known["mse"], strict=True)
    }
