"""Genes chosen by name: which of the genes of a cohort a list of ids or symbols means."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.expression.annotation import annotate, ids_by_symbol, without_version
from spared_benchmark.expression.genes import FEWEST_NAMED, CommonGenes

logger = logging.getLogger(__name__)

_SHOWN = 5
_UNMAPPED = "; there is no table of gene lengths to map symbols and ids by"


def named_genes(
    genes: CommonGenes, names: Sequence[str], gene_lengths: pd.DataFrame | None
) -> NDArray[np.bool_] | None:
    """Return which genes a list names, bool ``(n_genes,)``; None when the list is empty.

    A name is, in this order: the gene's name in the slides or its Ensembl id (versions do not
    count), the symbol that the slides give to one gene, the symbol that the annotation gives to
    one gene. Names that are none of these, and symbols of several genes, are logged.

    Args:
        genes: Genes that every choosing slide has.
        names: Ensembl ids or symbols.
        gene_lengths: Columns ``gene_id``, ``symbol``, ``length``, or None.

    Raises:
        InputError: When fewer than two of the genes are found.
    """
    if not names:
        return None
    wanted = pd.Index([without_version(name) for name in names]).unique()
    own = pd.Index([without_version(name) for name in genes.source])
    ids = pd.Index(annotate(genes.source.tolist(), genes.symbol.tolist(), gene_lengths).id)
    chosen = own.isin(wanted) | ids.isin(wanted)
    rest = wanted.difference(own.append(ids), sort=False)

    symbols = pd.Index(genes.symbol)
    known = rest.isin(symbols)
    several = rest.isin(symbols[symbols.duplicated()])
    chosen |= symbols.isin(rest[known & ~several])
    unclear, rest = list(rest[several]), rest[~known]
    if gene_lengths is not None and rest.size:
        by_symbol, double = ids_by_symbol(gene_lengths)
        meant = by_symbol.reindex(rest)
        found = meant.isin(ids).to_numpy(bool)
        chosen |= ids.isin(meant[found])
        unclear += [name for name in rest if name in double]
        rest = rest[~found & ~rest.isin(list(double))]
    if chosen.sum() < FEWEST_NAMED:
        unmapped = "" if gene_lengths is not None else _UNMAPPED
        msg = (
            f"{'only one' if chosen.any() else 'none'} of the {wanted.size} genes named (first: "
            f"{wanted[0]!r}) is a gene that every choosing slide has (first: "
            f"{str(genes.source[0])!r}), at least {FEWEST_NAMED} are needed{unmapped}; name "
            "Ensembl ids or symbols of the cohort's organism in gene_file"
        )
        raise InputError(msg)
    _report(rest.tolist(), wanted.size, "no gene that every choosing slide has")
    _report(unclear, wanted.size, "the symbols of several genes: name their Ensembl ids")
    return np.asarray(chosen, dtype=bool)


def _report(names: list[str], asked: int, what: str) -> None:
    if names:
        more = ", …" if len(names) > _SHOWN else ""
        shown = ", ".join(names[:_SHOWN]) + more
        logger.warning("%d of %d genes named are %s: %s", len(names), asked, what, shown)
