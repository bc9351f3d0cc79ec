"""Sources become slides and patches."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.cohorts import in_namespace, patches
from spared_benchmark.pipelines.ingestion import nodes
from spared_benchmark.study import Cohort


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the ingestion of every cohort of the study."""
    return Pipeline(
        [_cohort(configuration, code, cohort) for code, cohort in configuration.cohorts.items()]
    )


def _cohort(configuration: Configuration, code: str, cohort: Cohort) -> Pipeline:
    graph = [_slide(configuration, cohort, slide) for slide in cohort.slides]
    if cohort.simulation is not None:
        graph.append(
            Node(
                nodes.simulate_gene_lengths,
                inputs={"cohort": "params:cohort", "code": f"params:codes.{code}"},
                outputs="gene_lengths",
                name="simulate_gene_lengths",
            )
        )
        graph += [_simulation(code, slide) for slide in cohort.slides]
    rows = {slide: f"ingestion_row-{slide}" for slide in cohort.slides}
    graph.append(
        Node(
            nodes.tabulate_ingestion,
            inputs={"cohort": "params:cohort", **rows},
            outputs="ingestion_table",
            name="tabulate_ingestion",
        )
    )
    return in_namespace(graph, code)


def _simulation(code: str, slide: str) -> Node:
    return Node(
        nodes.simulate_slide,
        inputs={
            "cohort": "params:cohort",
            "code": f"params:codes.{code}",
            "slide": f"params:slides.{code}.{slide}",
        },
        outputs=[f"source_{slide}", f"truth-{slide}"],
        name=f"simulate-{slide}",
    )


def _slide(configuration: Configuration, cohort: Cohort, slide: str) -> Node:
    inputs = {"raw": f"source_{slide}"}
    outputs = [f"slide-{slide}", f"overlay-{slide}", f"ingestion_row-{slide}"]
    name = f"ingest-{slide}"
    if cohort.slides[slide].image is None:
        return Node(nodes.ingest_slide_without_image, inputs=inputs, outputs=outputs, name=name)
    return Node(
        nodes.ingest_slide_with_image,
        inputs={**inputs, "window": "params:study.window"},
        outputs=[*outputs, patches(configuration, slide)],
        name=name,
    )
