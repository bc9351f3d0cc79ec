"""How a cohort's small graph becomes a namespace of the study's graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.study import Cohort


def in_namespace(
    nodes: Iterable[Node], code: str, *, inputs: Mapping[str, str] | None = None
) -> Pipeline:
    """Return ``nodes`` as the cohort's namespace.

    Datasets get the cohort's code as a prefix, but for those in ``inputs``. Parameters are the
    study's; ``params:cohort`` stands for what processing needs of this cohort's definition.
    """
    graph = Pipeline(list(nodes))
    parameters = {name: name for name in graph.inputs() if name.startswith("params:")}
    if "params:cohort" in parameters:
        parameters["params:cohort"] = f"params:curated.{code}"
    return Pipeline(graph, namespace=code, parameters=parameters, inputs=dict(inputs or {}))


def slides_with_image(cohort: Cohort) -> list[str]:
    """Return the slides that have patches."""
    return [slide for slide, definition in cohort.slides.items() if definition.image is not None]


def patches(configuration: Configuration, slide: str, window: str | None = None) -> str:
    """Return the name of the dataset with a slide's patches, of the study's window by default."""
    return f"patches-{window or configuration.study.window}-{slide}"


def features(configuration: Configuration, slide: str, encoder: str) -> str:
    """Return the name of the dataset with what an encoder makes of a slide's patches."""
    return f"features-{configuration.encoding(encoder)}-{slide}"
