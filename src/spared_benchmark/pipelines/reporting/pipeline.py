"""The cohorts' tables become figures and a page."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from spared_benchmark.configuration import Configuration
from spared_benchmark.pipelines.processing.pipeline import STAGES
from spared_benchmark.pipelines.reporting import nodes

COMPLETION_FIGURES = ("errors", "shares", "regimes")


def create_pipeline(configuration: Configuration) -> Pipeline:
    """Return the report of the study.

    Cohorts' tables are optional: the report is made of those that are there and names the others.
    """
    cohorts = configuration.cohorts
    # Names with dots are namespaces to Kedro, so they are mapped, not written into the nodes.
    outer: dict[str, str] = {}

    def of_cohort(code: str, name: str) -> str:
        outer[f"{code}__{name}"] = f"{code}.{name}"
        return f"{code}__{name}"

    collections = [
        Node(
            nodes.collector(schema),
            inputs={code: of_cohort(code, table) for code in cohorts},
            outputs=f"table_{schema}",
            name=f"collect_{schema}",
        )
        for table, schema in nodes.TABLES.items()
    ]
    figures = Node(
        nodes.draw_figures,
        inputs={
            "cohorts": "table_cohorts",
            "completion": "table_completion_scores",
            "prediction": "table_prediction_scores",
            "protocol": "params:study.protocol",
        },
        outputs=["figure_cohorts", "figure_completion", "figure_prediction"],
        name="draw_figures",
    )
    shared = Node(
        nodes.find_shared,
        inputs={"slides": "table_ingestion", "rules": "params:study.gate"},
        outputs="table_shared",
        name="find_shared",
    )
    completion = Node(
        nodes.draw_completion,
        inputs="table_completion_scores",
        outputs=[f"figure_completion_{name}" for name in COMPLETION_FIGURES],
        name="draw_completion_figures",
    )
    examples = {
        f"hidden_{name}:{code}": of_cohort(code, f"hidden_{name}")
        for code in cohorts
        for name in ("maps", "scatter")
    }
    curves = {f"learning_curves:{code}": of_cohort(code, "learning_curves") for code in cohorts}
    overviews = {f"overlay:{code}": of_cohort(code, "overview") for code in cohorts}
    mapped = cohorts if configuration.study.predictors else ()
    maps = {f"maps:{code}": of_cohort(code, "maps") for code in mapped}
    stages = {
        f"stage:{stage}:{code}": of_cohort(code, f"stage_{stage}")
        for code in cohorts
        for stage in STAGES
    }
    report = Node(
        nodes.write_report,
        inputs={
            "study": "params:study",
            "definitions": "params:cohorts",
            "settings": "params:reporting",
            **{f"table:{schema}": f"table_{schema}" for schema in nodes.TABLES.values()},
            "table:shared": "table_shared",
            **{name: f"figure_{name}" for name in ("cohorts", "completion", "prediction")},
            **{f"completion_{name}": f"figure_completion_{name}" for name in COMPLETION_FIGURES},
            **examples,
            **curves,
            **maps,
            **overviews,
            **stages,
        },
        outputs="report",
        name="write_report",
    )
    return Pipeline([*collections, shared, figures, completion, report], inputs=outer)
