"""Hide, complete, score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spared_benchmark.configuration import CompleterTask, VariantTask
from spared_benchmark.model import Model
from spared_benchmark.pipelines.types import AnnData, Array, DataFrame, Masks, TrialStore
from spared_benchmark.provenance import version
from spared_benchmark.study import CompletionSettings


@version(2)
def draw_masks(
    expression: AnnData, settings: CompletionSettings, context: AnnData | None = None
) -> Masks:
    """Draw the entries, and the molecules, that every completer will find hidden."""
    from spared_benchmark.completion.masks import Masks

    return Masks.draw(expression, settings, context)


def gather_truth(expression: AnnData, **truths: Callable[[], AnnData]) -> Array:
    """Put the true values of simulated slides in the order of the cohort's expression."""
    from spared_benchmark.completion.truth import true_expression

    return true_expression(expression, truths)


@version(4)
def complete(
    expression: AnnData,
    masks: Masks,
    task: CompleterTask,
    trials: TrialStore,
    true_expression: Array | None = None,
) -> tuple[AnnData, Model, DataFrame, Array]:
    """Fit a completer, score it on hidden entries and complete what is missing."""
    from spared_benchmark.completion.protocol import run_completer
    from spared_benchmark.training.sweep import Training

    training = Training.on_best_device(task.settings.budget(task.name), task.settings.seed, trials)
    done = run_completer(task.name, expression, masks, task.settings, training, true_expression)
    return done.completed, Model(done.card, done.state), done.scores, done.examples


def complete_variant(
    expression: AnnData,
    masks: Masks,
    task: VariantTask,
    trials: TrialStore,
    true_expression: Array | None = None,
    context: AnnData | None = None,
    **images: Any,
) -> tuple[AnnData, Model, DataFrame, Array]:
    """Do as `complete` with a variant, which may be shown context genes or images as well.

    ``images`` holds ``features:<slide>`` and, for the names of their rows, ``patches:<slide>``.
    """
    from spared_benchmark.completion.beside import Beside
    from spared_benchmark.completion.protocol import run_completer
    from spared_benchmark.expression.context import corrected_context
    from spared_benchmark.prediction.assemble import features_of_spots
    from spared_benchmark.training.sweep import Training

    settings, beside = task.settings, None
    if context is not None or images:
        slides = [name.partition(":")[2] for name in images if name.startswith("features:")]
        of = {slide: (images[f"patches:{slide}"], images[f"features:{slide}"]) for slide in slides}
        beside = Beside(
            tuple(expression.obs_names),
            settings.seed,
            None if context is None else corrected_context(context, expression),
            features_of_spots(expression, of) if of else None,
        )
    training = Training.on_best_device(settings.budget(task.name), settings.seed, trials)
    inputs = (task.name, expression, masks, settings, training, true_expression)
    done = run_completer(*inputs, task.variant, beside)
    return done.completed, Model(done.card, done.state), done.scores, done.examples


@version(3)
def score_controls(
    expression: AnnData,
    masks: Masks,
    settings: CompletionSettings,
    true_expression: Array | None = None,
) -> DataFrame:
    """Score controls and the Poisson floor on the same hidden entries."""
    from spared_benchmark.completion.controls import completion_controls

    return completion_controls(expression, masks, settings, true_expression)


def collect_scores(controls: DataFrame, *scores: DataFrame) -> DataFrame:
    """Put the completers' scores beside the controls' and add the reducible error removed."""
    from spared_benchmark.completion.score_tables import add_skill, collect_completion_scores

    return add_skill(collect_completion_scores([*scores, controls]))


def draw_learning_curves(trials: TrialStore, **models: Model) -> bytes:
    """Draw how the error on val fell in every training; no bytes where nothing was trained."""
    from spared_benchmark.reporting.figures.completing.curves import Curve, learning_curves
    from spared_benchmark.reporting.figures.small import small_png

    curves = {}
    for name, model in models.items():
        curves[name] = [
            Curve(
                trial["space"],
                trial["learning_rate"],
                tuple(int(row["step"]) for row in history),
                tuple(row["val_mse"] for row in history),
            )
            for trial in model.card.get("trials", ())
            if (history := trials.history(trial["trial"]))
        ]
    figure = learning_curves({name: own for name, own in curves.items() if own})
    return b"" if figure is None else small_png(figure)


def draw_examples(
    expression: AnnData, masks: Masks, scores: DataFrame, **completed: Array
) -> tuple[bytes, bytes]:
    """Draw hidden and completed genes on the tissue, and completed against true values.

    ``completed`` holds the values of the first assay's hidden entries by completer; a picture of
    nothing has no bytes.
    """
    from spared_benchmark.reporting.figures.completing.agreement import hidden_scatter
    from spared_benchmark.reporting.figures.completing.examples import Examples
    from spared_benchmark.reporting.figures.completing.maps import hidden_maps
    from spared_benchmark.reporting.figures.small import small_png

    examples = Examples(expression, masks.reported(0), completed)
    figures = hidden_maps(examples, scores), hidden_scatter(examples, scores)
    maps, scatter = (b"" if figure is None else small_png(figure) for figure in figures)
    return maps, scatter
