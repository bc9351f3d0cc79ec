"""Which genes a cohort's TPM denominators are sums over: what another slide needs to be alike."""

from __future__ import annotations

from typing import Any

from spared_benchmark.expression.genes import FilteredGenes


def denominator_genes(filtered: FilteredGenes) -> dict[str, Any]:
    """Return the filtered genes as ``uns["filtered_genes"]`` holds them.

    Returns:
        ``gene`` (names in the expression), ``column`` (names in the slides' tables) and
        ``gene_length`` (base pairs), each ``(n_filtered,)``.
    """
    return {
        "gene": filtered.id.astype(object),
        "column": filtered.source.astype(object),
        "gene_length": filtered.lengths,
    }
