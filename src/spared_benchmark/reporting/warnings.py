"""What a reader must know before reading the numbers: limits of the data and of this run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from spared_benchmark.reporting.numbers import decimal, percent, whole
from spared_benchmark.study import Study

COARSE_UM = 1.0  # µm per patch pixel above which cells are no longer resolved


def data_warnings(wide: pd.DataFrame, ingestion: pd.DataFrame) -> list[str]:
    """Return what limits the data: coarse patches, absent images, lost genes, lone slides.

    Args:
        wide: `tables.cohort_statistics`.
        ingestion: One row per slide.
    """
    return [
        *_coarse(ingestion),
        *_without_image(ingestion),
        *_outside(ingestion),
        *_lengths(wide),
        *_lone_slides(ingestion),
    ]


def split_warnings(shared: pd.DataFrame) -> list[str]:
    """Return what splits and cohorts share, subjects in one line for all cohorts.

    Args:
        shared: One row per finding of the gate. Slides without an image are told by
            `data_warnings`.
    """
    by_subject = shared[shared["rule"] == "same_subject"]
    others = shared[~shared["rule"].isin(["same_subject", "no_image"])]
    notes = [f"{row['cohort']}: {row['detail']}." for _, row in others.iterrows()]
    if len(by_subject):
        codes = list(dict.fromkeys(by_subject["cohort"]))
        notes.append(
            f"A subject has slides in several splits: {_listed(codes)}. Scores there tell of new "
            "slides of known subjects, not of new subjects."
        )
    return notes


def score_warnings(study: Study, completion: pd.DataFrame, prediction: pd.DataFrame) -> list[str]:
    """Return what limits the scores: validation scores, one seed, one assay, the protocol.

    Args:
        study: Tells the protocol.
        completion: `tables.completion_summary`.
        prediction: `tables.prediction_summary`.
    """
    notes = []
    scored = [table for table in (completion, prediction) if len(table)]
    on_val = {str(code) for table in scored for code in table.loc[table["validation"], "cohort"]}
    held_out = [code for code in study.cohorts if _nested(code, completion, prediction)]
    if held_out:
        notes.append(
            f"{_listed(held_out)}: no test slide. Predictors were selected on a part of train that "
            "was held out for it (selection: nested); what is headed test for prediction are the "
            "val slides, which nothing saw before. Completion is scored on val."
        )
    on_val -= set(held_out)
    if on_val:
        codes = [code for code in study.cohorts if code in on_val]
        notes.append(
            f"{_listed(codes)}: no test slide. What is shown is a validation score; the same "
            "slides chose hyper-parameters and checkpoints, so it is optimistic."
        )
    notes += _runs(completion, "assays", "hiding of entries was drawn")
    notes += _runs(prediction, "seeds", "seed was run")
    if scored:
        notes.append(
            "“Best” is read off the slides that are reported, after the fact: with many methods "
            "the winner's lead is partly luck. No significance is claimed."
        )
    if study.protocol == "transductive":
        notes.append(
            "Transductive protocol: the choice of genes and ComBat see the val and test slides, "
            "because the paper's do."
        )
    return notes


def resolutions(ingestion: pd.DataFrame) -> list[str]:
    """Return how many µm a patch pixel covers in each cohort, and which cover too much.

    Args:
        ingestion: One row per slide; those without an image do not count.
    """
    if ingestion.empty:
        return []
    scales = pd.to_numeric(ingestion["um_per_patch_px"], errors="coerce").dropna()
    told = []
    for code, own in scales.groupby(ingestion["cohort"], sort=False):
        ends = dict.fromkeys(decimal(float(value), 2) for value in (own.min(), own.max()))
        told.append(f"{code} {' to '.join(ends)}")
    listed = [f"µm per patch pixel: {_listed(told)}."] if told else []
    return [*listed, *_coarse(ingestion)]


def absent(
    study: Study, tables: Mapping[str, pd.DataFrame], stages: Mapping[str, str]
) -> list[str]:
    """Return one line for each stage that lacks cohorts of the study.

    Args:
        study: Tells which cohorts there should be.
        tables: The collected tables by name.
        stages: What a reader calls each of them.
    """
    have = {
        name: set(tables[name]["cohort"]) if name in tables and len(tables[name]) else set()
        for name in stages
    }
    nowhere = [code for code in study.cohorts if not any(code in codes for codes in have.values())]
    lines = [f"No results at all yet for {_listed(nowhere)}."] if nowhere else []
    if len(nowhere) == len(study.cohorts):
        return lines
    for name, words in stages.items():
        lost = [code for code in study.cohorts if code not in have[name] and code not in nowhere]
        if len(lost) + len(nowhere) == len(study.cohorts):
            lines.append(f"{words}: not run for any cohort.")
        elif lost:
            lines.append(f"{words}: missing for {_listed(lost)}.")
    return lines


def _coarse(ingestion: pd.DataFrame) -> list[str]:
    if ingestion.empty:
        return []
    resolution = pd.to_numeric(ingestion["um_per_patch_px"], errors="coerce")
    worst = resolution.groupby(ingestion["cohort"], sort=False).max()
    coarse = [f"{code} ({decimal(um, 2)} µm)" for code, um in worst.items() if um > COARSE_UM]
    if not coarse:
        return []
    text = (
        f"Patches coarser than {decimal(COARSE_UM, 0)} µm per pixel: {_listed(coarse)}. Cells are "
        "hardly resolved there; predictors see texture and colour at best."
    )
    return [text]


def _without_image(ingestion: pd.DataFrame) -> list[str]:
    if ingestion.empty:
        return []
    blind = ingestion[ingestion["image"].astype(str).str.startswith("no")]
    slides = [f"{row['slide']} ({row['cohort']})" for _, row in blind.iterrows()]
    return [f"Without an image, in completion only: {_listed(slides)}."] if slides else []


def _outside(ingestion: pd.DataFrame) -> list[str]:
    if "patches_outside" not in ingestion.columns:
        return []
    share = pd.to_numeric(ingestion["patches_outside"], errors="coerce")
    rows = ingestion.assign(share=share)[share > 0]
    slides = [f"{row['slide']} ({percent(row['share'], 1)})" for _, row in rows.iterrows()]
    if not slides:
        return []
    return [f"Patches that leave the image, their edge mirrored: {_listed(slides)}."]


def _lengths(wide: pd.DataFrame) -> list[str]:
    if "lengths_missing" not in wide.columns:
        return []
    lost = wide.loc[wide["lengths_missing"].fillna(0) > 0, "lengths_missing"]
    if lost.empty:
        return []
    listed = _listed([f"{code} ({whole(count)})" for code, count in lost.items()])
    return [f"Genes left out because no length is known for them: {listed}."]


def _lone_slides(ingestion: pd.DataFrame) -> list[str]:
    if "split" not in ingestion.columns or ingestion.empty:
        return []
    scored = ingestion[ingestion["split"] == "test"]
    slides = scored.groupby("cohort", sort=False)["slide"].nunique()
    lone = [str(code) for code, count in slides.items() if count == 1]
    if not lone:
        return []
    text = (
        f"One test slide only: {_listed(lone)}. Nothing is known about how scores vary between "
        "slides or subjects there."
    )
    return [text]


def _nested(cohort: str, completion: pd.DataFrame, prediction: pd.DataFrame) -> bool:
    """Say whether a cohort is scored on val for completion, and on a test for prediction."""
    if completion.empty or prediction.empty:
        return False
    completed = completion.loc[completion["cohort"] == cohort, "validation"]
    predicted = prediction.loc[prediction["cohort"] == cohort, "validation"]
    known = len(completed) > 0 and len(predicted) > 0
    return known and bool(completed.all()) and not bool(predicted.any())


def _runs(summary: pd.DataFrame, runs: str, words: str) -> list[str]:
    if summary.empty:
        return []
    methods = summary[summary["kind"] == "method"]
    most = methods.groupby("cohort", sort=False)[runs].max()
    single = [str(code) for code in most.index[most <= 1]]
    if not single:
        return []
    scope = "Only one" if len(single) == len(most) else f"{_listed(single)}: only one"
    return [f"{scope} {words}: no spread is known."]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
