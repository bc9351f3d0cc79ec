"""What parity with the published library excludes: it has one way of doing each thing."""

from __future__ import annotations

from spared_benchmark.study import Cohort, ProcessingSettings, Protocol

# What the library does, where our settings would leave a choice.
_LIBRARY = {"normalisation": "tpm", "rank_on": "median", "median_hops": 4}


def unlike_library(protocol: Protocol, settings: ProcessingSettings) -> list[str]:
    """Return why a study cannot be compared with the published library, one line each.

    Empty when ``processing.published`` is not set.

    Args:
        protocol: Of the study.
        settings: Of the study.
    """
    if settings.published is None:
        return []
    problems = []
    if protocol != "transductive":
        problems.append(
            f"processing.published: {settings.published!r} cannot be kept by an {protocol} study: "
            "the published library fits everything on all slides; write null, or "
            "study.protocol: transductive"
        )
    problems += [
        f"processing.{name}: {getattr(settings, name)!r} cannot be kept with processing.published: "
        f"{settings.published}: the published library has {theirs!r}; write that, or published: "
        "null"
        for name, theirs in _LIBRARY.items()
        if getattr(settings, name) != theirs
    ]
    return problems


def cohort_unlike_library(code: str, cohort: Cohort, settings: ProcessingSettings) -> list[str]:
    """Return why a cohort cannot be processed as the published library does, one line each.

    Empty when ``processing.published`` is not set.

    Args:
        code: The cohort's code.
        cohort: Its definition.
        settings: Of the study.
    """
    if settings.published is None:
        return []
    problems = []
    if cohort.filter.rule != "running_mean" and not cohort.gene_names:
        problems.append(
            f"{code}.filter.rule: {cohort.filter.rule!r} cannot be kept with processing.published: "
            f"{settings.published}: the published library has 'running_mean'; write that, or "
            "published: null"
        )
    slides = cohort.slides.items()
    batches = {one.subject if cohort.batch_key == "subject" else slide for slide, one in slides}
    if len(batches) < 2:
        problems.append(
            f"{code}.batch_key: by {cohort.batch_key!r} its {len(slides)} slide(s) are one batch "
            f"({batches.pop()}), and processing.published: {settings.published} corrects batches "
            "as the published library, which fails on a single one; write batch_key: slide for a "
            "cohort of several slides, leave the cohort out, or write published: null"
        )
    return problems
