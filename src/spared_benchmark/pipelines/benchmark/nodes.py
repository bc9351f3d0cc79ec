"""Train predictors on a target, predict, score the predictions on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spared_benchmark.configuration import PredictorTask
from spared_benchmark.model import Model
from spared_benchmark.pipelines.types import AnnData, Array, DataFrame, PatchStore, TrialStore
from spared_benchmark.study import EncoderSettings, Protocol, ReportSettings


def encode_patches(patches: PatchStore, encoder: EncoderSettings) -> Array:
    """Compute a slide's frozen features."""
    from spared_benchmark.prediction.encoders import encode

    return encode(patches, encoder)


def train_predictors(
    expression: AnnData,
    target: str,
    protocol: Protocol,
    task: PredictorTask,
    trials: TrialStore,
    completed: AnnData | None = None,
    **per_slide: Any,
) -> tuple[AnnData, Model]:
    """Train on the target, choose by val, and predict the spots of val and test slides.

    ``per_slide`` holds patches and features, named by `input_name`.
    """
    from spared_benchmark.prediction.assemble import assemble
    from spared_benchmark.prediction.protocol import run_predictors

    slides = assemble(
        expression,
        target=target,
        space="combat" if protocol == "transductive" else "log_tpm",
        completed=completed,
        patches=_of_kind(per_slide, "patches"),
        features=_features(per_slide, task.settings.features),
    )
    done = run_predictors(task.names, slides, target, task.settings, trials)
    return done.predictions, Model(done.card, done.states)


def score(
    expression: AnnData, protocol: Protocol, code: str, *predictions: AnnData
) -> tuple[DataFrame, DataFrame]:
    """Score every prediction of the cohort; the one place where test labels are read."""
    from spared_benchmark.prediction.scores import score_predictions

    return score_predictions(expression, predictions, code, protocol)


def tabulate_training(code: str, *models: Model) -> DataFrame:
    """Return one row per fitted completer (``method``) and predictor: size, error on val, cost."""
    import pandas as pd

    cards = [card for model in models for card in _cards(model)]
    columns = [
        *("target", "method", "predictor", "size", "version", "parameters_trainable"),
        *("parameters_total", "val_mse", "seconds", "spot_views", "spot_views_per_second"),
    ]
    return pd.DataFrame([{name: card.get(name) for name in columns} for card in cards]).assign(
        cohort=code
    )


def draw_maps(
    expression: AnnData,
    predictions: AnnData,
    gene_scores: DataFrame,
    settings: ReportSettings,
    **completed: AnnData,
) -> bytes:
    """Draw well and badly predicted genes on the tissue: measured, completed, predicted."""
    from spared_benchmark.reporting.figures.style import png
    from spared_benchmark.reporting.maps import gene_maps

    return png(gene_maps(expression, completed, predictions, gene_scores, settings.maps))


def input_name(kind: str, slide: str, encoder: str = "") -> str:
    """Return the keyword under which a slide's ``patches`` or ``features`` reach a node."""
    return f"{kind}:{encoder}:{slide}"


def _cards(model: Model) -> list[Mapping[str, Any]]:
    several: Mapping[str, Any] | None = model.card.get("predictors")
    return list(several.values()) if several else [model.card]


def _of_kind(per_slide: Mapping[str, Any], kind: str, encoder: str = "") -> dict[str, Any]:
    prefix = input_name(kind, "", encoder)
    return {
        name.removeprefix(prefix): value
        for name, value in per_slide.items()
        if name.startswith(prefix)
    }


def _features(
    per_slide: Mapping[str, Any], encoders: Mapping[str, str]
) -> dict[str, dict[str, Array]]:
    return {encoder: _of_kind(per_slide, "features", encoder) for encoder in set(encoders.values())}
