"""What is written down of a predictor's fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.contamination import contaminated
from spared_benchmark.prediction.fit import Fitted
from spared_benchmark.prediction.names import SHUFFLED, SMOOTHED, called, method_of
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.staged import Staged
from spared_benchmark.registry import Kind
from spared_benchmark.study import BenchmarkSettings
from spared_benchmark.training.sweep import parameter_counts

# The first stage of a predictor, where learning rates are told by name.
FIRST = ".first"


def kind_of(name: str, settings: BenchmarkSettings) -> Kind:
    """Return what a predictor counts as: what its card says, with two exceptions.

    What was fitted to exchanged labels is a ``control``; what works on weights that may have seen
    the test slides is ``contaminated``.
    """
    if name.removesuffix(SMOOTHED).endswith(SHUFFLED):
        return "control"
    if contaminated(name, settings):
        return "contaminated"
    return predictors.card(method_of(name)).kind


def label_of(name: str) -> str:
    """Return a predictor's name for readers, with what it is called with other settings."""
    label = predictors.card(method_of(name)).label
    return f"{label} ({called(name)})" if called(name) else label


def card_of(
    name: str, fits: Mapping[int, Fitted], slides: Assembled, settings: BenchmarkSettings
) -> dict[str, Any]:
    """Return how the fits of one predictor, by seed, came about, fit for JSON.

    Args:
        name: Of the predictor.
        fits: By seed.
        slides: What it was fitted to.
        settings: Of the benchmark.
    """
    first = next(iter(fits.values()))
    predictor = first.predictor
    best = [fitted.best for fitted in fits.values() if fitted.best is not None]
    trials = [record for fitted in fits.values() for record in fitted.trials]
    seconds = sum(record.seconds for record in trials)
    views = sum(record.views for record in trials)
    trainable, total = _parameters(predictor)
    return {
        "predictor": name,
        "label": label_of(name),
        "kind": kind_of(name, settings),
        "status": "fitted",
        "version": predictor.card.version,
        "size": predictor.size,
        "settings": predictor.settings,
        "target": slides.target,
        "space": slides.space,
        "genes": len(slides.genes),
        "seeds": list(fits),
        "slides_without_image": list(slides.dropped),
        "parameters_trainable": trainable,
        "parameters_total": total,
        "val_mse": float(np.mean([fitted.val_mse for fitted in fits.values()])),
        "learning_rates": [record.learning_rate for record in best],
        "best_steps": [record.best_step for record in best],
        "seconds": sum(fitted.seconds for fitted in fits.values()),
        "seconds_training": seconds,
        "peak_memory_mb": max((r.peak_memory_mb for r in trials if r.peak_memory_mb), default=None),
        "spot_views": views,
        "spot_views_per_second": views / seconds if seconds else None,
        "grid": [dict(row) for row in first.grid],
        "first": _first_of(fits),
        "trials": [record.summary() for record in trials],
    }


def failed_card(
    name: str, slides: Assembled, settings: BenchmarkSettings, error: Exception
) -> dict[str, Any]:
    """Return the card of a predictor that failed, with its reason."""
    return {
        "predictor": name,
        "label": label_of(name),
        "kind": kind_of(name, settings),
        "status": "failed",
        "reason": reason_of(error),
        "target": slides.target,
        "space": slides.space,
    }


def reason_of(error: Exception) -> str:
    """Return what is told of an error."""
    return f"{type(error).__name__}: {error}"


def rates_found(name: str, fitted: Fitted) -> dict[str, float]:
    """Return the best learning rates of a fit, by predictor; of its first stage with `FIRST`."""
    stages = {name: fitted, f"{name}{FIRST}": fitted.first}
    return {
        stage: found.best.learning_rate
        for stage, found in stages.items()
        if found is not None and found.best is not None
    }


def rates_of(card: Mapping[str, Any]) -> dict[str, float]:
    """Return the learning rates that the predictors of a card were best with, as `rates_found`.

    Args:
        card: Of one predictor, or of several under ``predictors``.
    """
    several: Mapping[str, Mapping[str, Any]] = card.get("predictors") or {"": card}
    found: dict[str, float] = {}
    for one in several.values():
        for stage, told in (("", one), (FIRST, one.get("first") or {})):
            if told.get("learning_rates"):
                found[f"{one['predictor']}{stage}"] = float(told["learning_rates"][0])
    return found


def _first_of(fits: Mapping[int, Fitted]) -> dict[str, Any] | None:
    """Return how the first stages came about; nothing where there are none."""
    stages = [fitted.first for fitted in fits.values() if fitted.first is not None]
    if not stages:
        return None
    return {
        "predictor": stages[0].predictor.card.name,
        "val_mse": float(np.mean([stage.val_mse for stage in stages])),
        "learning_rates": [stage.best.learning_rate for stage in stages if stage.best],
        "seconds": sum(stage.seconds for stage in stages),
        "trials": [record.summary() for stage in stages for record in stage.trials],
    }


def _parameters(predictor: Predictor) -> tuple[int, int]:
    """Return the trainable parameters and all; of two stages, the first's are not trained now."""
    if not predictor.trained:
        return 0, 0
    trainable, total = parameter_counts(predictor.module)
    if isinstance(predictor, Staged):
        total += _parameters(predictor.stage)[1]
    return trainable, total
