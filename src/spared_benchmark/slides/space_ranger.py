"""Folders written by 10x Space Ranger 1.x and 2.x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.slides.assemble import Parts
from spared_benchmark.slides.files import (
    digest_of_files,
    need_file,
    need_folder,
    one_file,
    open_hdf5,
    read_numbers,
    read_text,
)
from spared_benchmark.slides.images import read_image

_COLUMNS = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row", "pxl_col"]
_MATRIX = "filtered_feature_bc_matrix.h5"
_POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv")


def read_space_ranger(path: Path, image_name: str | None) -> Parts:
    """Read a slide's folder.

    It holds ``filtered_feature_bc_matrix.h5`` and ``spatial/`` with ``scalefactors_json.json`` and
    ``tissue_positions.csv`` (2.x, with header) or ``tissue_positions_list.csv`` (1.x, without).
    Spots are those of the matrix that lie in tissue, in the order of the matrix.

    Args:
        path: The folder, which Space Ranger calls ``outs``.
        image_name: ``hires`` for ``spatial/tissue_hires_image.png``; another name is a file below
            ``path`` in full resolution; None for no image.

    Raises:
        InputError: When a file is missing or does not hold what it should.
    """
    matrix, table, factors, image_file = _locate(path, image_name)
    keys = ["spot_diameter_fullres", *(["tissue_hires_scalef"] if image_name == "hires" else [])]
    scales = read_numbers(factors, "the scale factors", keys)
    counts, barcodes, features, symbols = _read_matrix(matrix)
    kept, rows = _matched(barcodes, _read_positions(table), matrix, table)
    files = [matrix, table, factors, *([image_file] if image_file else [])]
    return Parts(
        where=str(path),
        counts=counts[kept],
        barcodes=barcodes[kept],
        features=features,
        symbols=symbols,
        array_row=rows["array_row"].to_numpy(np.int32),
        array_col=rows["array_col"].to_numpy(np.int32),
        positions=rows[["pxl_col", "pxl_row"]].to_numpy(np.float64),
        spot_diameter_px=scales["spot_diameter_fullres"],
        image=read_image(image_file) if image_file else None,
        image_scale=scales.get("tissue_hires_scalef", 1.0),
        digest=digest_of_files(files, path),
    )


def _locate(path: Path, image_name: str | None) -> tuple[Path, Path, Path, Path | None]:
    """Return matrix, table of positions, scale factors and image; reads no content.

    Raises:
        InputError: When one of them is missing or empty.
    """
    need_folder(path, "Space Ranger")
    spatial = path / "spatial"
    matrix = one_file(
        path, sorted(path.glob(f"*{_MATRIX}")), "count matrix", f"{_MATRIX}; is this 'outs'?"
    )
    table = one_file(
        spatial,
        [spatial / name for name in _POSITIONS if (spatial / name).exists()],
        "table of positions",
        " or ".join(_POSITIONS),
    )
    factors = need_file(spatial / "scalefactors_json.json", "the file of scale factors")
    if image_name is None:
        return matrix, table, factors, None
    image = spatial / "tissue_hires_image.png" if image_name == "hires" else path / image_name
    return matrix, table, factors, need_file(image, "the image")


def _read_matrix(
    path: Path,
) -> tuple[sparse.csr_matrix, NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]]:
    """Return counts of genes ``(n_barcodes, n_genes)``, barcodes, gene ids and symbols."""
    with open_hdf5(path, "the count matrix") as file:
        barcodes = _dataset(file, "matrix/barcodes", path).astype(str)
        ids = _dataset(file, "matrix/features/id", path).astype(str)
        symbols = _dataset(file, "matrix/features/name", path).astype(str)
        kinds = _dataset(file, "matrix/features/feature_type", path).astype(str)
        data = _dataset(file, "matrix/data", path)
        indices = _dataset(file, "matrix/indices", path)
        indptr = _dataset(file, "matrix/indptr", path)
        shape = tuple(_dataset(file, "matrix/shape", path).tolist())
    if shape != (len(ids), len(barcodes)) or len(indptr) != len(barcodes) + 1:
        msg = (
            f"{path}: 'matrix/shape' says {shape}; with {len(ids)} features and {len(barcodes)} "
            f"barcodes it must be {(len(ids), len(barcodes))}, with {len(barcodes) + 1} column "
            f"pointers (found {len(indptr)}). Was the matrix transposed or cut?"
        )
        raise InputError(msg)
    within = not len(indices) or 0 <= indices.min() <= indices.max() < len(ids)
    if not (indptr[0] == 0 and (np.diff(indptr) >= 0).all() and indptr[-1] == len(data)) or not (
        within and len(indices) == len(data)
    ):
        msg = f"{path}: the matrix' indices do not fit its shape {shape}; copy the file again"
        raise InputError(msg)
    counts = sparse.csr_matrix((data, indices, indptr), shape=(len(barcodes), len(ids)))
    genes = kinds == "Gene Expression"
    if not genes.any():
        found = ", ".join(sorted(set(kinds.tolist())))
        msg = f"{path}: no feature of type 'Gene Expression'; found {found or 'no feature'}"
        raise InputError(msg)
    return (
        counts if genes.all() else counts[:, np.flatnonzero(genes)],
        barcodes,
        ids[genes],
        symbols[genes],
    )


def _dataset(file: h5py.File, name: str, path: Path) -> NDArray[Any]:
    """Return a dataset that lies in the file itself."""
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        msg = (
            f"{path}: no dataset {name!r}; the file holds {', '.join(file) or 'nothing'}. "
            "The matrix of Space Ranger 1.0 and later is needed"
        )
        raise InputError(msg)
    if found.file.filename != file.filename or found.external or found.is_virtual:
        msg = f"{path}: {name!r} points to another file; only data within the file are read"
        raise InputError(msg)
    values: NDArray[Any] = found.asstr()[:] if found.dtype.kind in "SO" else found[:]
    return values


def _read_positions(path: Path) -> pd.DataFrame:
    """Return the table of positions, indexed by barcode."""
    text = read_text(path, "the table of positions")
    header = text.readline().lower().replace('"', "").startswith("barcode")
    if not header:
        text.seek(0)
    try:
        table = pd.read_csv(text, header=None)
    except pd.errors.ParserError as error:
        msg = f"{path}: is no table of comma-separated values ({error})"
        raise InputError(msg) from error
    if table.shape[1] != len(_COLUMNS):
        msg = f"{path}: found {table.shape[1]} columns; the 6 are {', '.join(_COLUMNS)}"
        raise InputError(msg)
    table.columns = pd.Index(_COLUMNS)
    numbers = table[_COLUMNS[1:]].apply(pd.to_numeric, errors="coerce")
    if numbers.isna().to_numpy().any():
        line = int(np.flatnonzero(numbers.isna().any(axis=1))[0])
        found = ",".join(map(str, table.iloc[line].tolist()))
        msg = f"{path}: line {line + 1 + header}: {found!r}; after the barcode come five numbers"
        raise InputError(msg)
    table[_COLUMNS[1:]] = numbers
    names = table["barcode"].astype(str)
    if names.duplicated().any():
        twice = names[names.duplicated()].iloc[0]
        msg = f"{path}: barcode {twice!r} occurs more than once; each has one line"
        raise InputError(msg)
    return table.set_index(names)


def _matched(
    barcodes: NDArray[np.str_], positions: pd.DataFrame, matrix: Path, table: Path
) -> tuple[NDArray[np.intp], pd.DataFrame]:
    """Return which rows of the matrix lie in tissue, and their positions."""
    slot = positions.index.get_indexer(pd.Index(barcodes))
    if (slot < 0).all():
        theirs, ours = positions.index[0], barcodes[0]
        bare = set(positions.index.str.partition("-").get_level_values(0))
        same = barcodes.size and ours.partition("-")[0] in bare
        cause = "they differ by their suffix" if same else "the files are of two slides"
        msg = (
            f"{matrix}: none of its {len(barcodes)} barcodes is in {table.name} "
            f"(first: {ours!r} there, {theirs!r} here); {cause}. Take both from one slide's output"
        )
        raise InputError(msg)
    if (slot < 0).any():
        lost = barcodes[slot < 0]
        msg = (
            f"{matrix}: {len(lost)} of its {len(barcodes)} barcodes are not in {table.name} "
            f"(first: {lost[0]!r}); all must be. Take both from one slide's output"
        )
        raise InputError(msg)
    found = positions.iloc[slot]
    kept = np.flatnonzero(found["in_tissue"].to_numpy() == 1)
    if not kept.size:
        msg = f"{table}: 'in_tissue' is 1 for no spot of the matrix; some must lie in tissue"
        raise InputError(msg)
    return kept, found.iloc[kept]
