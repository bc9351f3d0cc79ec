"""Tables as a reader sees them: columns, groups of rows, cells with a reason where undefined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from spared_benchmark.reporting.numbers import (
    DASH,
    PLUS_MINUS,
    decimal,
    defined,
    percent,
    spread,
    whole,
)

CONSTANT = "Undefined for every gene: the prediction is constant within each slide"
NO_FLOOR = (
    "Undefined: needs the scores of slide_gene_mean and the Poisson floor in this space, and a "
    "floor below that mean"
)
CEILING = "Not defined for a ceiling"
UNKNOWN = "Not in the tables"


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it sorts by, and what a reader sees on hovering."""

    text: str
    sort: float | str = ""
    title: str = ""
    best: bool = False


@dataclass(frozen=True)
class Column:
    """One column's head; the cells of one that ``wraps`` may take two lines."""

    label: str
    title: str = ""
    numeric: bool = True
    wraps: bool = False


@dataclass(frozen=True)
class Group:
    """Rows that are sorted among themselves; ``label`` stands above them when given."""

    label: str
    rows: tuple[tuple[Cell, ...], ...]
    aside: bool = False


@dataclass(frozen=True)
class Grid:
    """A table of the report."""

    caption: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]


ERROR = Column("MSE", "Mean squared error; lower is better")
CORRELATION = Column("PCC by gene", "Pearson's correlation per gene within slide, averaged")
ENTRIES = Column("n\N{NO-BREAK SPACE}entries", "Entries that were scored")
GENES = Column("n\N{NO-BREAK SPACE}genes", "Genes whose PCC is defined, summed over slides")
UNRANKED = "Controls and ceilings, not ranked"
CONTROLS = "Controls, not ranked"


def completion_grid(summary: pd.DataFrame, caption: str) -> Grid:
    """Return one cohort's completers; ``summary`` holds one space, regime and fraction."""
    columns = (
        Column("Completer", numeric=False),
        ERROR,
        CORRELATION,
        Column("PCC net of depth", "The same with the depth of each spot removed: not depth alone"),
        Column(
            "reducible error removed",
            "(MSE of slide_gene_mean − MSE) / (MSE of slide_gene_mean − floor)",
        ),
        ENTRIES,
        GENES,
        Column("assays", "Times that other entries were hidden; ± is their standard deviation"),
        Column("seconds", "Fit, and completion in all assays, on the machine that ran it"),
    )

    def cells(row: pd.Series) -> tuple[Cell, ...]:
        return (
            Cell(str(row["completer"]), str(row["completer"])),
            *metric_cells(row, "assay"),
            number_cell(row["pcc_net"], None, "Not in the tables, or undefined for every gene"),
            _share(row),
            *size_cells(row, "assays"),
            _seconds(row["seconds"]),
        )

    return Grid(caption, columns, grouped(summary, cells))


def cohort_grid(wide: pd.DataFrame, titles: dict[str, str], caption: str) -> Grid:
    """Return the cohorts: their size, their splits and how much of them is missing."""
    columns = (
        Column("Cohort", numeric=False),
        Column("slides"),
        Column("subjects", "Patients or animals"),
        Column("spots"),
        Column("train / val / test", "Spots of each split"),
        Column("genes", "Chosen of those measured"),
        Column("UMI per spot", "Median library size over the genes that pass the filter"),
        Column("corrupt", "Spots with at least one missing entry among the chosen genes"),
        Column("missing before", "Entries without a count, among all genes measured"),
        Column("missing after", "The same among the chosen genes"),
    )
    rows = []
    for code, row in wide.iterrows():
        title = titles.get(str(code), "")
        splits = [row.get(f"{split}_spots", 0) for split in ("train", "val", "test")]
        rows.append(
            (
                Cell(f"{code} {title}".strip(), str(code)),
                *(_beside(row, name, whole) for name in ("slides", "subjects", "spots")),
                Cell(" / ".join(whole(count) if count else DASH for count in splits), splits[0]),
                Cell(
                    f"{whole(row.get('genes'))} of {whole(row.get('genes_measured'))}",
                    row.get("genes", 0),
                ),
                _count(row.get("median_library_size")),
                _count(row.get("spots_corrupt")),
                _beside(row, "missing_before", _missing),
                _beside(row, "missing_after", _missing),
            )
        )
    return Grid(caption, columns, (Group("", tuple(rows)),))


