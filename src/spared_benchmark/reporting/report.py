"""The report: one HTML file that opens from disk and asks the network for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from spared_benchmark.errors import ContractError, nearest
from spared_benchmark.reporting import (
    claims,
    grid,
    headline,
    pictures,
    predicting,
    regimes,
    schemas,
    tables,
    truth,
    warnings,
)
from spared_benchmark.reporting.blocks import SPACES, Block, of_space, split_words, with_values
from spared_benchmark.reporting.grid import Grid
from spared_benchmark.study import Cohort, ReportSettings, Study

STAGES = {
    schemas.COHORTS.name: "Cohort statistics",
    schemas.COMPLETION.name: "Completion scores",
    schemas.PREDICTION.name: "Prediction scores",
}


def render(
    study: Study,
    results: Mapping[str, pd.DataFrame],
    figures: Mapping[str, bytes],
    *,
    cohorts: Mapping[str, Cohort] | None = None,
    settings: ReportSettings | None = None,
    provenance: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the report as one self-contained HTML page.

    Args:
        study: What was run.
        results: Collected tables by name (`schemas.SCHEMAS`); absent or empty ones are named as
            missing.
        figures: PNG bytes by name: ``cohorts``, ``completion``, ``completion_errors``,
            ``completion_shares``, ``completion_regimes``, ``hidden_maps:<cohort>``,
            ``hidden_scatter:<cohort>``, ``learning_curves:<cohort>``, ``prediction``,
            ``maps:<cohort>``, ``overlay:<cohort>/<slide>``,
            ``stage:<stage>:<cohort>`` (a cohort's processing); ``<section>:<anything>`` stands in
            that section.
        cohorts: Definitions by code: titles, licences, citations.
        settings: Title of the page.
        provenance: Versions, commit, digests and whatever else tells how the numbers were made.
        notes: Sentences to stand at the head of the page.

    Raises:
        ContractError: When a table is unknown or breaks its schema, or a figure is not a PNG.
    """
    checked = _checked(results)
    wide = tables.cohort_statistics(checked[schemas.COHORTS.name])
    completion = tables.completion_summary(checked[schemas.COMPLETION.name])
    prediction = tables.prediction_summary(checked[schemas.PREDICTION.name])
    first_space = _first(prediction, "combat" if study.protocol == "transductive" else "log_tpm")
    further = [*_truth_blocks(checked[schemas.COMPLETION.name]), *_claims_block(completion)]
    blocks = completion_blocks(completion, further)
    leading = _leading_completion(completion)
    shown = with_values(prediction, space=first_space)
    compared = with_values(checked[schemas.COMPARISONS.name], space=first_space)
    page = _environment().from_string(_part("report.html"))
    return page.render(
        settings=settings or ReportSettings(),
        study=study,
        definitions=cohorts or {},
        notes=list(notes),
        absent=warnings.absent(study, checked, STAGES),
        opening=headline.opening(shown),
        completion_space=_first(completion, "log_tpm"),
        findings=headline.findings(study.cohorts, leading, shown, compared),
        score_warnings=warnings.score_warnings(study, completion, prediction),
        data_warnings=[
            *warnings.split_warnings(checked[schemas.SHARED.name]),
            *warnings.data_warnings(wide, checked[schemas.INGESTION.name]),
        ],
        cohort_grids=_cohort_grids(wide, checked[schemas.INGESTION.name], cohorts or {}),
        completion_blocks=blocks,
        **predicting.section(first_space, prediction, checked),
        images=pictures.by_section(figures),
        stages=pictures.by_cohort(figures),
        provenance=_provenance(study, checked, provenance or {}),
        spaces=SPACES,
        style=Markup(_part("style.css")),  # noqa: S704 - our own file, no user text
        script=Markup(_part("sort.js")),  # noqa: S704 - our own file, no user text
    )


