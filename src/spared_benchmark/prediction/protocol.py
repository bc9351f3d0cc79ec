"""From assembled slides to predictions on disk: the unit of work of the benchmark."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.cards import (
    FIRST,
    card_of,
    failed_card,
    kind_of,
    rates_found,
    reason_of,
)
from spared_benchmark.prediction.fit import Fitted, Task, fit_predictor
from spared_benchmark.prediction.names import SHUFFLED, SMOOTHED, keys_of, method_of
from spared_benchmark.prediction.nested import nested
from spared_benchmark.prediction.predictor import Predictor, State
from spared_benchmark.prediction.selection import predict_all
from spared_benchmark.prediction.staged import device_of
from spared_benchmark.prediction.variants import shuffled, smoothed
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import BenchmarkSettings
from spared_benchmark.training.sweep import Training
from spared_benchmark.training.trials import TrialStore

_log = logging.getLogger(__name__)
_Layers = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class PredictionResult:
    """Predictions of one or several predictors for one target.

    Attributes:
        predictions: Val and test spots; one layer ``<predictor>.<seed>`` each, in absolute units
            of the target; ``uns`` tells target, space and each predictor's kind. A predictor that
            failed has none.
        states: What each predictor needs to predict again, ``<predictor>.<seed>.<name>``.
        card: How they came about; of several predictors, one card each under ``predictors``.
    """

    predictions: AnnData
    states: State
    card: dict[str, Any]


@dataclass
class _Run:
    """What fitting one predictor with every seed gave."""

    layers: _Layers = field(default_factory=dict)
    states: State = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)


def run_predictors(
    names: Sequence[str],
    slides: Assembled,
    target: str,
    settings: BenchmarkSettings,
    trials: TrialStore,
    rates: Mapping[str, float] | None = None,
) -> PredictionResult:
    """Fit every predictor of ``names`` with every seed and predict val and test slides.

    A closed form does not depend on the seed and is solved once, under the first. A predictor that
    fails is told of in its card, and the others go on.

    Args:
        names: Of predictors; with the suffix ``_shuffled``, fitted to exchanged labels.
        slides: Made by `assemble` for ``target``.
        target: What is learnt.
        settings: Seeds, sizes, budgets and features.
        trials: Where trainings are kept.
        rates: Learning rates that were found already, by predictor.

    Raises:
        ContractError: When ``slides`` hold another target.
    """
    if slides.target != target:
        msg = f"the slides were assembled for target {slides.target!r}, not for {target!r}"
        raise ContractError(msg)
    told = {slide.slide for slide in slides.slides if slide.split != "train"}
    if settings.selection == "nested":
        slides = nested(slides)
    predicted = [slide.slide for slide in slides.slides if slide.slide in told]
    runs: dict[str, _Run] = {}
    for name in names:
        try:
            runs[name] = _every_seed(name, slides, predicted, settings, trials, rates or {})
        except Exception as error:  # noqa: BLE001 - whatever one raises, the others go on
            _log.exception("%s on %s failed; the others go on", name, target)
            runs[name] = _Run(card=failed_card(name, slides, settings, error))
    layers = {name: values for run in runs.values() for name, values in run.layers.items()}
    states = {name: values for run in runs.values() for name, values in run.states.items()}
    cards = {name: run.card for name, run in runs.items()}
    card = cards[names[0]] if len(names) == 1 else {"target": target, "predictors": cards}
    predictions = _annotated(layers, slides, predicted, settings)
    failed = {name: one["reason"] for name, one in cards.items() if one["status"] == "failed"}
    if failed:
        predictions.uns["failed"] = failed
    return PredictionResult(predictions, states, card)


def _every_seed(
    name: str,
    slides: Assembled,
    predicted: Sequence[str],
    settings: BenchmarkSettings,
    trials: TrialStore,
    rates: Mapping[str, float],
) -> _Run:
    """Fit with every seed; what the others gave is kept when one fails."""
    run = _Run()
    fits: dict[int, Fitted] = {}
    errors: dict[int, Exception] = {}
    known = dict(rates)
    # A closed form is the same under every seed, unless what it is fitted to is drawn by it.
    drawn = predictors.card(method_of(name)).trained or name.endswith(SHUFFLED)
    for seed in settings.seeds if drawn else settings.seeds[:1]:
        try:
            fitted = fit_predictor(_task(name, seed, slides, settings, trials, known))
            layers = _predicted(name, seed, fitted.predictor, slides, predicted, settings)
        except Exception as error:
            if seed == settings.seeds[-1] and not fits:
                raise
            _log.exception("%s on %s failed with seed %d", name, slides.target, seed)
            errors[seed] = error
            continue
        if settings.rate_search == "once":
            known |= rates_found(name, fitted)
        run.layers |= layers
        for key, value in fitted.predictor.state().items():
            run.states[f"{name}.{seed}.{key}"] = value
        fits[seed] = fitted
    run.card = {**card_of(name, fits, slides, settings), "selection": settings.selection}
    if errors:
        said = "; ".join(f"seed {seed}: {reason_of(error)}" for seed, error in errors.items())
        run.card |= {"status": "failed", "reason": said}
    return run


def _task(
    name: str,
    seed: int,
    slides: Assembled,
    settings: BenchmarkSettings,
    trials: TrialStore,
    rates: Mapping[str, float],
) -> Task:
    method, keys = method_of(name), keys_of(name)
    budget = settings.budget(*keys)
    first = rates.get(f"{name}{FIRST}")
    first_rates = budget.learning_rates if first is None else (first,)
    if name in rates:
        budget = budget.model_copy(update={"learning_rates": (rates[name],)})
    extra = settings.settings_of(*keys)
    extra.pop("weights_digest", None)  # it names the file's content for the graph
    encoders = settings.encoders_of(*keys)
    if len(encoders) == 1:
        extra["feature"] = encoders[0]
    elif encoders:
        extra["features"] = encoders
    learnt = shuffled(slides, seed) if name.endswith(SHUFFLED) else slides
    training = Training.on_best_device(budget, seed, trials, settings.precision)
    return Task(method, learnt, training, settings.size_of(*keys), extra, first_rates)


def _predicted(
    name: str,
    seed: int,
    predictor: Predictor,
    slides: Assembled,
    wanted: Sequence[str],
    settings: BenchmarkSettings,
) -> _Layers:
    blind = [slide.blind() for slide in slides.slides if slide.slide in wanted]
    resident = predictor.resident(blind, device_of(predictor))
    values: NDArray[np.float32] = predict_all(predictor, resident).cpu().numpy()
    if not np.isfinite(values).all():
        msg = f"{name} predicts values that are not finite for {slides.target!r}"
        raise ContractError(msg)
    layers = {f"{name}.{seed}": values}
    if name in settings.smoothed:
        ends = np.cumsum([slide.n_spots for slide in blind])[:-1]
        parts = zip(np.split(values, ends), blind, strict=True)
        layers[f"{name}{SMOOTHED}.{seed}"] = np.concatenate([smoothed(*part) for part in parts])
    return layers


def _annotated(
    layers: _Layers, slides: Assembled, predicted: Sequence[str], settings: BenchmarkSettings
) -> AnnData:
    kept = [slide for slide in slides.slides if slide.slide in predicted]
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
    names = dict.fromkeys(layer.rpartition(".")[0] for layer in layers)
    adata.uns["kinds"] = {name: kind_of(name, settings) for name in names}
    return stamp(adata, "predictions")
