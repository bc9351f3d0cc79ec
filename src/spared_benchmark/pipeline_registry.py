"""The pipelines of the study that the last configuration loader was made for."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from spared_benchmark.pipelines.benchmark.pipeline import create_pipeline as benchmark
from spared_benchmark.pipelines.completion.pipeline import create_pipeline as completion
from spared_benchmark.pipelines.ingestion.pipeline import create_pipeline as ingestion
from spared_benchmark.pipelines.processing.pipeline import create_pipeline as processing
from spared_benchmark.pipelines.reporting.pipeline import create_pipeline as reporting
from spared_benchmark.study_loader import current_configuration
from spared_benchmark.variant_checks import ABLATION


def register_pipelines() -> dict[str, Pipeline]:
    """Return the five pipelines by name, and all of them together as the default."""
    configuration = current_configuration()
    stages = {
        "ingestion": ingestion(configuration),
        "processing": processing(configuration),
        "completion": completion(configuration),
        "benchmark": benchmark(configuration),
        "reporting": reporting(configuration),
    }
    stages = _with_what_variants_need(stages)
    return {"__default__": Pipeline(list(stages.values())), **stages}


def _with_what_variants_need(stages: dict[str, Pipeline]) -> dict[str, Pipeline]:
    """Give the nodes from which variants are made the variants' tag, which runs all by itself."""
    whole = Pipeline(list(stages.values()))
    variants = [node.name for node in whole.only_nodes_with_tags(ABLATION).nodes]
    if not variants:
        return stages
    needed = {node.name for node in whole.to_nodes(*variants).nodes}
    return {
        stage: Pipeline(
            [node.tag(ABLATION) if node.name in needed else node for node in pipeline.nodes]
        )
        for stage, pipeline in stages.items()
    }
