"""Slides become the cohort's expression."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.cohorts import in_namespace
from spared_benchmark.pipelines.processing import nodes
from spared_benchmark.study import Cohort


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the processing of every cohort of the study."""
    return Pipeline([_cohort(code, cohort) for code, cohort in configuration.cohorts.items()])


def _cohort(code: str, cohort: Cohort) -> Pipeline:
    node = Node(
        nodes.process_cohort,
        inputs={
            "cohort": "params:cohort",
            "code": f"params:codes.{code}",
            "protocol": "params:study.protocol",
            "settings": "params:processing",
            "gene_lengths": "gene_lengths",
            **{slide: f"slide-{slide}" for slide in cohort.slides},
        },
        outputs=["expression", "context", "statistics"],
        name="process",
    )
    shared = {} if cohort.simulation else {"gene_lengths": f"gene_lengths_{cohort.organism}"}
    return in_namespace([node], code, inputs=shared)
