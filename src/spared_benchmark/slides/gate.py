"""The gate before processing: what splits share, and what cohorts share, is an error or told.

A slide, its image or its subject in two splits lets a method be scored on what it was fitted on.
A cohort within another counts the same slides twice in averages over cohorts. Each rule of
`GateSettings` says whether that ends the run or is a warning; nothing passes silently.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.slides.identity import BITS, SAME_IMAGE, image_distances
from spared_benchmark.study import GateSettings

FINDINGS = ("cohort", "rule", "severity", "slides", "splits", "detail")

_IDENTITY = ("source_digest", "counts_digest", "image_digest", "image_hash")
_NEEDED = ("cohort", "slide", "subject", "split", *_IDENTITY)
_REMEDIES = {
    "same_subject": "give all slides of the subject the same split, or leave slides out",
    "same_slide": "leave out all but one of the slides, or give the right files to each",
    "same_image": "leave out all but one of the slides, or give the right image to each",
    "same_cohort": "take one of the cohorts out of study.cohorts, or leave the slides out",
}

logger = logging.getLogger(__name__)
Flags = NDArray[np.bool_]


def check_splits(
    slides: pd.DataFrame, rules: GateSettings, others: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Find what one cohort's splits share, and what it shares with others.

    Warnings are logged, errors refused.

    Args:
        slides: One row per slide of the cohort: ``cohort``, ``slide``, ``subject``, ``split`` and
            what `spared_benchmark.slides.identity.identify` returns.
        rules: ``error`` or ``warning`` by finding.
        others: The same of other cohorts, as far as they are known.

    Returns:
        One row per finding: ``cohort``, ``rule``, ``severity``, ``slides``, ``splits``,
        ``detail``. Copies within one split are warnings: they count twice but leak nothing. The
        rule ``no_image`` names slides that could not be compared by image. For another cohort
        that holds the same slides there is one row of the rule ``same_cohort``, whose ``cohort``
        names both.

    Raises:
        ContractError: When a column is missing.
        InputError: With every finding of severity ``error``, and how to mend it.
    """
    findings = _within(_checked(slides), rules)
    if others is not None and len(others):
        own = str(slides["cohort"].iloc[0])
        between = _between(pd.concat([slides, _checked(others)]), rules, own)
        findings = pd.concat([findings, between], ignore_index=True)
    return _settled(findings)


def find_shared(slides: pd.DataFrame, rules: GateSettings) -> pd.DataFrame:
    """Find what the splits of each cohort share, and what cohorts share.

    Nothing is logged or refused: that is for `check_splits`, before anything is processed.

    Args:
        slides: As for `check_splits`, of any number of cohorts.
        rules: ``error`` or ``warning`` by finding.

    Returns:
        As `check_splits`.

    Raises:
        ContractError: When a column is missing.
    """
    if slides.empty:
        return _table([])
    slides = _checked(slides)
    within = [_within(own, rules) for _, own in slides.groupby("cohort", sort=False)]
    return pd.concat([*within, _between(slides, rules)], ignore_index=True)


def _within(slides: pd.DataFrame, rules: GateSettings) -> pd.DataFrame:
    slides = slides.reset_index(drop=True)
    return _table(
        [
            *_subjects(slides, rules),
            *_copies(slides, "same_slide", rules.same_slide, _by_content(slides)),
            *_copies(slides, "same_image", rules.same_image, _by_image(slides)),
            *_without_image(slides),
        ]
    )


def _between(slides: pd.DataFrame, rules: GateSettings, own: str | None = None) -> pd.DataFrame:
    """Return what cohorts share; with ``own``, the first cohort, what it shares with others."""
    in_order = np.argsort(pd.factorize(slides["cohort"])[0], kind="stable")
    slides = slides.iloc[in_order].reset_index(drop=True)
    same = _by_image(slides) | _by_content(slides)
    by_cohorts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    codes = slides["cohort"].tolist()
    for one, other in sorted(same):
        if codes[one] != codes[other] and own in (None, codes[one]):
            by_cohorts.setdefault((codes[one], codes[other]), []).append((one, other))
    return _table(
        [
            _overlap(slides, pairs, names, {same[pair] for pair in pairs}, rules.same_cohort)
            for names, pairs in by_cohorts.items()
        ]
    )


def _checked(slides: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in _NEEDED if column not in slides.columns]
    if missing:
        msg = (
            f"table of slides: no column {missing[0]!r}; found {', '.join(slides.columns)}; "
            f"needed: {', '.join(_NEEDED)}; run ingestion again"
        )
        raise ContractError(msg)
    return slides


def _subjects(slides: pd.DataFrame, rules: GateSettings) -> Iterator[dict[str, str]]:
    for subject, own in slides.groupby("subject", sort=False):
        if own["split"].nunique() > 1:
            detail = f"subject {subject} has slides in several splits: {_with_splits(own)}"
            yield _finding(own, "same_subject", rules.same_subject, detail)


