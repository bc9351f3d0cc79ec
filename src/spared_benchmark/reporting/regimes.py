"""All ways of hiding side by side: one row per completer, one column per regime and share."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from spared_benchmark.reporting.grid import NO_FLOOR, UNRANKED, Cell, Column, Grid, Group
from spared_benchmark.reporting.numbers import DASH, decimal, defined, percent, spread
from spared_benchmark.reporting.tables import COMPLETION_GROUP

_DRAWING = ["regime", "hidden_fraction"]
_WORDS = {
    "entries": "Random measured entries",
    "spots": "Every entry of random spots, whose depth is not told",
    "blocks": "Every spot within two hops of random centres; their depth is not told",
    "gene_region": "One gene in one half of a slide",
    "low_values": "Entries, low ones more often, as counting loses them",
    "molecular": "One half of all molecules; scored where the other half holds none",
}


def regime_grid(summary: pd.DataFrame, caption: str) -> Grid:
    """Return one cohort's errors under every regime, with the reducible error removed.

    Args:
        summary: `tables.completion_summary` of one cohort and one space.
        caption: Stands above the table.
    """
    drawings = sorted_drawings(summary)
    columns = (
        Column("Completer", numeric=False),
        *(
            Column(drawing_words(regime, share), _WORDS.get(regime, ""))
            for regime, share in drawings
        ),
    )
    cells = {
        (str(row["completer"]), str(row["regime"]), float(row["hidden_fraction"])): row
        for _, row in summary.iterrows()
    }
    groups = []
    for label, ranked in (("", True), (UNRANKED, False)):
        kinds = summary[(summary["kind"] == "method") == ranked]
        names = kinds["completer"].drop_duplicates()
        if len(names):
            rows = tuple(
                (
                    Cell(str(name), str(name)),
                    *(_error(cells, (str(name), *drawing)) for drawing in drawings),
                )
                for name in names
            )
            groups.append(Group(label, rows, aside=not ranked))
    return Grid(caption, columns, tuple(groups))


def drawing_words(regime: str, share: float) -> str:
    """Return what a reader calls a regime at one share."""
    unit = " of molecules" if regime == "molecular" else ""
    return f"{regime}, {100 * share:g} %{unit}"


def sorted_drawings(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the regimes and shares of a table, in the order in which tables show them."""
    found = rows[_DRAWING].drop_duplicates().itertuples(index=False, name=None)
    return sorted(((str(regime), float(share)) for regime, share in found), key=_order)


def drawings_of(summary: pd.DataFrame) -> int:
    """Return how many regimes and shares some cohort has in one space."""
    if summary.empty:
        return 0
    group = [column for column in COMPLETION_GROUP if column not in _DRAWING]
    drawn = summary[[*group, *_DRAWING]].drop_duplicates()
    return int(drawn.groupby(group).size().max())


def _order(drawing: tuple[str, float]) -> tuple[int, float]:
    regime, share = drawing
    known = list(_WORDS)
    return known.index(regime) if regime in known else len(known), share


def _error(cells: Mapping[tuple[str, str, float], pd.Series], key: tuple[str, str, float]) -> Cell:
    if key not in cells:
        return Cell(DASH, "", "Not scored under this regime")
    row = cells[key]
    text = spread(row["mse"], row["mse_sd"])
    title = f"PCC by gene {decimal(row['pcc_gene'])}" if defined(row["pcc_gene"]) else ""
    removed = f"{percent(row['share'])} of the reducible error removed"
    told = removed if defined(row["share"]) else NO_FLOOR
    title = "; ".join(part for part in (told, title) if part)
    sort = float(row["mse"]) if defined(row["mse"]) else ""
    return Cell(text, sort, title, bool(row["best_mse"]))
