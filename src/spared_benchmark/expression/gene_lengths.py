"""Lengths of genes: the summed length of the union of a gene's exons, in base pairs."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.errors import InputError

COLUMNS = ("gene_id", "symbol", "length")

_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{6,})(?:\.\d+)?(?:_PAR_Y)?$")
# The published tables hold autosomes, X and Y: mitochondrial genes have no length there.
_NUCLEAR = re.compile(r"^(?:chr)?(?:\d{1,2}|X|Y)$")
_GENE_ID = re.compile(r'\bgene_id "([^"]+)"')
_GENE_NAME = re.compile(r'\bgene_name "([^"]+)"')


@dataclass(frozen=True)
class GeneLengths:
    """Lengths of the genes asked for.

    Attributes:
        values: Length, base pairs; NaN where none is known ``(n_genes,)``.
        missing: Genes without a length, the ambiguous ones too.
        ambiguous: Symbols that name several genes of the table.
    """

    values: NDArray[np.float64]
    missing: tuple[str, ...]
    ambiguous: tuple[str, ...]


def read_lengths(path: Path) -> pd.DataFrame:
    """Read a table of gene lengths (``.tsv`` or ``.tsv.gz``).

    Returns:
        Columns ``gene_id`` (Ensembl id without version), ``symbol`` ("" where none) and
        ``length`` (base pairs), one row per gene id.

    Raises:
        InputError: When a column is missing or a length is not a positive number.
    """
    table = pd.read_csv(path, sep="\t", dtype={"gene_id": str, "symbol": str}, na_values=[""],
                        keep_default_na=False)  # fmt: skip
    absent = [column for column in COLUMNS if column not in table.columns]
    if absent:
        msg = (
            f"{path.name}: the column {absent[0]!r} is missing; found {', '.join(table.columns)}; "
            f"a table of gene lengths has {', '.join(COLUMNS)}, separated by tabs"
        )
        raise InputError(msg)
    length = pd.to_numeric(table["length"], errors="coerce")
    wrong = np.flatnonzero(~(length > 0))
    if wrong.size:
        row = table.iloc[wrong[0]]
        msg = (
            f"{path.name}: gene {row['gene_id']} has length {row['length']!r}; "
            "lengths are positive numbers of base pairs"
        )
        raise InputError(msg)
    table = table[list(COLUMNS)].assign(
        gene_id=[without_version(gene) for gene in table["gene_id"]],
        symbol=table["symbol"].fillna(""),
        length=length,
    )
    return table.drop_duplicates("gene_id", ignore_index=True)


def without_version(gene: str) -> str:
    """Return an Ensembl gene id without its version; any other name comes back unchanged."""
    match = _ENSEMBL.match(gene)
    return match.group(1) if match else gene


def lengths_of(
    genes: Sequence[str], symbols: Sequence[str] | None, table: pd.DataFrame
) -> GeneLengths:
    """Look up the lengths of genes.

    A gene is found by its id without version. One that is not an Ensembl id (the source has
    nothing but symbols) is found by its symbol, unless that names several genes of the table.

    Args:
        genes: Names as in ``var_names``: Ensembl ids, or symbols.
        symbols: Their symbols; the names themselves when not given.
        table: Columns ``gene_id``, ``symbol``, ``length``.
    """
    names = pd.Series([without_version(gene) for gene in genes], dtype=object)
    by_id = table.drop_duplicates("gene_id").set_index("gene_id")["length"]
    named = table[table["symbol"] != ""]
    double = named["symbol"].duplicated(keep=False)
    by_symbol = named[~double].set_index("symbol")["length"]
    several = frozenset(named.loc[double, "symbol"])
    lengths = names.map(by_id).to_numpy(np.float64, copy=True)
    symbol = pd.Series(list(genes if symbols is None else symbols), dtype=object)
    by_name = np.isnan(lengths) & ~names.str.match(_ENSEMBL).to_numpy(bool)
    lengths[by_name] = symbol[by_name].map(by_symbol).to_numpy(np.float64)
    missing = [int(place) for place in np.flatnonzero(np.isnan(lengths))]
    unclear = [place for place in missing if by_name[place] and symbol[place] in several]
    return GeneLengths(
        values=lengths,
        missing=tuple(str(genes[place]) for place in missing),
        ambiguous=tuple(str(genes[place]) for place in unclear),
    )


def measure_gtf(path: Path) -> pd.DataFrame:
    """Measure every nuclear gene of a GTF file (``.gtf`` or ``.gtf.gz``), read line by line.

    Overlapping exons of a gene's transcripts count once. Genes of mitochondria and of unplaced
    scaffolds are left out, as in the published tables; of a gene in both pseudoautosomal regions
    the first copy is taken.

    Returns:
        Columns ``gene_id``, ``symbol``, ``length``, in the order of the file.

    Raises:
        InputError: When the file holds no exon of a nuclear gene.
    """
    copies: dict[tuple[str, str], int] = {}
    symbols: list[str] = []
    exons: list[tuple[int, int, int]] = []
    for fields in _nuclear_exons(path):
        gene = _GENE_ID.search(fields[8])
        if gene is None:
            continue
        code = copies.setdefault((gene.group(1), fields[0]), len(copies))
        if code == len(symbols):
            name = _GENE_NAME.search(fields[8])
            symbols.append(name.group(1) if name else "")
        exons.append((code, int(fields[3]), int(fields[4])))
    if not exons:
        msg = (
            f"{path.name}: no exon of a nuclear gene was found; a GTF file has tab-separated "
            'lines with the feature "exon" and the attribute gene_id on chromosomes 1…, X, Y'
        )
        raise InputError(msg)
    table = pd.DataFrame(
        {
            "gene_id": [without_version(gene) for gene, _ in copies],
            "symbol": symbols,
            "length": _union_lengths(np.array(exons, dtype=np.int64)),
        }
    )
    return table.drop_duplicates("gene_id", ignore_index=True)


def _nuclear_exons(path: Path) -> Iterator[list[str]]:
    packed = path.suffix == ".gz"
    with gzip.open(path, "rb") if packed else path.open("rb") as lines:
        for line in lines:
            fields = line.decode().split("\t", 8)
            if len(fields) == 9 and fields[2] == "exon" and _NUCLEAR.match(fields[0]):
                yield fields


def _union_lengths(exons: NDArray[np.int64]) -> NDArray[np.int64]:
    # One running maximum serves all genes: each gene's positions are moved beyond the last of
    # the gene before it.
    code, start, end = exons[np.lexsort((exons[:, 1], exons[:, 0]))].T
    offset = code * (int(end.max()) + 2)
    covered = np.maximum.accumulate(end + offset)
    before = np.concatenate([[-1], covered[:-1]])
    fresh = end + offset - np.maximum(start + offset - 1, before)
    genes = int(code.max()) + 1
    return np.bincount(code, weights=np.maximum(fresh, 0), minlength=genes).astype(np.int64)
