"""A statement of the paper with its verdict, and what verdicts are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

REPRODUCED, IN_PART = "reproduced", "in part"
NOT_REPRODUCED, UNTESTABLE = "not reproduced", "untestable here"

# MSE by cohort, completer and hidden share.
Errors = dict[tuple[str, str, float], float]


@dataclass(frozen=True)
class Claim:
    """One statement of the paper.

    Attributes:
        words: What is said, with the printed figure.
        verdict: ``reproduced``, ``in part``, ``not reproduced`` or ``untestable here``.
        rule: How the verdict came about.
        found: What came out, by cohort.
        beside: The same comparison by something simpler.
    """

    words: str
    verdict: str
    rule: str
    found: dict[str, str]
    beside: str


def compared(
    errors: Errors, first: str, second: str, compare: Callable[[float, float], float]
) -> dict[str, float]:
    """Return ``compare`` of two completers' errors in each cohort that has both."""
    of = {name: {c: e for (c, m, _), e in errors.items() if m == name} for name in (first, second)}
    shared = [cohort for cohort in of[first] if cohort in of[second]]
    return {cohort: compare(of[first][cohort], of[second][cohort]) for cohort in shared}
