"""Tables, figures and the page, from the cohorts' tables; an absent cohort is None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spared_benchmark.pipelines.types import DataFrame
from spared_benchmark.study import Cohort, GateSettings, Protocol, ReportSettings, Study

TABLES = {
    "statistics": "cohorts",
    "ingestion_table": "ingestion",
    "completion_scores": "completion_scores",
    "prediction_scores": "prediction_scores",
    "gene_scores": "gene_scores",
    "comparisons": "comparisons",
    "training": "training",
}


def collector(schema: str) -> Callable[..., DataFrame]:
    """Return the function that puts the cohorts' tables of ``schema`` under one another."""

    def collect(**tables: DataFrame | None) -> DataFrame:
        from spared_benchmark.reporting.tables import collect as put_together

        return put_together(tables, schema)

    collect.__name__ = collect.__qualname__ = f"collect_{schema}"
    return collect


def find_shared(slides: DataFrame, rules: GateSettings) -> DataFrame:
    """Record what splits share and what cohorts share; the gate has told or refused it before."""
    from spared_benchmark.slides.gate import find_shared as find

    return find(slides, rules)


def draw_figures(
    cohorts: DataFrame, completion: DataFrame, prediction: DataFrame, protocol: Protocol
) -> tuple[bytes, bytes, bytes]:
    """Draw one figure of cohorts, of completion and of prediction."""
    from spared_benchmark.reporting.figures.cohorts import cohort_overview
    from spared_benchmark.reporting.figures.completion import completion_dots
    from spared_benchmark.reporting.figures.prediction import prediction_dots
    from spared_benchmark.reporting.figures.style import png

    space = "combat" if protocol == "transductive" else "log_tpm"
    figures = (
        cohort_overview(cohorts),
        completion_dots(completion),
        prediction_dots(prediction, space),
    )
    cohorts_png, completion_png, prediction_png = (png(figure) for figure in figures)
    return cohorts_png, completion_png, prediction_png


def draw_completion(scores: DataFrame) -> tuple[bytes, bytes, bytes]:
    """Draw errors by completer, by share hidden and by way of hiding; no bytes where not scored."""
    from spared_benchmark.reporting.figures.completing.errors import error_violins
    from spared_benchmark.reporting.figures.completing.grid import regime_heatmap
    from spared_benchmark.reporting.figures.completing.shares import error_by_share
    from spared_benchmark.reporting.figures.style import png

    figures = error_violins(scores), error_by_share(scores), regime_heatmap(scores)
    errors, shares, regimes = (b"" if figure is None else png(figure, 150) for figure in figures)
    return errors, shares, regimes


def write_report(
    study: Study, definitions: dict[str, Any], settings: ReportSettings, **parts: Any
) -> str:
    """Write the page.

    ``parts`` holds ``table:<name>``, and PNG bytes, or None or no bytes, by the names that
    `spared_benchmark.reporting.report.render` takes.
    """
    from spared_benchmark.reporting.provenance import provenance
    from spared_benchmark.reporting.report import render

    prefix = "table:"
    tables = {
        name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)
    }
    figures = {name: part for name, part in parts.items() if not name.startswith(prefix) and part}
    return render(
        study,
        tables,
        figures,
        cohorts={code: Cohort.model_validate(one) for code, one in definitions.items()},
        settings=settings,
        provenance=provenance(),
    )
