"""From the cohorts' tidy scores to the tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from spared_benchmark.errors import ContractError, nearest
from spared_benchmark.reporting import schemas
from spared_benchmark.reporting.schemas import KINDS, Schema
from spared_benchmark.study import HEADLINE

CORRELATIONS = ("pcc_gene", "pcc_net")
BASELINE = "slide_gene_mean"
FLOOR = "floor"
TRUTH = "truth"  # the target of what is made from true values: no predictor was trained on it
SHUFFLED = "_shuffled"  # ends the name of what was fitted to exchanged labels
COMPLETION_GROUP = ["cohort", "protocol", "space", "regime", "hidden_fraction"]
PREDICTION_GROUP = ["cohort", "protocol", "space"]


def missing(tables: Mapping[str, pd.DataFrame | None]) -> list[str]:
    """Return the cohorts that have no table, in the order given."""
    return [cohort for cohort, table in tables.items() if table is None]


def collect(tables: Mapping[str, pd.DataFrame | None], schema: str | None = None) -> pd.DataFrame:
    """Put the cohorts' tables under one another.

    Args:
        tables: Table by cohort code; None where a cohort has not been run.
        schema: Name of the result table; told from the columns of the first table when not given.

    Returns:
        All rows, cohorts in the order given; a table without rows when every cohort is missing.

    Raises:
        ContractError: When a table breaks its schema or holds rows of another cohort.
    """
    present = {cohort: table for cohort, table in tables.items() if table is not None}
    if schema is not None and schema not in schemas.SCHEMAS:
        known = list(schemas.SCHEMAS)
        raise ContractError(
            f"no result table is called {schema!r}{nearest(schema, known)}; known: "
            f"{', '.join(known)}"
        )
    if not present:
        return schemas.SCHEMAS[schema].empty() if schema else pd.DataFrame({"cohort": []})
    first = next(iter(present.values()))
    kind = schemas.SCHEMAS[schema] if schema else schemas.infer(first)
    checked = [_of_cohort(table, kind, cohort) for cohort, table in present.items()]
    filled = [table for table in checked if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else kind.empty()


def completion_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarise completion: one row per cohort, space, regime, fraction and completer.

    Pooled scores of the test slides are averaged over assays; a cohort without test slides is
    summarised on its val slides and says so. The share of reducible error removed is
    ``(m - e) / (m - f)`` with e the MSE, m that of ``slide_gene_mean`` and f the floor, all of the
    same assay.

    Args:
        scores: Tidy completion scores of any number of cohorts.

    Returns:
        Columns: those of the group, ``split``, ``validation`` (bool), ``completer``, ``kind``,
        ``mse``, ``pcc_gene``, ``pcc_net``, ``share`` with their standard deviations over assays
        (``_sd``), ``n_entries``, ``n_genes`` (means over assays), ``assays``, ``seconds`` and
        ``best_mse``, ``best_pcc`` (bool, among methods only). Methods first, then controls, then
        ceilings, each by MSE.
    """
    keys = [*COMPLETION_GROUP, "split", "completer", "kind"]
    runs = _per_run(scores, keys, "assay")
    if runs.empty:
        return _nothing(keys, ["mse", *CORRELATIONS, "share"], "assays").assign(seconds=[])
    baseline = _reference(runs, BASELINE)
    floor = _reference(runs, FLOOR)
    reducible = baseline - floor
    runs["share"] = ((baseline - runs["mse"]) / reducible).where(reducible > 0)
    runs.loc[runs["kind"] == "ceiling", "share"] = float("nan")
    summary = _averaged(runs, keys, COMPLETION_GROUP, "assay")
    timed = [*COMPLETION_GROUP, "completer"]
    seconds = scores[scores["metric"] == "seconds"].groupby(timed)["value"].first()
    return summary.join(seconds.rename("seconds"), on=timed)


