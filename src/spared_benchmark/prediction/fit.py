"""One predictor on one target: trained or solved, selected on val."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.sampling import Resident, draw
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.study import Size
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.sweep import SweepResult, Training, TrialRecord, sweep

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A predictor that is ready to predict, and how it came about.

    Attributes:
        predictor: With the best weights, or the best of its candidates.
        val_mse: Of the selection, over measured entries of the val slides.
        grid: The candidates of a closed form with their validation errors.
        trials: Of the sweep; none for a closed form.
        best: The trial selected.
        seconds: Of the whole fit in this process.
    """

    predictor: Predictor
    val_mse: float
    seconds: float
    grid: tuple[Mapping[str, float], ...] = ()
    trials: tuple[TrialRecord, ...] = ()
    best: TrialRecord | None = field(default=None)


class PredictionProblem:
    """A predictor with its train spots and its selection, for the training loop."""

    def __init__(
        self, predictor: Predictor, train: Resident, selection: Selection, batch_size: int
    ) -> None:
        self.predictor, self._train, self._selection = predictor, train, selection
        self._batch_size = batch_size

    @property
    def module(self) -> nn.Module:
        """The predictor's network."""
        return self.predictor.module

    @property
    def views_per_step(self) -> int:
        """Queries of a batch; of the average slide where batches are slides."""
        if self._train.sampling.kind == "slide":
            return round(self._train.n_spots / len(self._train.names))
        return min(self._batch_size, self._train.n_spots)

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the predictor's loss on a batch of train spots."""
        return self.predictor.loss(draw(self._train, self._batch_size, generator))

    def validate(self) -> dict[str, float]:
        """Return the selection's metrics."""
        return self._selection.metrics(self.predictor)


def fit_predictor(
    name: str, assembled: Assembled, training: Training, size: Size, extra: Mapping[str, Any]
) -> Fitted:
    """Fit the predictor called ``name`` on train slides and select on val slides.

    Labels of val slides stay in the selection; those of test slides are not looked at.

    Args:
        name: Of the predictor.
        assembled: Slides with their target.
        training: Budget, seed and store of trials.
        size: Of the predictor.
        extra: Settings that replace those of the size.
    """
    started = time.perf_counter()
    if predictors.card(name).trained:
        return _trained(name, assembled, training, size, extra, started)
    return _closed_form(name, assembled, training, size, extra, started)


def _prepared(
    name: str, assembled: Assembled, size: Size, extra: Mapping[str, Any], device: str
) -> Predictor:
    predictor = predictors.create(name, size=size, **extra)
    predictor.prepare(assembled.of("train"))
    if predictor.trained:
        predictor.module.to(device)
    for slide in [*assembled.of("train"), *assembled.of("val")]:
        predictor.attach(slide.blind())
    return predictor


def _closed_form(
    name: str,
    assembled: Assembled,
    training: Training,
    size: Size,
    extra: Mapping[str, Any],
    started: float,
) -> Fitted:
    with isolated(training.seed, "network"):
        predictor = _prepared(name, assembled, size, extra, training.device)
    selection = Selection(assembled.of("val"), predictor.sampling, training.device)
    grid: list[dict[str, float]] = []
    for candidate in predictor.candidates():
        predictor.choose(candidate)
        grid.append({**candidate, "val_mse": selection.metrics(predictor)["val_mse"]})
    if grid:
        best = min(range(len(grid)), key=lambda index: grid[index]["val_mse"])
        predictor.choose(predictor.candidates()[best])
        val_mse = grid[best]["val_mse"]
    else:
        val_mse = selection.metrics(predictor)["val_mse"]
    seconds = time.perf_counter() - started
    _log.info(
        "%s on %s: closed form, val_mse %.5g, %.1f s", name, assembled.target, val_mse, seconds
    )
    return Fitted(predictor, val_mse, seconds, grid=tuple(grid))


def _trained(
    name: str,
    assembled: Assembled,
    training: Training,
    size: Size,
    extra: Mapping[str, Any],
    started: float,
) -> Fitted:
    plain = predictors.create(name, size=size, **extra)
    train = Resident.of(assembled.of("train"), plain.sampling, training.device)
    selection = Selection(assembled.of("val"), plain.sampling, training.device)
    identity = {
        **training.identity,
        "method": name,
        "version": plain.card.version,
        "size": size,
        "settings": plain.settings,
        "target": assembled.target,
        "data": assembled.digest(),
    }

    def make(_seed: int) -> PredictionProblem:
        predictor = _prepared(name, assembled, size, extra, training.device)
        return PredictionProblem(predictor, train, selection, training.budget.batch_size)

    result: SweepResult = sweep(make, replace(training, identity=identity))
    with isolated(training.seed, "network"):
        predictor = make(training.seed).predictor
    predictor.module.load_state_dict(result.state)
    predictor.module.eval()
    seconds = time.perf_counter() - started
    return Fitted(
        predictor,
        result.best.best_value,
        seconds,
        trials=result.trials,
        best=result.best,
    )
