"""The pipelines of the study that the last configuration loader was made for."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from spared_benchmark.pipelines.benchmark.pipeline import create_pipeline as benchmark
from spared_benchmark.pipelines.completion.pipeline import create_pipeline as completion
from spared_benchmark.pipelines.ingestion.pipeline import create_pipeline as ingestion
from spared_benchmark.pipelines.processing.pipeline import create_pipeline as processing
from spared_benchmark.pipelines.reporting.pipeline import create_pipeline as reporting
from spared_benchmark.study_loader import current_configuration


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
    return {"__default__": Pipeline(list(stages.values())), **stages}
