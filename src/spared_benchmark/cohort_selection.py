"""Which cohorts a study takes from the library, and what of them cannot be."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spared_benchmark.errors import InputError, nearest
from spared_benchmark.expression.gene_file import read_gene_file
from spared_benchmark.expression.parity import cohort_unlike_library, unlike_library
from spared_benchmark.problems import Problems
from spared_benchmark.slides.overlap import overlaps
from spared_benchmark.study import Cohort, ProcessingSettings, SlideDefinition, Study

logger = logging.getLogger(__name__)

# What a file of the format 'spared' has settled already.
_SETTLED_BY_FILE = ("filter", "gene_file", "genes")
_UNUSED_BY_FILE = ("context_genes", "median_hops", "published", "rank_on")


def selected_cohorts(
    study: Study, files: Mapping[str, Any], project: Path, problems: Problems
) -> dict[str, Cohort]:
    """Return the cohorts of the study, without the slides that it leaves out.

    Args:
        study: Names them.
        files: The key ``study`` and one key for each cohort of the library.
        project: The folder that gene files are relative to.
        problems: Takes what is wrong with a definition.
    """
    library = [key for key in files if key != "study"]
    for key in library:
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", key):
            hint = nearest(key, ["study"])
            problems.add(f"{key}: neither 'study' nor a cohort's code such as MY_COHORT{hint}")
    selected: dict[str, Cohort] = {}
    for code in study.cohorts:
        if code not in files:
            known = ", ".join(sorted(library))
            problems.add(
                f"study.cohorts: no cohort {code!r}{nearest(code, library)}; there are {known}"
            )
            continue
        content = _without(files[code], study.leave_out.get(code, ()), code, problems)
        cohort = problems.parse(Cohort, content, code)
        if cohort is not None:
            problems.extend(_settled_by_file(code, cohort))
            selected[code] = _with_gene_names(cohort, code, project, problems)
            splits = {slide.split for slide in cohort.slides.values()}
            for split in ("train", "val"):
                if split not in splits:
                    problems.add(f"{code}: no slide has the split {split!r}; it is needed")
    for code in sorted(set(study.leave_out) - set(study.cohorts)):
        problems.add(f"study.leave_out.{code}: not a cohort of this study")
    return selected


def _settled_by_file(code: str, cohort: Cohort) -> list[str]:
    if cohort.format != "spared":
        return []
    return [
        f"{code}.{key}: a file of the format 'spared' holds the genes and spots that were chosen "
        f"when it was made; take {key!r} out of the definition, or process the raw slides"
        for key in _SETTLED_BY_FILE
        if key in cohort.model_fields_set
    ]


def _with_gene_names(cohort: Cohort, code: str, project: Path, problems: Problems) -> Cohort:
    """Return the cohort with what its gene file holds, so that digests follow the content."""
    if cohort.gene_names:
        problems.add(
            f"{code}.gene_names: is filled in from a file; write the names into a text file, one "
            "a line, and name it in gene_file"
        )
    if cohort.gene_file is None:
        return cohort
    try:
        names = read_gene_file(project / cohort.gene_file)
    except InputError as error:
        problems.add(f"{code}.gene_file: {error}")
        return cohort
    return cohort.model_copy(update={"gene_names": names})


def shared_slides(study: Study, cohorts: Mapping[str, Cohort]) -> list[str]:
    """Return what cohorts share by their definitions, or log it where that is a warning."""
    if study.gate.same_cohort == "error":
        return [f"study.gate.same_cohort: {line}" for line in overlaps(cohorts)]
    for line in overlaps(cohorts):
        logger.warning("study.cohorts: %s", line)
    return []


def _without(content: Any, left_out: Iterable[str], code: str, problems: Problems) -> Any:
    if not isinstance(content, Mapping) or not isinstance(content.get("slides"), Mapping):
        return content
    slides = dict(content["slides"])
    for slide in left_out:
        if slide not in slides:
            problems.add(f"study.leave_out.{code}: no slide {slide!r}{nearest(slide, slides)}")
        slides.pop(slide, None)
    known = SlideDefinition.model_fields
    for slide, definition in slides.items():
        if isinstance(definition, Mapping) and "split" not in definition:
            typo = next((key for key in definition if key not in known), None)
            hint = f" (it has an unknown key {typo!r})" if typo else ""
            problems.add(
                f"{code}.slides.{slide}: the slide is in no split{hint}; "
                "write split: train, val or test, or leave it out in study.leave_out"
            )
    return {**content, "slides": slides}


def impossible_processing(
    study: Study, cohorts: Mapping[str, Cohort], processing: ProcessingSettings
) -> list[str]:
    """Return what the protocol, parity, or files that were processed already, cannot follow.

    What such files do not need is logged.
    """
    codes = ", ".join(code for code, cohort in cohorts.items() if cohort.format == "spared")
    problems = unlike_library(study.protocol, processing)
    for code, cohort in cohorts.items():
        if cohort.format != "spared":
            problems += cohort_unlike_library(code, cohort, processing)
    if codes:
        _report_unused(codes, processing)
    if codes and study.protocol == "inductive":
        problems.append(
            f"study.protocol: 'inductive' cannot be kept by {codes}: files of the format 'spared' "
            "were processed over the slides of all splits; write 'transductive'"
        )
    if codes and processing.normalisation != "tpm":
        problems.append(
            f"processing.normalisation: {processing.normalisation!r} cannot be kept by {codes}: "
            "files of the format 'spared' hold TPM; write 'tpm'"
        )
    return problems


def _report_unused(codes: str, processing: ProcessingSettings) -> None:
    default = ProcessingSettings()
    unused = [
        f"processing.{name}: {getattr(processing, name)}"
        for name in _UNUSED_BY_FILE
        if getattr(processing, name) != getattr(default, name)
    ]
    if unused:
        logger.warning(
            "%s: files of the format 'spared' are taken over as they are, without %s",
            *(codes, ", ".join(unused)),
        )
