"""Hide, complete, score."""

from __future__ import annotations

from spared_benchmark.configuration import CompleterTask
from spared_benchmark.model import Model
from spared_benchmark.pipelines.types import AnnData, DataFrame, Masks, TrialStore
from spared_benchmark.study import CompletionSettings


def draw_masks(expression: AnnData, settings: CompletionSettings) -> Masks:
    """Draw the entries that every completer will find hidden."""
    from spared_benchmark.completion.masks import Masks

    return Masks.draw(expression, settings)


def complete(
    expression: AnnData, masks: Masks, task: CompleterTask, trials: TrialStore
) -> tuple[AnnData, Model, DataFrame]:
    """Fit a completer, score it on hidden entries and complete what is missing."""
    from spared_benchmark.completion.protocol import run_completer
    from spared_benchmark.training.sweep import Training

    training = Training.on_best_device(task.settings.budget(task.name), task.settings.seed, trials)
    done = run_completer(task.name, expression, masks, task.settings, training)
    return done.completed, Model(done.card, done.state), done.scores


def score_controls(expression: AnnData, masks: Masks, settings: CompletionSettings) -> DataFrame:
    """Score the one-count control and the Poisson floor on the same hidden entries."""
    from spared_benchmark.completion.controls import completion_controls

    return completion_controls(expression, masks, settings)


def collect_scores(controls: DataFrame, *scores: DataFrame) -> DataFrame:
    """Put the completers' scores beside the controls' and add the reducible error removed."""
    from spared_benchmark.completion.score_tables import add_skill, collect_completion_scores

    return add_skill(collect_completion_scores([*scores, controls]))
