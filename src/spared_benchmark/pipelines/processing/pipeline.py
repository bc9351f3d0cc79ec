"""Slides become the cohort's expression."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.cohorts import in_namespace
from spared_benchmark.pipelines.processing import nodes
from spared_benchmark.study import Cohort

STAGES = ("spots", "fractions", "moran", "batches", "missing")


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the processing of every cohort of the study."""
    return Pipeline([_cohort(code, cohort) for code, cohort in configuration.cohorts.items()])


def _cohort(code: str, cohort: Cohort) -> Pipeline:
    common = {
        "cohort": "params:cohort",
        "code": f"params:codes.{code}",
        "protocol": "params:study.protocol",
        "splits": "splits",
    }
    outputs = ["expression", "context", "statistics", "genes", "spots"]
    if cohort.format == "spared":
        lengths = {}
        inputs = {**common, "source": "source"}
        node = Node(nodes.adopt_cohort, inputs=inputs, outputs=outputs, name="adopt")
    else:
        # Counts per million need no lengths; symbols are then mapped where a table is there.
        own = "gene_lengths" if cohort.simulation else f"gene_lengths_{cohort.organism}"
        lengths = {"gene_lengths": own}
        inputs = {
            **common,
            "settings": "params:processing",
            **{name: name for name in lengths},
            **{slide: f"slide-{slide}" for slide in cohort.slides},
        }
        node = Node(nodes.process_cohort, inputs=inputs, outputs=outputs, name="process")
    drawing = Node(
        nodes.draw_stages,
        inputs={name: name for name in ("expression", "context", "genes", "spots")},
        outputs=[f"stage_{name}" for name in STAGES],
        name="draw_stages",
    )
    shared = {name: place for name, place in lengths.items() if name != place}
    return in_namespace([node, drawing], code, inputs=shared)
