"""From slides to one expression matrix per cohort."""

from __future__ import annotations

from collections.abc import Callable

from spared_benchmark.pipelines.types import AnnData, DataFrame
from spared_benchmark.study import Cohort, ProcessingSettings, Protocol


def process_cohort(
    cohort: Cohort,
    code: str,
    protocol: Protocol,
    settings: ProcessingSettings,
    gene_lengths: DataFrame,
    **slides: Callable[[], AnnData],
) -> tuple[AnnData, AnnData, DataFrame]:
    """Filter, normalise, choose genes and correct batches."""
    from spared_benchmark.expression.process import process

    done = process(slides, cohort, code, protocol, settings, gene_lengths)
    return done.expression, done.context, done.statistics.assign(cohort=code)
