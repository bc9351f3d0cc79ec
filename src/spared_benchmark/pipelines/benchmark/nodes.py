"""Train predictors on a target, predict, score the predictions on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spared_benchmark.configuration import PredictorTask
from spared_benchmark.model import Model
from spared_benchmark.pipelines.types import AnnData, Array, DataFrame, PatchStore, TrialStore
from spared_benchmark.provenance import version
from spared_benchmark.study import EncoderSettings, Protocol, ReportSettings


@version(2)
def encode_patches(patches: PatchStore, encoder: EncoderSettings) -> Array:
    """Compute a slide's frozen features; studies that say the same of an encoder share them."""
    from spared_benchmark.prediction.encoders import encode

    return encode(patches, encoder)


def train_predictors(
    expression: AnnData,
    target: str,
    protocol: Protocol,
    task: PredictorTask,
    trials: TrialStore,
    completed: AnnData | None = None,
    searched: Model | None = None,
    **per_slide: Any,
) -> tuple[AnnData, Model]:
    """Train on the target, choose by val, and predict the spots of val and test slides.

    ``per_slide`` holds patches and features, named by `input_name`; ``searched`` is the model of
    the target on which learning rates were searched, where they are not searched on each.
    """
    from spared_benchmark.prediction.assemble import assemble
    from spared_benchmark.prediction.cards import rates_of
    from spared_benchmark.prediction.protocol import run_predictors

    slides = assemble(
        expression,
        target=target,
        space="combat" if protocol == "transductive" else "log_tpm",
        completed=completed,
        patches=_of_kind(per_slide, "patches"),
        features=_features(per_slide),
    )
    rates = rates_of(searched.card) if searched is not None else None
    done = run_predictors(task.names, slides, target, task.settings, trials, rates)
    return done.predictions, Model(done.card, done.states)


@version(2)
def score(
    expression: AnnData, protocol: Protocol, code: str, *predictions: AnnData
) -> tuple[DataFrame, DataFrame]:
    """Score every prediction of the cohort; test labels are read here and in `compare` alone."""
    from spared_benchmark.prediction.scores import score_predictions

    return score_predictions(expression, predictions, code, protocol)


@version(2)
def compare(expression: AnnData, protocol: Protocol, code: str, *predictions: AnnData) -> DataFrame:
    """Compare targets, methods with controls, and exchanged labels with chance, with intervals.

    Like `score` it reads test labels, when nothing is left to be chosen by them.
    """
    from spared_benchmark.prediction.comparisons import compare_predictions

    return compare_predictions(expression, predictions, code, protocol)


@version(2)
def tabulate_training(code: str, *models: Model) -> DataFrame:
    """Return a row for each completer, and each target and predictor: status, size, error, cost."""
    from spared_benchmark.reporting.training import training_table

    return training_table([model.card for model in models], code)


def draw_maps(
    expression: AnnData,
    predictions: AnnData,
    gene_scores: DataFrame,
    settings: ReportSettings,
    **completed: AnnData,
) -> bytes:
    """Draw well and badly predicted genes on the tissue; no bytes where the predictor failed."""
    from spared_benchmark.reporting.figures.style import png
    from spared_benchmark.reporting.maps import gene_maps

    if not len(predictions.layers):
        return b""
    return png(gene_maps(expression, completed, predictions, gene_scores, settings.maps))


def input_name(kind: str, slide: str, encoder: str = "") -> str:
    """Return the keyword under which a slide's ``patches`` or ``features`` reach a node."""
    return f"{kind}:{encoder}:{slide}"


def _of_kind(per_slide: Mapping[str, Any], kind: str, encoder: str = "") -> dict[str, Any]:
    prefix = input_name(kind, "", encoder)
    return {
        name.removeprefix(prefix): value
        for name, value in per_slide.items()
        if name.startswith(prefix)
    }


def _features(per_slide: Mapping[str, Any]) -> dict[str, dict[str, Array]]:
    kinds = (name.split(":") for name in per_slide)
    encoders = sorted({encoder for kind, encoder, _ in kinds if kind == "features"})
    return {encoder: _of_kind(per_slide, "features", encoder) for encoder in encoders}