def completion_blocks(summary: pd.DataFrame, further: Sequence[Block] = ()) -> list[Block]:
    """Return the completion tables: the headline, all regimes side by side, each alone.

    ``further`` ones stand before those that are folded.
    """
    if summary.empty:
        return []
    keys = ["space", "regime", "hidden_fraction"]
    leading = _leading_completion(summary).iloc[0]
    first = tuple(leading[key] for key in keys)
    blocks = []
    for (space, regime, fraction), rows in summary.groupby(keys, sort=False):
        hidden = regimes.drawing_words(str(regime), float(str(fraction)))
        title = f"{hidden} hidden, {of_space(str(space))}"
        note = (
            "The paper's way: entries are hidden in the finished batch-corrected layer, missing "
            "ones hold medians. For comparison with printed numbers only."
            if space == "combat"
            else ""
        )
        grids = tuple(
            grid.completion_grid(own, f"{code}: {split_words(own)}")
            for code, own in rows.groupby("cohort", sort=False)
        )
        blocks.append(Block(title, note, grids, (space, regime, fraction) != first))
    blocks.sort(key=lambda block: block.folded)
    regime_block = _regime_block(summary, str(leading["space"]))
    return [*blocks[:1], *regime_block, *further, *blocks[1:]]


def _checked(results: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    for name in results:
        if name not in schemas.SCHEMAS:
            raise ContractError(
                f"the report knows no table {name!r}{nearest(name, schemas.SCHEMAS)}; known: "
                f"{', '.join(schemas.SCHEMAS)}"
            )
    return {
        name: schemas.check(results[name], schema, "all cohorts")
        if name in results and len(results[name])
        else schema.empty()
        for name, schema in schemas.SCHEMAS.items()
    }


def _regime_block(summary: pd.DataFrame, space: str) -> list[Block]:
    rows = with_values(summary, space=space)
    if regimes.drawings_of(rows) < 2:
        return []
    grids = tuple(
        regimes.regime_grid(own, f"{code}: {split_words(own)}")
        for code, own in rows.groupby("cohort", sort=False)
    )
    note = "MSE; columns hide other entries, so they are not comparable with one another."
    return [Block(f"Every way of hiding, {of_space(space)}", note, grids, folded=False)]


def _truth_blocks(scores: pd.DataFrame) -> list[Block]:
    summary = truth.truth_summary(scores)
    if summary.empty:
        return []
    first = summary.iloc[0]
    hidden = regimes.drawing_words(str(first["regime"]), float(first["hidden_fraction"]))
    grids = tuple(
        truth.truth_grid(own, f"{code}: {split_words(own)}")
        for code, own in summary.groupby("cohort", sort=False)
    )
    title = f"Against the true expression: {hidden} hidden, {SPACES[str(first['space'])]}"
    return [Block(title, truth.NOTE, grids, folded=False)]


def _claims_block(summary: pd.DataFrame) -> list[Block]:
    found = claims.completion_claims(summary)
    title = "What the paper says of completion, and what this study finds"
    return [Block(title, claims.NOTE, (claims.claims_grid(found),), folded=False)] if found else []


def _cohort_grids(
    wide: pd.DataFrame, ingestion: pd.DataFrame, cohorts: Mapping[str, Cohort]
) -> list[Grid]:
    titles = {code: cohort.title for code, cohort in cohorts.items()}
    caption = "Cohorts" + (
        " (in brackets: as published)" if "published_missing_before" in wide else ""
    )
    grids = [grid.cohort_grid(wide, titles, caption)] if len(wide) else []
    if len(ingestion):
        grids.append(grid.slide_grid(ingestion, "Slides as read"))
    return grids


def _leading_completion(summary: pd.DataFrame) -> pd.DataFrame:
    return tables.headline(with_values(summary, space=_first(summary, "log_tpm")))


def _first(summary: pd.DataFrame, preferred: str) -> str:
    spaces = list(summary["space"].unique()) if len(summary) else []
    return preferred if preferred in spaces or not spaces else str(spaces[0])


def _provenance(
    study: Study, results: Mapping[str, pd.DataFrame], given: Mapping[str, str]
) -> list[tuple[str, str]]:
    seeds = results[schemas.PREDICTION.name]["seed"]
    assays = results[schemas.COMPLETION.name]["assay"]
    return [
        ("protocol", study.protocol),
        ("cohorts", _joined(study.cohorts)),
        ("patch window", study.window),
        ("completers", _joined(study.completers)),
        ("predictors", _joined(study.predictors)),
        ("controls", _joined(study.controls)),
        ("targets", _joined(study.targets)),
        (
            "training seeds in the tables",
            _joined(f"{seed:g}" for seed in sorted(set(seeds.dropna()))),
        ),
        ("assays in the tables", str(assays.dropna().nunique())),
        *((str(key), str(value)) for key, value in given.items()),
    ]


def _joined(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"


def _environment() -> Environment:
    return Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )


def _part(name: str) -> str:
    return resources.files("spared_benchmark.reporting").joinpath("page", name).read_text("utf-8")
