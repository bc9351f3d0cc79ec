"""Genes by their Ensembl ids: what an annotation's table says of names and symbols."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{6,})(?:\.\d+)?(?:_PAR_Y)?$")


@dataclass(frozen=True)
class Annotated:
    """What an annotation says of some genes.

    Attributes:
        id: Ensembl ids without version; the name itself where none is known ``(n_genes,)``.
        length: Base pairs; NaN where none is known ``(n_genes,)``.
        ambiguous: Genes known by their symbol alone, which names several genes of the annotation
            ``(n_genes,)``.
    """

    id: NDArray[np.str_]
    length: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]


def without_version(gene: str) -> str:
    """Return an Ensembl gene id without its version; any other name comes back unchanged."""
    match = _ENSEMBL.match(gene)
    return match.group(1) if match else gene


def is_ensembl_id(name: str) -> bool:
    """Return whether a name is an Ensembl gene id, with or without version."""
    return _ENSEMBL.match(name) is not None


def annotate(
    names: Sequence[str], symbols: Sequence[str] | None, table: pd.DataFrame | None
) -> Annotated:
    """Look genes up in the table of an annotation.

    A gene is found by its id without version. One that is not an Ensembl id (the source has
    nothing but symbols) is found by its symbol, unless that names several genes of the table. An
    Ensembl id that the table lacks stays as it is: its symbol may belong to another gene there.

    Args:
        names: As in ``var_names``: Ensembl ids, or symbols ``(n_genes,)``.
        symbols: Their symbols; the names themselves when not given.
        table: Columns ``gene_id``, ``symbol``, ``length``; None when there is none, and then
            nothing is known but the names.
    """
    cut = pd.Series([without_version(name) for name in names], dtype=object)
    if table is None:
        return Annotated(_text(cut), np.full(len(cut), np.nan), np.zeros(len(cut), bool))
    lengths = table.drop_duplicates("gene_id").set_index("gene_id")["length"].astype(np.float64)
    by_symbol, several = ids_by_symbol(table)
    symbol = pd.Series(list(names if symbols is None else symbols), dtype=object)
    free = ~cut.isin(lengths.index) & ~cut.str.match(_ENSEMBL).astype(bool)
    named = symbol.map(by_symbol).where(free)
    gene = named.where(named.notna(), cut)
    return Annotated(
        id=_text(gene),
        length=np.array(gene.map(lengths), dtype=np.float64),
        ambiguous=(free & symbol.isin(several)).to_numpy(bool),
    )


def ids_by_symbol(table: pd.DataFrame) -> tuple[pd.Series, frozenset[str]]:
    """Return the ids of the symbols that name one gene, and the symbols that name several.

    Args:
        table: Columns ``gene_id`` and ``symbol`` ("" where a gene has none).
    """
    named = table[table["symbol"] != ""].drop_duplicates(["gene_id", "symbol"])
    double = named["symbol"].duplicated(keep=False)
    ids: pd.Series = named[~double].set_index("symbol")["gene_id"]
    return ids, frozenset(named.loc[double, "symbol"])


def _text(names: pd.Series) -> NDArray[np.str_]:
    return names.to_numpy(dtype=str)
