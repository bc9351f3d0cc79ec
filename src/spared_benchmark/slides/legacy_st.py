"""Tables of the Spatial Transcriptomics arrays that came before Visium."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

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
    read_text,
)
from spared_benchmark.slides.images import SUFFIXES, read_image

_SPOT = re.compile(r"^\d+x\d+$")
_TABLE = (".tsv", ".tsv.gz")
_SELECTION = re.compile(r"selection|alignment", re.IGNORECASE)
_NEEDED = ("x", "y", "pixel_x", "pixel_y")


def read_legacy_st(path: Path, image_name: str | None) -> Parts:
    """Read a slide's folder: a table of counts, a table of selected spots, an image.

    Counts: ``*.tsv`` or ``*.tsv.gz``, one row per spot named ``{x}x{y}``, one column per gene.
    Selection: a table with ``selection`` or ``alignment`` in its name and the columns ``x``, ``y``,
    ``pixel_x``, ``pixel_y`` and ``selected``. Spots are the selected ones that have counts, in
    the order of the counts; the array's row is ``y``, its column ``x``.

    Args:
        path: The folder.
        image_name: A file below ``path``; ``hires`` for the only image there; None for no image.

    Raises:
        InputError: When a file is missing or does not hold what it should.
    """
    counts_file, selection, image_file = _locate(path, image_name)
    counts, barcodes, genes = _read_counts(counts_file)
    spots = _read_selection(selection)
    slot = spots.index.get_indexer(pd.Index(barcodes))
    kept = np.flatnonzero(slot >= 0)
    if not kept.size:
        msg = (
            f"{counts_file}: none of its {len(barcodes)} spots (first: {barcodes[0]!r}) is "
            f"selected in {selection.name} (first: {spots.index[0]!r}); take both of one slide"
        )
        raise InputError(msg)
    rows = spots.iloc[slot[kept]]
    files = [counts_file, selection, *([image_file] if image_file else [])]
    return Parts(
        where=str(path),
        counts=counts[kept],
        barcodes=barcodes[kept],
        features=genes,
        symbols=genes,
        array_row=rows["y"].to_numpy(np.int32),
        array_col=rows["x"].to_numpy(np.int32),
        positions=rows[["pixel_x", "pixel_y"]].to_numpy(np.float64),
        spot_diameter_px=None,
        image=read_image(image_file) if image_file else None,
        image_scale=1.0,
        digest=digest_of_files(files, path),
    )


def _locate(path: Path, image_name: str | None) -> tuple[Path, Path, Path | None]:
    """Return the table of counts, that of selected spots, and the image; reads no content.

    Raises:
        InputError: When one of them is missing or empty, or several files could be it.
    """
    need_folder(path, "legacy Spatial Transcriptomics")
    tables = [file for file in sorted(path.iterdir()) if file.name.endswith(_TABLE)]
    selections = [file for file in tables if _SELECTION.search(file.name)]
    counts_files = [file for file in tables if file not in selections]
    selection = one_file(
        path, selections, "table of selected spots", "*_selection.tsv or alignment_table_*.tsv"
    )
    counts_file = one_file(path, counts_files, "table of counts", "*.tsv or *.tsv.gz")
    return counts_file, selection, _image_file(path, image_name)


def _read_counts(path: Path) -> tuple[sparse.csr_matrix, NDArray[np.str_], NDArray[np.str_]]:
    """Return counts ``(n_spots, n_genes)``, names of spots and of genes."""
    header, *lines = read_text(path, "the table of counts").read().splitlines() or [""]
    cut = [line.partition("\t") for line in lines if line]
    spots = [name.strip('"') for name, _, _ in cut]
    columns = [name.strip('"') for name in header.split("\t")]
    fields = cut[0][2].count("\t") + 1 if cut else 0
    # R writes no name above the row names, other programs an empty one.
    genes = columns[1:] if len(columns) == fields + 1 else columns
    _check_names(spots, genes, path)
    if len(genes) != fields:
        msg = f"{path}: {len(genes)} genes in the header, but {fields} values in the first row"
        raise InputError(msg)
    try:
        values = np.loadtxt([rest for _, _, rest in cut], delimiter="\t", ndmin=2)
    except ValueError as error:
        msg = f"{path}: a value is no number, or a row is too short ({error}); counts are needed"
        raise InputError(msg) from error
    return sparse.csr_matrix(values), np.array(spots), np.array(genes)


def _check_names(spots: list[str], genes: list[str], path: Path) -> None:
    if spots and _all_spots(spots):
        return
    if genes and _all_spots(genes):
        msg = (
            f"{path}: the table is transposed: its columns are spots ({genes[0]!r}, …); "
            "rows must be spots and columns genes"
        )
        raise InputError(msg)
    strange = next((name for name in spots if not _SPOT.match(name)), "no row")
    msg = (
        f"{path}: rows must be spots named by array coordinates like '10x14'; found {strange!r}. "
        "Is this the table of counts, tab-separated with a header of genes?"
    )
    raise InputError(msg)


def _all_spots(names: Iterable[str]) -> bool:
    return all(map(_SPOT.match, names))


def _read_selection(path: Path) -> pd.DataFrame:
    """Return the selected spots, indexed by ``{x}x{y}``."""
    try:
        table = pd.read_csv(read_text(path, "the table of selected spots"), sep="\t")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        msg = f"{path}: is no tab-separated table ({error})"
        raise InputError(msg) from error
    missing = [name for name in (*_NEEDED, "selected") if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        msg = f"{path}: no column {', '.join(missing)}; found {found}"
        raise InputError(msg)
    numbers = table[[*_NEEDED, "selected"]].apply(pd.to_numeric, errors="coerce")
    chosen = numbers[numbers["selected"] == 1]
    whole = (chosen[["x", "y"]] % 1 == 0).all(axis=1) & chosen.notna().all(axis=1)
    if chosen.empty or not whole.all():
        line = 2 + int(chosen.index[~whole][0]) if len(chosen) else None
        found = f"line {line} has no whole x and y or no pixel position" if line else "none"
        msg = f"{path}: rows with selected = 1 are needed, each with x, y and pixels; found {found}"
        raise InputError(msg)
    chosen = chosen.astype({"x": np.int32, "y": np.int32})
    names = chosen["x"].astype(str) + "x" + chosen["y"].astype(str)
    if names.duplicated().any():
        twice = names[names.duplicated()].iloc[0]
        msg = f"{path}: spot {twice!r} is selected more than once; each has one line"
        raise InputError(msg)
    spots: pd.DataFrame = chosen.set_index(names)
    return spots


def _image_file(path: Path, image_name: str | None) -> Path | None:
    if image_name is None:
        return None
    if image_name != "hires":
        return need_file(path / image_name, "the image")
    images = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
    return one_file(
        path, images, "image", "*.jpg, *.png or *.tif; 'image: null' when there is none"
    )
