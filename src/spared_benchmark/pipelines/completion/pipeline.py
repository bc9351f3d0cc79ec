"""Expression is hidden in part, completed and scored."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.cohorts import in_namespace
from spared_benchmark.pipelines.completion import nodes
from spared_benchmark.study import Cohort


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the completion study of every cohort."""
    return Pipeline(
        [_cohort(configuration, code, cohort) for code, cohort in configuration.cohorts.items()]
    )


def _cohort(configuration: Configuration, code: str, cohort: Cohort) -> Pipeline:
    completers = configuration.study.completers
    # Real slides have no such input, so that their scores depend on nothing of it.
    truth = [] if cohort.simulation is None else ["true_expression"]
    # Half of a spot's molecules is known only where all its genes are counted.
    further = ["context"] if "molecular" in configuration.completion.regimes else []
    masks = Node(
        nodes.draw_masks,
        inputs=["expression", "params:masks", *further],
        outputs="masks",
        name="draw_masks",
    )
    controls = Node(
        nodes.score_controls,
        inputs=["expression", "masks", "params:masks", *truth],
        outputs="completion_scores-controls",
        name="score_completion_controls",
    )
    scores = Node(
        nodes.collect_scores,
        inputs=[
            "completion_scores-controls",
            *(f"completion_scores-{completer}" for completer in completers),
        ],
        outputs="completion_scores",
        name="collect_completion_scores",
    )
    examples = Node(
        nodes.draw_examples,
        inputs={
            "expression": "expression",
            "masks": "masks",
            "scores": "completion_scores",
            **{completer: f"hidden-{completer}" for completer in completers},
        },
        outputs=["hidden_maps", "hidden_scatter"],
        name="draw_completion_examples",
    )
    curves = Node(
        nodes.draw_learning_curves,
        inputs={"trials": "trials", **{name: f"completer-{name}" for name in completers}},
        outputs="learning_curves",
        name="draw_learning_curves",
    )
    runs = [_completer(code, completer, truth) for completer in completers]
    gathered = [_truth(cohort)] if truth else []
    return in_namespace([masks, *gathered, *runs, controls, scores, examples, curves], code)


def _truth(cohort: Cohort) -> Node:
    truths = {slide: f"truth-{slide}" for slide in cohort.slides}
    return Node(
        nodes.gather_truth,
        inputs={"expression": "expression", **truths},
        outputs="true_expression",
        name="gather_truth",
    )


def _completer(code: str, completer: str, truth: list[str]) -> Node:
    return Node(
        nodes.complete,
        inputs=[
            "expression",
            "masks",
            f"params:completers.{completer}",
            "trials",
            *truth,
        ],
        outputs=[
            f"completed-{completer}",
            f"completer-{completer}",
            f"completion_scores-{completer}",
            f"hidden-{completer}",
        ],
        name=f"complete-{completer}",
        tags=["sweep", f"cohort.{code}", f"completer.{completer}"],
    )