def _by_content(slides: pd.DataFrame) -> dict[tuple[int, int], str]:
    """Return the pairs of rows with the same files or counts, and which of the two it is."""
    files, counts = _equal(slides["source_digest"]), _equal(slides["counts_digest"])
    return {
        pair: "the same files" if files[pair] else "the same counts"
        for pair in _pairs(files | counts)
    }


def _by_image(slides: pd.DataFrame) -> dict[tuple[int, int], str]:
    """Return the pairs of rows with images that pass for the same, and how near they are."""
    pixels = _equal(slides["image_digest"])
    distance = image_distances(slides["image_hash"].tolist())
    reasons = {
        pair: f"one picture ({distance[pair]:.0f} of {BITS} bits differ, {SAME_IMAGE} may)"
        for pair in _pairs(distance <= SAME_IMAGE)
    }
    return reasons | dict.fromkeys(_pairs(pixels), "the same pixels")


def _copies(
    slides: pd.DataFrame, rule: str, severity: str, same: dict[tuple[int, int], str]
) -> Iterator[dict[str, str]]:
    """Yield one finding for each group of slides that are copies of one another."""
    adjacent = np.zeros((len(slides), len(slides)), dtype=bool)
    for pair in same:
        adjacent[pair] = True
    group = connected_components(adjacent, directed=False)[1]
    for number in dict.fromkeys(group[one] for one, _ in same):
        own = slides[group == number]
        reasons = sorted({why for (one, _), why in same.items() if group[one] == number})
        between = own["split"].nunique() > 1
        detail = f"{_with_splits(own)} have {' and '.join(reasons)}"
        yield _finding(own, rule, severity if between else "warning", detail)


def _without_image(slides: pd.DataFrame) -> Iterator[dict[str, str]]:
    blind = slides[slides["image_hash"] == ""]
    if len(blind) and len(slides) > 1:
        detail = f"{_listed(blind['slide'])}: no image, so compared by files and counts alone"
        yield _finding(blind, "no_image", "warning", detail)


def _overlap(
    slides: pd.DataFrame,
    pairs: list[tuple[int, int]],
    names: tuple[str, str],
    reasons: set[str],
    severity: str,
) -> dict[str, str]:
    sides = [slides.loc[list(dict.fromkeys(side))] for side in zip(*pairs, strict=True)]
    sizes = [int((slides["cohort"] == code).sum()) for code in names]
    parts = [
        f"{len(side)} of the {size} slides of {code}"
        for side, size, code in zip(sides, sizes, names, strict=True)
    ]
    name, split = slides["slide"].tolist(), slides["split"].tolist()
    moved = [
        f"{name[one]} ({split[one]} in {names[0]}, {split[other]} in {names[1]})"
        for one, other in pairs
        if split[one] != split[other]
    ]
    elsewhere = f"; in another split there: {', '.join(moved)}" if moved else ""
    detail = (
        f"{' and '.join(parts)} are the same ({'; '.join(sorted(reasons))}){elsewhere}; averages "
        "over cohorts count them twice"
    )
    finding = _finding(pd.concat(sides), "same_cohort", severity, detail)
    return finding | {"cohort": ", ".join(names)}


def _settled(findings: pd.DataFrame) -> pd.DataFrame:
    for one in findings[findings["severity"] == "warning"].itertuples():
        logger.warning("%s: %s: %s", one.cohort, one.rule, one.detail)
    errors = findings[findings["severity"] == "error"]
    if len(errors):
        raise InputError(_refusal(errors))
    return findings


def _refusal(errors: pd.DataFrame) -> str:
    lines = [f"{len(errors)} thing(s) are shared that must not be:"]
    lines += [f"{one.cohort}: {one.rule}: {one.detail}" for one in errors.itertuples()]
    rules = list(dict.fromkeys(errors["rule"]))
    remedies = [f"{rule}: {_REMEDIES[rule]} (study.leave_out)" for rule in rules]
    allowed = ", ".join(f"{rule}: warning" for rule in rules)
    return "\n".join(
        [
            "\n  - ".join(lines),
            f"To mend it: {'; '.join(remedies)}",
            f"Where it is meant to be so, write study.gate: {{{allowed}}}",
        ]
    )


def _table(found: list[dict[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=list(FINDINGS), dtype=object)


def _finding(own: pd.DataFrame, rule: str, severity: str, detail: str) -> dict[str, str]:
    return {
        "cohort": str(own["cohort"].iloc[0]),
        "rule": rule,
        "severity": severity,
        "slides": _listed(own["slide"]),
        "splits": _listed(own["split"]),
        "detail": detail,
    }


def _equal(digests: pd.Series) -> Flags:
    """Return which pairs of rows hold the same digest ``(n, n)``; an empty one equals none."""
    values = digests.to_numpy(dtype=str)
    equal: Flags = (values[:, None] == values) & (values != "")
    return equal


def _pairs(flags: Flags) -> Iterator[tuple[int, int]]:
    yield from zip(*(axis.tolist() for axis in np.nonzero(np.triu(flags, 1))), strict=True)


def _with_splits(own: pd.DataFrame) -> str:
    return ", ".join(f"{row.slide} ({row.split})" for row in own.itertuples())


def _listed(words: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(word) for word in words))
