"""Patches and targets become predictors, predictions and scores."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.benchmark import nodes
from spared_benchmark.pipelines.cohorts import (
    features,
    in_namespace,
    patches,
    slides_with_image,
)
from spared_benchmark.prediction.names import completer_of
from spared_benchmark.study import Cohort


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the benchmark of every cohort."""
    return Pipeline(
        [_cohort(configuration, code, cohort) for code, cohort in configuration.cohorts.items()]
    )


def methods(configuration: Configuration) -> list[str]:
    """Return the names of a target's training nodes: the controls together, predictors alone."""
    controls = ["controls"] if configuration.study.controls else []
    return [*controls, *configuration.study.predictors]


def _cohort(configuration: Configuration, code: str, cohort: Cohort) -> Pipeline:
    study = configuration.study
    graph = [
        _encoding(configuration, encoder, slide)
        for encoder in configuration.encoders()
        for slide in slides_with_image(cohort)
    ]
    pairs = [(target, method) for target in study.targets for method in methods(configuration)]
    graph += [_training(configuration, code, cohort, *pair) for pair in pairs]
    judged = [
        "expression",
        "params:study.protocol",
        f"params:codes.{code}",
        *(f"predictions-{target}-{method}" for target, method in pairs),
    ]
    scored = ["prediction_scores", "gene_scores"]
    graph += [
        Node(nodes.score, inputs=judged, outputs=scored, name="score_predictions"),
        Node(nodes.compare, inputs=judged, outputs="comparisons", name="compare_predictions"),
    ]
    graph.append(
        Node(
            nodes.tabulate_training,
            inputs=[
                f"params:codes.{code}",
                *(f"completer-{completer}" for completer in study.completers),
                *(f"model-{target}-{method}" for target, method in pairs),
            ],
            outputs="training",
            name="tabulate_training",
        )
    )
    if study.predictors:
        graph.append(_maps(configuration))
    return in_namespace(graph, code)


def _encoding(configuration: Configuration, encoder: str, slide: str) -> Node:
    window = configuration.encodings[encoder].window
    return Node(
        nodes.encode_patches,
        inputs=[patches(configuration, slide, window), f"params:encoders.{encoder}"],
        outputs=features(configuration, slide, encoder),
        name=f"encode-{encoder}-{slide}",
    )


def _maps(configuration: Configuration) -> Node:
    study = configuration.study
    completers = [target for target in study.targets if target in study.completers]
    target, predictor = (completers or list(study.targets))[0], study.predictors[0]
    return Node(
        nodes.draw_maps,
        inputs={
            "expression": "expression",
            "predictions": f"predictions-{target}-{predictor}",
            "gene_scores": "gene_scores",
            "settings": "params:reporting",
            **{completer: f"completed-{completer}" for completer in completers[:1]},
        },
        outputs="maps",
        name="draw_maps",
    )


def _training(
    configuration: Configuration, code: str, cohort: Cohort, target: str, method: str
) -> Node:
    study = configuration.study
    names = study.controls if method == "controls" else (method,)
    completer = completer_of(target, study.completers)
    others = {"completed": f"completed-{completer}"} if completer is not None else {}
    first = study.targets[0]
    if configuration.benchmark.rate_search == "once" and target != first:
        others["searched"] = f"model-{first}-{method}"
    slides = slides_with_image(cohort)
    per_slide = {nodes.input_name("patches", s): patches(configuration, s) for s in slides} | {
        nodes.input_name("features", slide, encoder): features(configuration, slide, encoder)
        for encoder in configuration.encoders(names)
        for slide in slides
    }
    return Node(
        nodes.train_predictors,
        inputs={
            "expression": "expression",
            "target": f"params:targets.{target}",
            "protocol": "params:study.protocol",
            "task": f"params:predictors.{method}",
            "trials": "trials",
            **others,
            **per_slide,
        },
        outputs=[
            f"predictions-{target}-{method}",
            f"model-{target}-{method}",
        ],
        name=f"train-{target}-{method}",
        tags=["sweep", f"cohort.{code}", f"target.{target}", *(f"predictor.{n}" for n in names)],
    )
