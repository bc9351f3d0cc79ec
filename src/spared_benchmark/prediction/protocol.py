"""From assembled slides to predictions on disk: the unit of work of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.fit import Fitted, fit_predictor
from spared_benchmark.prediction.predictor import Predictor, State
from spared_benchmark.prediction.sampling import Resident
from spared_benchmark.prediction.selection import predict_all
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import BenchmarkSettings
from spared_benchmark.training.sweep import Training, parameter_counts
from spared_benchmark.training.trials import TrialStore


@dataclass(frozen=True)
class PredictionResult:
    """Predictions of one or several predictors for one target.

    Attributes:
        predictions: Val and test spots; one layer ``<predictor>.<seed>`` each, in absolute units
            of the target; ``uns`` tells target, space and each predictor's kind.
        states: What each predictor needs to predict again, ``<predictor>.<seed>.<name>``.
        card: How they came about; of several predictors, one card each under ``predictors``.
    """

    predictions: AnnData
    states: State
    card: dict[str, Any]


def run_predictors(
    names: Sequence[str],
    slides: Assembled,
    target: str,
    settings: BenchmarkSettings,
    trials: TrialStore,
) -> PredictionResult:
    """Fit every predictor of ``names`` with every seed and predict val and test slides.

    A closed form does not depend on the seed and is solved once, under the first.

    Args:
        names: Of predictors.
        slides: Made by `assemble` for ``target``.
        target: What is learnt.
        settings: Seeds, sizes, budgets and features.
        trials: Where trainings are kept.

    Raises:
        ContractError: When ``slides`` hold another target.
    """
    if slides.target != target:
        msg = f"the slides were assembled for target {slides.target!r}, not for {target!r}"
        raise ContractError(msg)
    layers: dict[str, NDArray[np.float32]] = {}
    states: State = {}
    cards: dict[str, dict[str, Any]] = {}
    for name in names:
        fits: dict[int, Fitted] = {}
        seeds = settings.seeds if predictors.card(name).trained else settings.seeds[:1]
        for seed in seeds:
            training = Training.on_best_device(settings.budget(name), seed, trials)
            fitted = _fit(name, slides, settings, training)
            layers[f"{name}.{seed}"] = _predicted(fitted.predictor, slides, training.device)
            for key, value in fitted.predictor.state().items():
                states[f"{name}.{seed}.{key}"] = value
            fits[seed] = fitted
        cards[name] = _card(fits, slides)
    card = cards[names[0]] if len(names) == 1 else {"target": target, "predictors": cards}
    return PredictionResult(_annotated(layers, slides, names), states, card)


def _fit(name: str, slides: Assembled, settings: BenchmarkSettings, training: Training) -> Fitted:
    extra = {"feature": settings.features[name]} if name in settings.features else {}
    size = settings.sizes.get(name, "small")
    return fit_predictor(name, slides, training, size, extra)


def _predicted(predictor: Predictor, slides: Assembled, device: str) -> NDArray[np.float32]:
    blind = [slide.blind() for slide in slides.slides if slide.split != "train"]
    for slide in blind:
        predictor.attach(slide)
    resident = Resident.of(blind, predictor.sampling, device)
    values: NDArray[np.float32] = predict_all(predictor, resident).cpu().numpy()
    if not np.isfinite(values).all():
        msg = f"{predictor.card.name} predicts values that are not finite for {slides.target!r}"
        raise ContractError(msg)
    return values


def _annotated(
    layers: dict[str, NDArray[np.float32]], slides: Assembled, names: Sequence[str]
) -> AnnData:
    kept = [slide for slide in slides.slides if slide.split != "train"]
    spots = [name for slide in kept for name in slides.names[slide.slide]]
    obs = pd.DataFrame(
        {
            "slide": np.repeat([slide.slide for slide in kept], [s.n_spots for s in kept]),
            "split": np.repeat([slide.split for slide in kept], [s.n_spots for s in kept]),
        },
        index=spots,
    ).astype("category")
    adata = AnnData(obs=obs, var=pd.DataFrame(index=list(slides.genes)), layers=layers)
    adata.uns["target"], adata.uns["space"] = slides.target, slides.space
    adata.uns["kinds"] = {name: predictors.card(name).kind for name in names}
    return stamp(adata, "predictions")


def _card(fits: dict[int, Fitted], slides: Assembled) -> dict[str, Any]:
    first = next(iter(fits.values()))
    predictor = first.predictor
    best = [fitted.best for fitted in fits.values() if fitted.best is not None]
    trials = [record for fitted in fits.values() for record in fitted.trials]
    seconds = sum(record.seconds for record in trials)
    views = sum(record.views for record in trials)
    trainable, total = parameter_counts(predictor.module) if predictor.trained else (0, 0)
    return {
        "predictor": predictor.card.name,
        "label": predictor.card.label,
        "kind": predictor.card.kind,
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
        "spot_views": views,
        "spot_views_per_second": views / seconds if seconds else None,
        "grid": [dict(row) for row in first.grid],
        "trials": [record.summary() for record in trials],
    }
