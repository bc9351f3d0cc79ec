"""The genes of a cohort: those that every choosing slide has, and what the filter leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.expression.annotation import Annotated, annotate, is_ensembl_id
from spared_benchmark.expression.filter import GeneFilter, Tally, tally

logger = logging.getLogger(__name__)

# One gene alone is no composition and has nothing to be ranked or corrected with.
FEWEST_NAMED = 2


@dataclass(frozen=True)
class CommonGenes:
    """Genes that every choosing slide has.

    Attributes:
        source: Names as in the slides' ``var_names`` ``(n_genes,)``.
        symbol: Their symbols there ``(n_genes,)``.
    """

    source: NDArray[np.str_]
    symbol: NDArray[np.str_]


@dataclass(frozen=True)
class FilteredGenes:
    """Genes that the filter keeps and that can be normalised.

    Attributes:
        id: Ensembl ids without version; the name in the slides where none is known
            ``(n_filtered,)``.
        source: Names as in the slides' ``var_names`` ``(n_filtered,)``.
        symbol: Symbols ``(n_filtered,)``.
        lengths: Merged exon lengths, base pairs; 1 where none is needed ``(n_filtered,)``.
        fraction_min: Smallest expressed fraction over the slides ``(n_filtered,)``.
        fraction: Expressed fraction over all spots ``(n_filtered,)``.
        may_be_chosen: Whether the cohort may choose the gene; the others are there for the totals
            that counts are divided by, and for the context ``(n_filtered,)``.
        place: Rows of ``common`` that these genes are ``(n_filtered,)``.
        common: What became of every common gene: ``gene`` (as ``id``), ``source``, ``symbol``,
            ``fraction_min``, ``fraction``, ``total`` (counts), ``gene_length`` (NaN where none is
            known) and ``fate``: ``passed``, ``limits`` or ``narrow`` (see `GeneFilter`),
            ``no_length`` or ``ambiguous`` (see `with_length`).
        missing: How many genes the filter kept that then left.
        ambiguous: How many of them because it is not clear which gene they are.
    """

    id: NDArray[np.str_]
    source: NDArray[np.str_]
    symbol: NDArray[np.str_]
    lengths: NDArray[np.float64]
    fraction_min: NDArray[np.float64]
    fraction: NDArray[np.float64]
    may_be_chosen: NDArray[np.bool_]
    place: NDArray[np.intp]
    common: pd.DataFrame
    missing: int
    ambiguous: int

    def table(self, genes: NDArray[np.intp], moran: NDArray[np.float64]) -> pd.DataFrame:
        """Return what is known of some of the genes, one row each, index their names.

        Args:
            genes: Positions of the genes ``(n_chosen,)``.
            moran: Of all filtered genes ``(n_filtered,)``.
        """
        return pd.DataFrame(
            {
                "symbol": self.symbol[genes].astype(object),
                "moran": moran[genes],
                "fraction_min": self.fraction_min[genes],
                "fraction": self.fraction[genes],
                "gene_length": self.lengths[genes],
            },
            index=pd.Index(self.id[genes].astype(object)),
        )


def counts_of(adata: AnnData, genes: NDArray[np.str_] | pd.Index) -> sparse.csr_matrix:
    """Return a slide's counts of some genes ``(n_spots, n_genes)``, zero for those it lacks.

    Args:
        adata: See the schema ``slide``.
        genes: Their names ``(n_genes,)``.
    """
    place = adata.var_names.get_indexer(genes)
    held = np.flatnonzero(place >= 0)
    counts = sparse.csr_matrix(adata.X)[:, place[held]]
    shape = counts.shape[0], place.size
    return sparse.csr_matrix((counts.data, held[counts.indices], counts.indptr), shape=shape)


def count_slides(
    loaders: Mapping[str, Callable[[], AnnData]],
    choosers: Collection[str],
    limits: tuple[float, float],
) -> tuple[CommonGenes, dict[str, Tally]]:
    """Count every slide over the genes that all choosers have.

    Args:
        loaders: By slide, a function that loads it (schema ``slide``).
        choosers: The slides that may choose genes. Some tables have no column for a gene without
            a count, so the columns of the other slides choose nothing either: a gene that such a
            slide lacks counts zero there.
        limits: A spot is kept when its total lies strictly between the two.

    Raises:
        InputError: When the slides share no gene, or a slide names a gene twice.
    """
    symbols = pd.Series(dtype=str)
    counted: dict[str, tuple[int, Tally]] = {}
    for slide in sorted(loaders, key=lambda name: name not in choosers):
        adata = loaders[slide]()
        _refuse_doubles(adata, slide)
        if not counted:
            symbols = adata.var["symbol"]
        shared = symbols[symbols.index.isin(adata.var_names)]
        if shared.empty:
            named = ", ".join([*counted, slide])
            msg = f"the slides {named} share no gene; are they of one organism?"
            raise InputError(msg)
        if slide in choosers:
            symbols = shared
        # Only a slide whose genes turn out to be more than the common ones is counted again.
        counted[slide] = len(symbols), tally(counts_of(adata, symbols.index), limits)
    for slide, (size, _) in counted.items():
        if size != len(symbols):
            counts = counts_of(loaders[slide](), symbols.index)
            counted[slide] = len(symbols), tally(counts, limits)
    genes = CommonGenes(np.asarray(symbols.index, np.str_), np.asarray(symbols, np.str_))
    return genes, {slide: counted[slide][1] for slide in loaders}


def _refuse_doubles(adata: AnnData, slide: str) -> None:
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()][0]
        msg = f"slide {slide}: the gene {twice!r} comes more than once; names must be unique"
        raise InputError(msg)


def with_length(
    genes: CommonGenes,
    kept: GeneFilter,
    gene_lengths: pd.DataFrame | None,
    *,
    lengths_needed: bool = True,
) -> FilteredGenes:
    """Return the genes that the filter keeps, by Ensembl id and with their lengths.

    A gene leaves, and is logged, with the fate ``no_length`` when the annotation does not know it,
    and ``ambiguous`` when its symbol names several genes there, or when another gene of the filter
    turns out to have the same id and more counts (equal counts: the first by name stays; a named
    gene stays before one that is not).

    Args:
        genes: Genes of the cohort.
        kept: Which of them the filter keeps.
        gene_lengths: Columns ``gene_id``, ``symbol``, ``length``; None when no length is needed
            and there is no annotation to map symbols by.
        lengths_needed: Whether counts are divided by lengths. If not, every length is 1 and a
            gene leaves only when another has the same id.

    Raises:
        InputError: When lengths are needed and there are none, none of these genes has one, or
            fewer than two named genes remain.
    """
    _check_annotation(genes, kept, gene_lengths, lengths_needed=lengths_needed)
    known = annotate(genes.source.tolist(), genes.symbol.tolist(), gene_lengths)
    fate = np.select([kept.limits, kept.narrow], ["limits", "narrow"], "passed").astype(object)
    if lengths_needed:
        fate[kept.kept & np.isnan(known.length)] = "no_length"
        fate[kept.kept & known.ambiguous] = "ambiguous"
    fate[_second_of_one_id(genes, known, kept, np.flatnonzero(fate == "passed"))] = "ambiguous"
    common = _common(genes, known, kept, fate)
    place = np.flatnonzero(fate == "passed")
    _refuse_none(genes, kept, place)
    _report_lost(common)
    return FilteredGenes(
        id=known.id[place],
        source=genes.source[place],
        symbol=genes.symbol[place],
        lengths=known.length[place] if lengths_needed else np.ones(place.size),
        fraction_min=kept.fraction_min[place],
        fraction=kept.fraction[place],
        may_be_chosen=np.ones(place.size, bool) if kept.named is None else kept.named[place],
        place=place,
        common=common,
        missing=int(kept.kept.sum()) - place.size,
        ambiguous=int((fate == "ambiguous").sum()),
    )


def _check_annotation(
    genes: CommonGenes,
    kept: GeneFilter,
    gene_lengths: pd.DataFrame | None,
    *,
    lengths_needed: bool,
) -> None:
    if gene_lengths is not None:
        return
    if lengths_needed:
        msg = (
            "TPM divides counts by gene lengths and there are none: give the table of gene lengths "
            "of the cohort's organism, or set processing.normalisation to cpm"
        )
        raise InputError(msg)
    symbols = [name for name in genes.source[kept.kept].tolist() if not is_ensembl_id(name)]
    if symbols:
        logger.warning(
            "%d of %d filtered genes have no Ensembl id (first: %s) and keep their names: there is "
            "no table of gene lengths of the cohort's organism to map them by",
            *(len(symbols), int(kept.kept.sum()), symbols[0]),
        )


def _refuse_none(genes: CommonGenes, kept: GeneFilter, place: NDArray[np.intp]) -> None:
    if place.size == 0:
        first = str(genes.source[np.flatnonzero(kept.kept)[0]])
        msg = (
            f"none of {int(kept.kept.sum())} filtered genes has a length (first: {first!r}); is "
            "the table of gene lengths that of the cohort's organism?"
        )
        raise InputError(msg)
    if kept.named is not None and kept.named[place].sum() < FEWEST_NAMED:
        msg = (
            f"{int(kept.named[place].sum())} of the {int(kept.named.sum())} named genes that the "
            f"slides have can be used, {FEWEST_NAMED} are needed: the others have no length or are "
            "ambiguous; name Ensembl ids in gene_file, or set processing.normalisation to cpm"
        )
        raise InputError(msg)


def _second_of_one_id(
    genes: CommonGenes, known: Annotated, kept: GeneFilter, passed: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the places of the genes whose id another passed gene with more counts has too."""
    unnamed = np.zeros(passed.size, bool) if kept.named is None else ~kept.named[passed]
    order = passed[np.lexsort((genes.source[passed], -kept.total[passed], unnamed))]
    return order[pd.Index(known.id[order]).duplicated()]


def _common(
    genes: CommonGenes, known: Annotated, kept: GeneFilter, fate: NDArray[np.object_]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gene": known.id.astype(object),
            "source": genes.source.astype(object),
            "symbol": genes.symbol.astype(object),
            "fraction_min": kept.fraction_min,
            "fraction": kept.fraction,
            "total": kept.total,
            "gene_length": known.length,
            "fate": fate,
        }
    )


def _report_lost(common: pd.DataFrame) -> None:
    lost = common[common["fate"].isin(["no_length", "ambiguous"])]
    if lost.empty:
        return
    unclear = int((lost["fate"] == "ambiguous").sum())
    logger.warning(
        "%d of %d filtered genes are left out: %d have no length, %d are ambiguous (a symbol of "
        "several genes, or one id twice): %s%s",
        len(lost),
        int((common["fate"] == "passed").sum()) + len(lost),
        len(lost) - unclear,
        unclear,
        ", ".join(lost["source"][:5]),
        ", …" if len(lost) > 5 else "",
    )
