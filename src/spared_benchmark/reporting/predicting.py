"""What the page says of prediction beside its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from spared_benchmark.reporting import differences, effects, prediction_grids, tables, training
from spared_benchmark.reporting.blocks import Block, of_space, split_words, with_values
from spared_benchmark.reporting.grid import Grid
from spared_benchmark.reporting.schemas import COMPARISONS, INGESTION, TRAINING
from spared_benchmark.reporting.warnings import resolutions

_EFFECT = (
    "Each predictor against itself: the same network, images and budget, trained on another "
    "target; scored on the same measured entries."
)

_SETTINGS = (
    "Each predictor against itself: the same images, targets and seeds, other settings; scored on "
    "the same measured entries."
)


def section(
    study_space: str, summary: pd.DataFrame, results: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Return what the page's section on prediction is made of, by the template's names.

    Args:
        study_space: The space to read first.
        summary: `tables.prediction_summary` of all cohorts and spaces.
        results: Collected tables by name.
    """
    shown = with_values(summary, space=study_space)
    compared, trained = results[COMPARISONS.name], results[TRAINING.name]
    scored = tables.in_order(shown["cohort"])
    return {
        "failures": training.failures(trained),
        "limits": training.limits(trained),
        "prediction_space": study_space,
        "prediction_notes": notes(scored, results[INGESTION.name], compared, study_space),
        "target_grid": best_by_target(shown, study_space),
        "effect_blocks": [
            *effect_blocks(shown, compared, study_space),
            *settings_blocks(shown, compared, study_space),
        ],
        "prediction_blocks": prediction_blocks(summary, compared, study_space),
        "training_blocks": training_blocks(trained),
    }


def best_by_target(summary: pd.DataFrame, space: str) -> Grid | None:
    """Return the best predictor of each target; ``summary`` holds one space."""
    best = tables.target_summary(summary)
    caption = f"Best predictor of each target, {of_space(space)}"
    return prediction_grids.target_grid(best, caption) if len(best) else None


def effect_blocks(summary: pd.DataFrame, comparisons: pd.DataFrame, space: str) -> list[Block]:
    """Return the table that judges completion predictor by predictor, none where not compared.

    Args:
        summary: `tables.prediction_summary` of one space.
        comparisons: Paired differences of all cohorts and spaces.
        space: That space.
    """
    compared = with_values(comparisons, space=space)
    if compared.empty or "target" not in set(compared["comparison"]):
        return []
    title = f"Does completion help prediction? Predictor by predictor, {of_space(space)}"
    return _judged(title, _EFFECT, effects.effect_grid, summary, compared)


def settings_blocks(summary: pd.DataFrame, comparisons: pd.DataFrame, space: str) -> list[Block]:
    """Return the table of predictors with other settings, none where there are none.

    Args:
        summary: `tables.prediction_summary` of one space.
        comparisons: Paired differences of all cohorts and spaces.
        space: That space.
    """
    compared = with_values(comparisons, space=space)
    title = f"Predictors with other settings, {of_space(space)}"
    return _judged(title, _SETTINGS, effects.settings_grid, summary, compared)


def prediction_blocks(summary: pd.DataFrame, comparisons: pd.DataFrame, first: str) -> list[Block]:
    """Return the prediction tables, the protocol's own space first and unfolded.

    Args:
        summary: `tables.prediction_summary` of all cohorts and spaces.
        comparisons: Paired differences of the same.
        first: The space to read first.
    """
    if summary.empty:
        return []
    blocks = []
    for space, rows in summary.groupby("space", sort=False):
        note = "" if space == first else "The same predictions, mapped; nothing was trained again."
        compared = with_values(comparisons, space=str(space))
        grids = tuple(
            prediction_grids.prediction_grid(
                own, with_values(compared, cohort=code), f"{code}: {split_words(own)}"
            )
            for code, own in _by_cohort(rows)
        )
        blocks.append(Block(of_space(str(space)), note, grids, space != first))
    return sorted(blocks, key=lambda block: block.folded)


def training_blocks(trained: pd.DataFrame) -> list[Block]:
    """Return the folded table of how predictors and completers were trained."""
    grids = tuple(training.training_grid(own, code) for code, own in _by_cohort(trained))
    if not grids:
        return []
    return [Block("How predictors were trained", training.NOTE, grids, folded=True)]


def notes(
    cohorts: Sequence[str], ingestion: pd.DataFrame, comparisons: pd.DataFrame, space: str
) -> list[str]:
    """Return what stands above the tables: how fine patches are, and exchanged labels.

    Args:
        cohorts: Codes of those that have scores.
        ingestion: One row per slide.
        comparisons: Paired differences of all cohorts and spaces.
        space: The one to read first.
    """
    told = resolutions(ingestion[ingestion["cohort"].isin(list(cohorts))])
    compared = with_values(comparisons, space=space)
    for code in cohorts:
        sentence = effects.shuffled_sentence(with_values(compared, cohort=code))
        told += [f"{code}. {sentence}"] if sentence else []
    return told


def _judged(
    title: str,
    note: str,
    grid: Callable[[pd.DataFrame, pd.DataFrame, str], Grid],
    summary: pd.DataFrame,
    compared: pd.DataFrame,
) -> list[Block]:
    """Return one block with a table for each cohort that has rows, none without any."""
    grids = (
        grid(own, with_values(compared, cohort=code), f"{code}: {split_words(own)}")
        for code, own in _by_cohort(summary)
    )
    kept = tuple(one for one in grids if one.groups)
    return [Block(title, f"{note} {differences.RULE}", kept, folded=False)] if kept else []


def _by_cohort(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if rows.empty:
        return []
    return [(str(code), own) for code, own in rows.groupby("cohort", sort=False)]
