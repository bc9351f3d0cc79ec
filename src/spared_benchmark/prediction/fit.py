"""One predictor on one target: trained or solved, selected on val."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spared_benchmark.atomic import file_digest
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.entry_weights import check_weighs
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.sampling import draw
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.prediction.shown import Showcase
from spared_benchmark.prediction.staged import Staged, digest_of_folds, folds, put_together
from spared_benchmark.prediction.types import Attached
from spared_benchmark.study import Size
from spared_benchmark.training.precision import product_type
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.sweep import SweepResult, Training, TrialRecord, sweep

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A predictor that is ready to predict, and how it came about.

    Attributes:
        predictor: With the best weights, or the best of its candidates.
        val_mse: Of the selection, over measured entries of the val slides.
        seconds: Of the whole fit in this process.
        grid: The candidates of a closed form with their validation errors.
        trials: Of the sweep; none for a closed form.
        best: The trial selected.
        first: The first stage of a predictor that has one.
    """

    predictor: Predictor
    val_mse: float
    seconds: float
    grid: tuple[Mapping[str, float], ...] = ()
    trials: tuple[TrialRecord, ...] = ()
    best: TrialRecord | None = None
    first: Fitted | None = None


@dataclass(frozen=True)
class Task:
    """What is fitted to what.

    Attributes:
        name: Of the predictor.
        assembled: Slides with their target.
        training: Budget, seed and store of trials.
        size: Of the predictor.
        settings: That replace those of the size.
        first_rates: Learning rates of the first stage of a predictor that has one; those of the
            budget when not given.
    """

    name: str
    assembled: Assembled
    training: Training
    size: Size = "small"
    settings: Mapping[str, Any] = field(default_factory=dict)
    first_rates: tuple[float, ...] = ()

    def create(self) -> Predictor:
        """Return the predictor, not prepared."""
        return predictors.create(self.name, size=self.size, **self.settings)

    def at(self, rates: tuple[float, ...]) -> Task:
        """Return the task with other learning rates."""
        budget = self.training.budget.model_copy(update={"learning_rates": rates})
        return replace(self, training=replace(self.training, budget=budget))


class PredictionProblem:
    """A predictor with its train spots and its selection, for the training loop.

    Args:
        predictor: Prepared.
        train: Train slides, resident.
        selection: Val slides.
        batch_size: Spots of a step.
        products: Type in which products of the loss are computed.
        showcase: On what it is shown to somebody who watches; not at all when not given.
    """

    def __init__(
        self,
        predictor: Predictor,
        train: Resident,
        selection: Selection,
        batch_size: int,
        products: torch.dtype = torch.float32,
        showcase: Showcase | None = None,
    ) -> None:
        self.predictor, self._train, self._selection = predictor, train, selection
        self._batch_size, self._products, self._showcase = batch_size, products, showcase

    @property
    def module(self) -> nn.Module:
        """The predictor's network."""
        return self.predictor.module

    @property
    def views_per_step(self) -> int:
        """Queries of a batch; of the average section where batches are slides."""
        return views_per_step(self._train, self._batch_size)

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the predictor's loss on a batch of train spots."""
        (batch,) = draw(self._train, self._batch_size, generator)
        with self._computing():
            return self.predictor.loss(batch)

    @property
    def divisible(self) -> bool:
        """Whether a batch can be computed in parts: spots of a slide see one another."""
        return self._train.sampling.kind != "slide" and self.predictor.loss_is_a_mean

    def parts(
        self, generator: torch.Generator, count: int
    ) -> Iterator[tuple[dict[str, Tensor], float]]:
        """Yield the loss of ``count`` micro-batches, each with its share of the batch.

        A share is that of the entries' weights, so that the weighted gradients of a mean over
        entries add up to the batch's.
        """
        batches = list(draw(self._train, self._batch_size, generator, count))
        sizes = [float(batch.labels()[1].sum()) for batch in batches]
        for batch, size in zip(batches, sizes, strict=True):
            with self._computing():
                terms = self.predictor.loss(batch)
            yield terms, size / (sum(sizes) or 1.0)

    def validate(self) -> dict[str, float]:
        """Return the selection's metrics."""
        return self._selection.metrics(self.predictor)

    def shown(self) -> dict[str, Any]:
        """Return val genes in a table (``genes``) and the best and worst on tissue (``maps``)."""
        if self._showcase is None:
            return {}
        predicted = self._selection.predicted(self.predictor)
        return {"genes": self._showcase.table(predicted), "maps": self._showcase.maps(predicted)}

    def _computing(self) -> torch.autocast:
        device = self._train.slide.device.type
        lower = self._products != torch.float32
        return torch.autocast(device, dtype=torch.bfloat16, enabled=lower)


def views_per_step(train: Resident, batch_size: int) -> int:
    """Return how many spots a step sees, on average where batches are sections of slides."""
    if train.sampling.kind != "slide":
        return min(batch_size, train.n_spots)
    whole = round(train.n_spots / train.n_tiles)
    return min(train.sampling.region or whole, whole)


