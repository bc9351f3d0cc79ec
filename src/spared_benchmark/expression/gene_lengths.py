"""Lengths of genes: how many base pairs lie in at least one exon of a gene."""

from __future__ import annotations

import gzip
import re
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.expression.annotation import is_ensembl_id, without_version

COLUMNS = ("gene_id", "symbol", "length")

_GZIP = b"\x1f\x8b"
# The published tables hold autosomes, X and Y: mitochondrial genes have no length there.
_NUCLEAR = re.compile(r"^(?:chr)?(?:\d{1,2}|X|Y)$")
_GENE_ID = re.compile(r'\bgene_id "([^"]+)"')
_GENE_NAME = re.compile(r'\bgene_name "([^"]+)"')


def read_lengths(path: Path) -> pd.DataFrame:
    """Read a table of gene lengths (``.tsv`` or ``.tsv.gz``).

    Returns:
        Columns ``gene_id`` (Ensembl id without version), ``symbol`` ("" where none) and
        ``length`` (base pairs), one row per gene id.

    Raises:
        InputError: When it is not such a table, or a length is not a positive number.
    """
    table = _table(path)
    absent = [column for column in COLUMNS if column not in table.columns]
    if absent:
        msg = (
            f"{path.name}: the column {absent[0]!r} is missing; found {', '.join(table.columns)}; "
            f"a table of gene lengths has {', '.join(COLUMNS)}, separated by tabs"
        )
        raise InputError(msg)
    length = pd.to_numeric(table["length"], errors="coerce")
    wrong = np.flatnonzero(~((length > 0) & np.isfinite(length)))
    if wrong.size:
        row = table.iloc[wrong[0]]
        msg = (
            f"{path.name}: gene {row['gene_id']} has length {row['length']!r}; "
            "lengths are positive numbers of base pairs"
        )
        raise InputError(msg)
    if table["gene_id"].isna().any():
        line = int(np.flatnonzero(table["gene_id"].isna())[0]) + 2
        msg = f"{path.name}: line {line} has no gene_id; every row names its gene by its id"
        raise InputError(msg)
    table = table[list(COLUMNS)].assign(
        gene_id=[without_version(gene) for gene in table["gene_id"]],
        symbol=table["symbol"].fillna(""),
        length=length,
    )
    return table.drop_duplicates("gene_id", ignore_index=True)


def _table(path: Path) -> pd.DataFrame:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        return pd.read_csv(
            path,
            sep="\t",
            dtype={"gene_id": str, "symbol": str},
            # A gene may be called NA: only an empty field holds nothing.
            na_values=[""],
            keep_default_na=False,
            compression="gzip" if packed else None,
        )
    except FileNotFoundError as error:
        msg = f"{path} does not exist; a table of gene lengths has {', '.join(COLUMNS)}"
        raise InputError(msg) from error
    except (EOFError, gzip.BadGzipFile, ValueError, zlib.error) as error:
        msg = f"{path.name}: not a whole table of gene lengths ({error}); get or make it again"
        raise InputError(msg) from error


def measure_gtf(path: Path) -> pd.DataFrame:
    """Measure every nuclear gene of a GTF file (plain or gzipped), read line by line.

    Overlapping exons of a gene's transcripts count once. Genes of mitochondria and of unplaced
    scaffolds are left out, as in the published tables; of a gene in both pseudoautosomal regions
    the first copy is taken. Memory grows by 24 bytes for each exon.

    Returns:
        Columns ``gene_id`` (Ensembl id without version), ``symbol`` ("" where the gene has none)
        and ``length`` (base pairs), one row per gene, in the order of the file.

    Raises:
        InputError: When the file holds no exon of a nuclear gene, or is cut off or malformed.
    """
    copies: dict[tuple[str, str], int] = {}
    symbols: list[str] = []
    exons = array("q")
    try:
        for chromosome, start, end, attributes in _nuclear_exons(path):
            gene = _GENE_ID.search(attributes)
            if gene is None:
                continue
            code = copies.setdefault((gene.group(1), chromosome), len(copies))
            if code == len(symbols):
                symbols.append(_symbol(attributes))
            exons.extend((code, int(start), int(end)))
    except (EOFError, gzip.BadGzipFile, ValueError, zlib.error) as error:
        msg = f"{path.name}: not a whole GTF file ({error}); get it again"
        raise InputError(msg) from error
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
            "length": _union_lengths(np.frombuffer(exons, dtype=np.int64).reshape(-1, 3)),
        }
    )
    return table.drop_duplicates("gene_id", ignore_index=True)


def _nuclear_exons(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield chromosome, first and last position and attributes of each exon."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    with gzip.open(path, "rb") if packed else path.open("rb") as lines:
        for line in lines:
            fields = line.split(b"\t", 8)
            if len(fields) < 9 or fields[2] != b"exon":
                continue
            chromosome = fields[0].decode()
            if _NUCLEAR.match(chromosome):
                yield chromosome, fields[3].decode(), fields[4].decode(), fields[8].decode()


def _symbol(attributes: str) -> str:
    name = _GENE_NAME.search(attributes)
    # An annotation repeats the id where a gene has no symbol.
    return name.group(1) if name and not is_ensembl_id(name.group(1)) else ""


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
