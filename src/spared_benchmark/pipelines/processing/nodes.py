"""From slides to one expression matrix per cohort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from spared_benchmark.pipelines.types import AnnData, DataFrame
from spared_benchmark.provenance import version
from spared_benchmark.study import Cohort, ProcessingSettings, Protocol

if TYPE_CHECKING:
    from spared_benchmark.expression.process import Processed


@version(2)
def process_cohort(
    cohort: Cohort,
    code: str,
    protocol: Protocol,
    settings: ProcessingSettings,
    splits: DataFrame,  # noqa: ARG001  being there says that the gate let the cohort pass
    gene_lengths: DataFrame | None = None,
    **slides: Callable[[], AnnData],
) -> tuple[AnnData, AnnData, DataFrame, DataFrame, DataFrame]:
    """Filter, normalise, choose genes and correct batches, once the splits have passed."""
    from spared_benchmark.expression.process import process

    return _outputs(process(slides, cohort, code, protocol, settings, gene_lengths), code)


def adopt_cohort(
    cohort: Cohort,
    code: str,
    protocol: Protocol,
    splits: DataFrame,  # noqa: ARG001  as above
    source: Path,
) -> tuple[AnnData, AnnData, DataFrame, DataFrame, DataFrame]:
    """Take over a cohort that comes processed, once the splits have passed."""
    from spared_benchmark.expression.adopt import adopt

    return _outputs(adopt(source, cohort, code, protocol), code)


def draw_stages(
    expression: AnnData, context: AnnData, genes: DataFrame, spots: DataFrame
) -> tuple[bytes, ...]:
    """Draw what each step of processing did to the cohort."""
    from spared_benchmark.reporting.figures.processing.stages import processing_figures

    return tuple(processing_figures(expression, context, genes, spots).values())


def _outputs(
    done: Processed, code: str
) -> tuple[AnnData, AnnData, DataFrame, DataFrame, DataFrame]:
    statistics = done.statistics.assign(cohort=code)
    return done.expression, done.context, statistics, done.genes, done.spots
