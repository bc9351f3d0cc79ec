"""Expression is hidden in part, completed and scored."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.cohorts import features, in_namespace, patches
from spared_benchmark.pipelines.completion import nodes
from spared_benchmark.study import Cohort, Variant
from spared_benchmark.variant_checks import ABLATION, VARIANT_OF


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
    runs = [
        _variant(configuration, code, cohort, name, truth)
        if name in configuration.variants
        else _completer(code, name, truth)
        for name in completers
    ]
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
        outputs=_outputs(completer),
        name=f"complete-{completer}",
        tags=["sweep", f"cohort.{code}", f"completer.{completer}"],
    )


def _variant(
    configuration: Configuration, code: str, cohort: Cohort, name: str, truth: list[str]
) -> Node:
    variant = configuration.variants[name]
    common = {"expression": "expression", "masks": "masks", "trials": "trials"}
    return Node(
        nodes.complete_variant,
        inputs={
            **common,
            "task": f"params:completers.{name}",
            **{place: place for place in truth},
            **({"context": "context"} if variant.context else {}),
            **_images(configuration, cohort, variant),
        },
        outputs=_outputs(name),
        name=f"complete-{name}",
        tags=[
            *("sweep", ABLATION, f"cohort.{code}"),
            *(f"completer.{name}", f"{VARIANT_OF}.{variant.of}"),
        ],
    )


def _images(configuration: Configuration, cohort: Cohort, variant: Variant) -> dict[str, str]:
    """Return the slides' features, and the patches that name their rows, if it is shown any."""
    encoder = variant.features
    if encoder is None:
        return {}
    window = configuration.encodings[encoder].window
    inputs = {}
    for slide in cohort.slides:
        inputs[f"patches:{slide}"] = patches(configuration, slide, window)
        inputs[f"features:{slide}"] = features(configuration, slide, encoder)
    return inputs


def _outputs(completer: str) -> list[str]:
    kinds = ("completed", "completer", "completion_scores", "hidden")
    return [f"{kind}-{completer}" for kind in kinds]
