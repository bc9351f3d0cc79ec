"""Cohorts that hold the same slides, told from their definitions alone, before anything is read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from itertools import combinations

from spared_benchmark.study import Cohort

# The serial of a Visium slide, or the number of a repository or a hospital. Fewer digits may be a
# count or a year: slide1, section_0001 and sample_2021 stand for other sections elsewhere.
_SERIAL = re.compile(r"[A-Z]\d{2}[A-Z]\d{2}-\d{3}|\d{5}", re.IGNORECASE)


def overlaps(cohorts: Mapping[str, Cohort]) -> list[str]:
    """Return one line for each two cohorts that seem to hold the same slides.

    Slides are the same when they come from the same place, or when organism and name agree and
    the name holds a serial, so that it is a section's own (``V10S29-134_A1``, ``GSM4284316``),
    whatever the folder is called. Simulated cohorts share nothing. What else cohorts share is
    found by content (`spared_benchmark.slides.gate`).

    Args:
        cohorts: By code.
    """
    read = {code: cohort for code, cohort in cohorts.items() if cohort.simulation is None}
    places = {code: _places(code, cohort) for code, cohort in read.items()}
    lines = []
    for one, other in combinations(read, 2):
        same_organism = read[one].organism == read[other].organism
        pairs = [
            (mine, theirs)
            for mine, (folder, name) in places[one].items()
            for theirs, place in places[other].items()
            if place == (folder, name)
            or (same_organism and place[1] == name and _SERIAL.search(name))
        ]
        if pairs:
            lines.append(_line(read, one, other, pairs))
    return lines


def _places(code: str, cohort: Cohort) -> dict[str, tuple[str, str]]:
    """Return the folder and name of each slide's source."""
    sources = {slide: one.source or slide for slide, one in cohort.slides.items()}
    return {
        slide: posixpath.split(posixpath.normpath(posixpath.join(cohort.folder or code, source)))
        for slide, source in sources.items()
    }


def _line(cohorts: Mapping[str, Cohort], one: str, other: str, pairs: list[tuple[str, str]]) -> str:
    counts = [
        f"{len(set(side))} of the {len(cohorts[code].slides)} slides of {code}"
        for code, side in zip((one, other), zip(*pairs, strict=True), strict=True)
    ]
    moved = [
        f"{mine} ({cohorts[one].slides[mine].split} in {one}, "
        f"{cohorts[other].slides[theirs].split} in {other})"
        for mine, theirs in pairs
        if cohorts[one].slides[mine].split != cohorts[other].slides[theirs].split
    ]
    elsewhere = f"; in another split there: {', '.join(moved)}" if moved else ""
    return (
        f"{' and '.join(counts)} are the same by their definitions ({_listed(pairs)}){elsewhere}; "
        "averages over cohorts count them twice: take one of the cohorts out, or leave slides out"
    )


def _listed(pairs: list[tuple[str, str]]) -> str:
    return ", ".join(mine if mine == theirs else f"{mine} = {theirs}" for mine, theirs in pairs)