def prediction_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarise prediction: one row per cohort, space, target and predictor.

    Pooled scores of the test slides (val where a cohort has none), averaged over seeds.

    Args:
        scores: Tidy prediction scores of any number of cohorts.

    Returns:
        Columns: ``cohort``, ``protocol``, ``space``, ``split``, ``validation``, ``target``,
        ``predictor``, ``kind``, ``mse``, ``pcc_gene`` with their standard deviations over seeds,
        ``n_entries``, ``n_genes``, ``seeds``, ``best_mse``, ``best_pcc`` (bool, per cohort and
        space, among methods only).
    """
    keys = [*PREDICTION_GROUP, "split", "target", "predictor", "kind"]
    runs = _per_run(scores, keys, "seed")
    if runs.empty:
        return _nothing(keys, ["mse", *CORRELATIONS], "seeds")
    return _averaged(runs, keys, PREDICTION_GROUP, "seed")


def target_summary(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the best method of each target, to judge what completion does for prediction.

    Args:
        summary: What `prediction_summary` returns.

    Returns:
        One row per cohort, space and target: the method of lowest MSE, ``role`` (``raw``,
        ``measured`` or ``completed``) and ``control_mse``, the lowest of the target's `rivals`.
    """
    keys = [*PREDICTION_GROUP, "target"]
    if summary.empty:
        return summary.assign(role=[], control_mse=[])
    known = summary[summary["mse"].notna()]
    methods = known[(known["kind"] == "method") & (known["target"] != TRUTH)]
    best = methods.loc[methods.groupby(keys, sort=False)["mse"].idxmin()].copy()
    best["role"] = best["target"].where(best["target"].isin(["raw", "measured"]), "completed")
    controls = rivals(known).groupby(keys)["mse"].min().rename("control_mse")
    best = best.merge(controls, how="left", left_on=keys, right_index=True)
    rank = best["role"].map({"raw": 0, "measured": 1, "completed": 2})
    return best.assign(rank=rank).sort_values(["rank", "mse"]).drop(columns="rank")


