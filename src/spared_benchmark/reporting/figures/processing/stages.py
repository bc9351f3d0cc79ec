"""All figures of a cohort's processing, in the order of its stages."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from spared_benchmark.reporting.figures.processing.batches import batches
from spared_benchmark.reporting.figures.processing.fractions import expression_fractions
from spared_benchmark.reporting.figures.processing.missing import missing
from spared_benchmark.reporting.figures.processing.moran import moran_ranking
from spared_benchmark.reporting.figures.processing.spots import spots_kept
from spared_benchmark.reporting.figures.small import small_png


def processing_figures(
    expression: AnnData, context: AnnData | None, genes: pd.DataFrame, spots: pd.DataFrame
) -> dict[str, bytes]:
    """Return the five figures as PNG bytes, by name, in the order of the stages.

    Names: ``spots``, ``fractions``, ``moran``, ``batches``, ``missing``. Where a table tells
    nothing of a stage, its figure says so.

    Args:
        expression: Of the cohort.
        context: Of the cohort; None or without genes when there is none.
        genes: One row per gene with its fate.
        spots: One row per spot in tissue with its fate.
    """
    figures = {
        "spots": spots_kept(expression, spots),
        "fractions": expression_fractions(expression, genes),
        "moran": moran_ranking(expression, context, genes),
        "batches": batches(expression),
        "missing": missing(expression),
    }
    return {name: small_png(figure) for name, figure in figures.items()}