def fit_predictor(task: Task) -> Fitted:
    """Fit a predictor on train slides and select on val slides.

    Labels of val slides stay in the selection; those of test slides are not looked at.

    Raises:
        ConfigurationError: When entries weigh differently and the predictor's loss cannot have it.
    """
    started = time.perf_counter()
    plain = task.create()
    if task.assembled.weighted:
        check_weighs(plain.card, task.assembled.target)
    first: Fitted | None = None
    held_out: dict[str, Attached] = {}
    if isinstance(plain, Staged):
        first, held_out = _first_stage(plain, task)
    fit = _trained if plain.trained else _closed_form
    fitted = fit(task, first, held_out)
    if isinstance(fitted.predictor, Staged) and first is not None:
        fitted.predictor.take(first.predictor)
    seconds = time.perf_counter() - started
    _log.info(
        "%s on %s: fitted, val_mse %.5g, %.1f s",
        task.name,
        task.assembled.target,
        fitted.val_mse,
        seconds,
    )
    return replace(fitted, seconds=seconds, first=first)


def _first_stage(plain: Staged, task: Task) -> tuple[Fitted, dict[str, Attached]]:
    """Return the first stage and, if asked for, what train slides show without it."""
    own = replace(task, name=plain.first, settings=plain.first_settings(), first_rates=())
    own = own.at(task.first_rates or task.training.budget.learning_rates)
    first = fit_predictor(own)
    if not plain.out_of_fold:
        return first, {}
    if first.best is not None:
        own = own.at((first.best.learning_rate,))
    train, shown = task.assembled.of("train"), []
    for fold in folds(train):
        others = (*fold.rest, *task.assembled.of("val"))
        without = replace(own, assembled=replace(task.assembled, slides=others))
        stage = fit_predictor(without).predictor
        shown.append((fold, [plain.shown(stage, part) for part in fold.held_out]))
    return first, put_together(train, shown)


def _products(training: Training) -> torch.dtype:
    device = torch.device(training.device)
    if training.precision == "auto" and device.type == "cpu":
        return torch.float32
    return product_type(training.precision, device)


def _prepared(task: Task, first: Fitted | None, held_out: Mapping[str, Attached]) -> Predictor:
    predictor = task.create()
    if isinstance(predictor, Staged) and first is not None:
        predictor.take(first.predictor, held_out)
    predictor.prepare(task.assembled.of("train"))
    if predictor.trained:
        predictor.module.to(task.training.device)
    return predictor


def _closed_form(task: Task, first: Fitted | None, held_out: Mapping[str, Attached]) -> Fitted:
    with isolated(task.training.seed, "network"):
        predictor = _prepared(task, first, held_out)
    selection = Selection(task.assembled.of("val"), predictor, task.training.device)
    grid = _chosen(predictor, selection)
    return Fitted(predictor, _least(grid, selection, predictor), 0.0, grid=grid)


def _chosen(predictor: Predictor, selection: Selection) -> tuple[Mapping[str, float], ...]:
    """Let the predictor take the best of its candidates; returns all with their errors on val."""
    candidates = predictor.candidates()
    grid: list[dict[str, float]] = []
    for candidate in candidates:
        predictor.choose(candidate)
        grid.append({**candidate, "val_mse": selection.metrics(predictor)["val_mse"]})
    if grid:
        best = min(range(len(grid)), key=lambda index: grid[index]["val_mse"])
        predictor.choose(candidates[best])
    return tuple(grid)


def _least(
    grid: tuple[Mapping[str, float], ...], selection: Selection, predictor: Predictor
) -> float:
    if grid:
        return min(row["val_mse"] for row in grid)
    return selection.metrics(predictor)["val_mse"]


def _trained(task: Task, first: Fitted | None, held_out: Mapping[str, Attached]) -> Fitted:
    training, assembled = task.training, task.assembled
    with isolated(training.seed, "network"):
        plain = _prepared(task, first, held_out)
    train = plain.resident(assembled.of("train"), training.device)
    selection = Selection(assembled.of("val"), plain, training.device)
    products = _products(training)
    budget = training.budget.resolved(views_per_step(train, training.budget.batch_size))
    identity = {
        **training.identity,
        "method": task.name,
        "version": plain.card.version,
        "size": task.size,
        "settings": plain.settings,
        "weights": _weights_digest(plain.settings),
        "target": assembled.target,
        "data": assembled.digest(plain.sampling),
        "products": str(products).removeprefix("torch."),
    }
    if first is not None:
        left_out = digest_of_folds(assembled.of("train")) if held_out else ""
        identity["first"] = {**_identity_of(first), "left_out": left_out}
    showcase = Showcase.of(task.name, assembled)

    def make(_seed: int) -> PredictionProblem:
        predictor = _prepared(task, first, held_out)
        return PredictionProblem(predictor, train, selection, budget.batch_size, products, showcase)

    result: SweepResult = sweep(make, replace(training, budget=budget, identity=identity))
    with isolated(training.seed, "network"):
        predictor = make(training.seed).predictor
    predictor.module.load_state_dict(result.state)
    predictor.module.eval()
    grid = _chosen(predictor, selection)
    value = min(row["val_mse"] for row in grid) if grid else result.best.best_value
    return Fitted(predictor, value, 0.0, grid=grid, trials=result.trials, best=result.best)


def _identity_of(first: Fitted) -> dict[str, Any]:
    """Return what tells a fitted first stage from any other."""
    card = first.predictor.card
    trial = first.best.trial if first.best else [dict(row) for row in first.grid]
    told = {"name": card.name, "version": card.version, "settings": first.predictor.settings}
    return {**told, "trial": trial}


def _weights_digest(settings: Mapping[str, Any]) -> str:
    """Return the digest of the file of weights that a network starts from, if there is one."""
    weights = settings.get("weights", "none")
    return "" if weights in ("none", "pretrained") else file_digest(Path(weights))