def rivals(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the controls that a predictor of images is to beat.

    They do not read the slide that is predicted (as ``library_size`` does) and were not fitted to
    exchanged labels, which only tell whether something leaks.

    Args:
        summary: What `prediction_summary` returns, or some of its rows.
    """
    if summary.empty:
        return summary
    exchanged = summary["predictor"].astype(str).str.contains(SHUFFLED, regex=False)
    return summary[(summary["kind"] == "control") & (summary["target"] != TRUTH) & ~exchanged]


def cohort_statistics(cohorts: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics of the cohorts side by side: one row per cohort."""
    if cohorts.empty:
        return pd.DataFrame()
    wide = cohorts.pivot_table(
        index="cohort", columns="statistic", values="value", aggfunc="first", sort=False
    )
    return wide.reindex(index=in_order(cohorts["cohort"]))


def in_order(names: pd.Series) -> list[str]:
    """Return the distinct names in the order of their first appearance."""
    return [str(name) for name in names.drop_duplicates()]


def best_of(summary: pd.DataFrame, kinds: Sequence[str] = ("method",)) -> pd.Series | None:
    """Return the row of lowest MSE among ``kinds``, or None when there is none."""
    if summary.empty:
        return None
    rows = summary[summary["kind"].isin(kinds) & summary["mse"].notna()]
    return None if rows.empty else rows.iloc[int(rows["mse"].to_numpy().argmin())]


def headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the regime and share to read first: random entries at 30 %.

    Of the first regime and share in the table where these were not scored.

    Args:
        rows: Completion scores or a summary of them.
    """
    if rows.empty:
        return rows
    drawn = list(zip(rows["regime"], rows["hidden_fraction"], strict=True))
    regime, share = HEADLINE if HEADLINE in drawn else drawn[0]
    return rows[(rows["regime"] == regime) & (rows["hidden_fraction"] == share)]


def reported(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the pooled scores of each cohort's test slides, of its val slides if it has none."""
    tested = set(scores.loc[scores["split"] == "test", "cohort"])
    split = scores["cohort"].map(lambda cohort: "test" if cohort in tested else "val")
    return scores[(scores["slide"] == "") & (scores["split"] == split)]


def _of_cohort(table: pd.DataFrame, schema: Schema, cohort: str) -> pd.DataFrame:
    checked = schemas.check(table, schema, cohort)
    strangers = [code for code in checked["cohort"].unique() if code != cohort]
    if strangers:
        raise ContractError(
            f"{schema.name} of cohort {cohort!r}: column 'cohort' holds {strangers[0]!r}; "
            f"only {cohort!r} is allowed; the table was collected under the wrong cohort"
        )
    return checked


def _nothing(keys: list[str], metrics: list[str], runs: str) -> pd.DataFrame:
    """Return a summary without rows."""
    spreads = [f"{metric}_sd" for metric in metrics]
    sizes = ["n_entries", "n_genes", runs]
    columns = [*keys, *metrics, *spreads, *sizes, "validation", "best_mse", "best_pcc"]
    return pd.DataFrame({column: [] for column in columns})


def _per_run(scores: pd.DataFrame, keys: list[str], run: str) -> pd.DataFrame:
    """Return one row per run (assay or seed) with a column for each metric that is summarised."""
    pooled = reported(scores)
    pooled = pooled[pooled["metric"].isin(["mse", *CORRELATIONS])]
    # A control drawn once carries no assay or seed; a missing key would drop its rows.
    pooled = pooled.assign(**{run: pooled[run].fillna(-1)})
    grouped = pooled.groupby([*keys, run, "metric"], sort=False, dropna=False, observed=True)
    wide = grouped[["value", "n"]].first().unstack("metric")
    runs = pd.DataFrame(index=wide.index)
    wanted = {metric: ("value", metric) for metric in ("mse", *CORRELATIONS)}
    wanted |= {"n_entries": ("n", "mse"), "n_genes": ("n", "pcc_gene")}
    for column, source in wanted.items():
        runs[column] = wide[source] if source in wide.columns else float("nan")
    return runs.reset_index()


def _reference(runs: pd.DataFrame, completer: str) -> pd.Series:
    """Return the MSE of ``completer`` in each run's assay, or its mean where the assay has none."""
    rows = runs[runs["completer"] == completer]
    of_assay = rows.groupby([*COMPLETION_GROUP, "assay"])["mse"].first()
    of_group = rows.groupby(COMPLETION_GROUP)["mse"].mean()
    exact = runs.join(of_assay.rename("reference"), on=[*COMPLETION_GROUP, "assay"])["reference"]
    mean = runs.join(of_group.rename("reference"), on=COMPLETION_GROUP)["reference"]
    return exact.fillna(mean)


def _averaged(runs: pd.DataFrame, keys: list[str], group: list[str], run: str) -> pd.DataFrame:
    grouped = runs.groupby(keys, sort=False, dropna=False, observed=True)
    metrics = [metric for metric in ("mse", *CORRELATIONS, "share") if metric in runs.columns]
    summary = grouped[metrics].mean()
    summary = summary.join(grouped[metrics].std().add_suffix("_sd"))
    summary = summary.join(grouped[["n_entries", "n_genes"]].mean())
    summary[f"{run}s"] = grouped[run].nunique()
    summary = summary.reset_index()
    summary["validation"] = summary["split"] == "val"
    summary["best_mse"] = _marked(summary, group, "mse", largest=False)
    summary["best_pcc"] = _marked(summary, group, "pcc_gene", largest=True)
    order = summary["cohort"].map({code: i for i, code in enumerate(in_order(summary["cohort"]))})
    rank = summary["kind"].map({kind: i for i, kind in enumerate(KINDS)})
    summary = summary.assign(order=order, rank=rank).sort_values(
        ["order", *group[1:], "rank", "mse"], kind="stable"
    )
    return summary.drop(columns=["order", "rank"]).reset_index(drop=True)


def _marked(summary: pd.DataFrame, group: list[str], metric: str, *, largest: bool) -> pd.Series:
    methods = summary[(summary["kind"] == "method") & summary[metric].notna()]
    values = methods.groupby(group, dropna=False)[metric]
    best = values.idxmax() if largest else values.idxmin()
    return pd.Series(summary.index.isin(best), index=summary.index)