def slide_grid(ingestion: pd.DataFrame, caption: str) -> Grid:
    """Return the slides as they were read."""
    columns = (
        Column("Cohort", numeric=False),
        Column("slide", numeric=False),
        Column("subject", "Patient or animal", numeric=False),
        Column("split", numeric=False),
        Column("spots"),
        Column("genes", "Genes in the file"),
        Column("UMI per spot", "Median over spots, all genes"),
        Column("image", "Without an image a slide takes part in completion only", numeric=False),
        Column("µm per patch pixel", "Above 1 the patches are coarser than most methods expect"),
    )
    rows = tuple(
        (
            *(
                Cell(str(row.get(name, DASH)), str(row.get(name, "")))
                for name in ("cohort", "slide", "subject", "split")
            ),
            *(_count(row[name]) for name in ("spots", "genes", "median_counts")),
            Cell(str(row["image"]), str(row["image"])),
            number_cell(row["um_per_patch_px"], None, "No image, or no scale in the source", 2),
        )
        for _, row in ingestion.iterrows()
    )
    return Grid(caption, columns, (Group("", rows),))


def grouped(
    summary: pd.DataFrame,
    cells: Callable[[pd.Series], tuple[Cell, ...]],
    unranked: str = UNRANKED,
) -> tuple[Group, ...]:
    """Return a row of ``cells`` for each row of a summary, what is not ranked below the methods."""
    ranked = summary["kind"] == "method"
    groups = []
    for label, rows, aside in (("", summary[ranked], False), (unranked, summary[~ranked], True)):
        if len(rows):
            made = tuple(cells(row) for _, row in rows.iterrows())
            groups.append(Group(label, made, aside))
    return tuple(groups)


def metric_cells(row: pd.Series, run: str) -> tuple[Cell, Cell]:
    """Return error and correlation of a summary's row; ``run`` is an assay or a seed."""
    title = "" if defined(row["mse_sd"]) else f"One {run}: no spread is known"
    error = Cell(
        spread(row["mse"], row["mse_sd"]), _sortable(row["mse"]), title, bool(row["best_mse"])
    )
    correlation = number_cell(row["pcc_gene"], row["pcc_gene_sd"], _why(row))
    return error, Cell(correlation.text, correlation.sort, correlation.title, bool(row["best_pcc"]))


def _why(row: pd.Series) -> str:
    return UNKNOWN if row["kind"] == "ceiling" else CONSTANT


def _share(row: pd.Series) -> Cell:
    if not defined(row["share"]):
        return Cell(DASH, "", CEILING if row["kind"] == "ceiling" else NO_FLOOR)
    if row["share"] < -1:
        return Cell(f"< {percent(-1.0)}", row["share"], percent(row["share"]))
    deviation = row["share_sd"]
    text = percent(row["share"])
    if defined(deviation) and deviation >= 0.0005:
        text = f"{decimal(100 * row['share'], 0)}{PLUS_MINUS}{percent(deviation)}"
    return Cell(text, row["share"])


def size_cells(row: pd.Series, runs: str) -> tuple[Cell, Cell, Cell]:
    """Return a summary's entries, genes and ``runs``."""
    return _count(row["n_entries"]), _count(row["n_genes"]), _count(row[runs])


def _seconds(value: float) -> Cell:
    return number_cell(value, None, "Not timed", 1 if defined(value) and value < 10 else 0)


def _count(value: float | None) -> Cell:
    return Cell(whole(value), _sortable(value), "" if defined(value) else UNKNOWN)


def number_cell(
    value: float | None, deviation: float | None, why: str, places: int | None = None
) -> Cell:
    """Return a number with its deviation where known, or a dash that says ``why``."""
    text = spread(value, deviation) if places is None else decimal(value, places)
    return Cell(text, _sortable(value), "" if defined(value) else why)


def _beside(row: pd.Series, name: str, write: Callable[[float], str]) -> Cell:
    """Return a statistic of a cohort, with the published figure in brackets where there is one."""
    value, published = row.get(name), row.get(f"published_{name}")
    if value is None or not defined(value):
        return Cell(DASH, "", UNKNOWN)
    if published is None or not defined(published):
        return Cell(write(value), _sortable(value))
    return Cell(f"{write(value)} ({write(published)})", _sortable(value), "In brackets: published")


def _missing(value: float) -> str:
    return percent(value if value <= 1 else value / 100, 1)


def _sortable(value: float | None) -> float | str:
    return float(value) if value is not None and defined(value) else ""
