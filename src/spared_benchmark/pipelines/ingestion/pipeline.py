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
    graph = [node for slide in cohort.slides for node in _slide(configuration, cohort, slide)]
    if cohort.simulation is not None:
        graph.append(
            Node(
                nodes.simulate_gene_lengths,
                inputs={
                    "cohort": f"params:simulated.{code}.{next(iter(cohort.slides))}",
                    "code": f"params:codes.{code}",
                },
                outputs="gene_lengths",
                name="simulate_gene_lengths",
            )
        )
        graph += [_simulation(code, slide) for slide in cohort.slides]
    return in_namespace([*graph, *_whole(configuration, code, cohort)], code)


def _whole(configuration: Configuration, code: str, cohort: Cohort) -> list[Node]:
    """Return the nodes that see all slides of a cohort together."""
    rows = {slide: _row(configuration, cohort, slide) for slide in cohort.slides}
    identities = {f"identity:{slide}": f"identity-{slide}" for slide in cohort.slides}
    checked = {
        "code": f"params:codes.{code}",
        "splits": "params:splits",
        "rules": "params:study.gate",
        "known": "identities",
        **identities,
    }
    return [
        Node(
            nodes.check_splits,
            inputs=checked,
            outputs="splits",
            name="check_splits",
        ),
        Node(
            nodes.tabulate_ingestion,
            inputs={"cohort": "params:cohort", **rows, **identities},
            outputs="ingestion_table",
            name="tabulate_ingestion",
        ),
        Node(
            nodes.lay_out_overlays,
            inputs={slide: f"overlay-{slide}" for slide in cohort.slides},
            outputs="overview",
            name="lay_out_overlays",
        ),
    ]


def _simulation(code: str, slide: str) -> Node:
    return Node(
        nodes.simulate_slide,
        inputs={
            "cohort": f"params:simulated.{code}.{slide}",
            "code": f"params:codes.{code}",
            "slide": f"params:slides.{code}.{slide}",
        },
        outputs=[f"source_{slide}", f"truth-{slide}"],
        name=f"simulate-{slide}",
    )


def _slide(configuration: Configuration, cohort: Cohort, slide: str) -> list[Node]:
    source, row = f"source_{slide}", _row(configuration, cohort, slide)
    kept = [f"slide-{slide}", f"overlay-{slide}", f"identity-{slide}"]
    if cohort.slides[slide].image is None:
        function = nodes.ingest_slide_without_image
        return [Node(function, inputs=source, outputs=[*kept, row], name=f"ingest-{slide}")]
    # Nodes of their own, because the slide does not depend on the window and the patches do.
    return [
        Node(nodes.ingest_slide, inputs=source, outputs=kept, name=f"ingest-{slide}"),
        *(_patches(configuration, cohort, slide, window) for window in configuration.windows()),
    ]


def _patches(configuration: Configuration, cohort: Cohort, slide: str, window: str) -> Node:
    # What is one study's window may be another's encoder's: both are made by the same node.
    own = window == configuration.study.window
    return Node(
        nodes.cut_patches,
        inputs=[f"source_{slide}", configuration.windows()[window]],
        outputs=[
            patches(configuration, slide, window),
            _row(configuration, cohort, slide, window),
        ],
        name=f"cut-{slide}" if own else f"cut_{window}-{slide}",
    )


def _row(
    configuration: Configuration, cohort: Cohort, slide: str, window: str | None = None
) -> str:
    shown = "none" if cohort.slides[slide].image is None else configuration.study.window
    return f"ingestion_row-{window or shown}-{slide}"
