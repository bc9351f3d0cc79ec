"""Expression is hidden in part, completed and scored."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.cohorts import in_namespace
from spared_benchmark.pipelines.completion import nodes


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the completion study of every cohort."""
    return Pipeline([_cohort(configuration, code) for code in configuration.cohorts])


def _cohort(configuration: Configuration, code: str) -> Pipeline:
    completers = configuration.study.completers
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
        inputs=["expression", "masks", "params:masks"],
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
    runs = [_completer(code, completer) for completer in completers]
    return in_namespace([masks, *runs, controls, scores, examples], code)


def _completer(code: str, completer: str) -> Node:
    return Node(
        nodes.complete,
        inputs=[
            "expression",
            "masks",
            f"params:completers.{completer}",
            "trials",
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
