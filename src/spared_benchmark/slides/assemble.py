"""From the parts of a slide to one checked `RawSlide`, whatever format they came in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.slides.scale import pitch_in_pixels
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import DIAMETER_SHARE, Cohort, Lattice

_VERSIONED = re.compile(r"^(ENS[A-Z]*\d+)\.\d+$")
_ALLOWED_OUTSIDE = 0.01


@dataclass(frozen=True)
class Parts:
    """What a reader found; rows of everything are the same spots in the same order.

    Attributes:
        where: Folder or file that errors name.
        counts: ``(n_spots, n_features)``, any number type.
        barcodes: ``(n_spots,)``.
        features: Ids, or symbols where the source has nothing else, ``(n_features,)``.
        symbols: ``(n_features,)``.
        array_row: ``(n_spots,)``.
        array_col: ``(n_spots,)``.
        positions: Centres (x, y) in full-resolution pixels, ``(n_spots, 2)``.
        spot_diameter_px: Full-resolution pixels; None: taken from the pitch.
        image: RGB uint8 or None.
        image_scale: Image pixels per full-resolution pixel.
        digest: Of all files that were read.
    """

    where: str
    counts: sparse.csr_matrix
    barcodes: NDArray[np.str_]
    features: NDArray[np.str_]
    symbols: NDArray[np.str_]
    array_row: NDArray[np.integer]
    array_col: NDArray[np.integer]
    positions: NDArray[np.float64]
    spot_diameter_px: float | None
    image: NDArray[np.uint8] | None
    image_scale: float
    digest: str


def assemble(parts: Parts, cohort: Cohort, code: str, slide: str) -> RawSlide:
    """Check the parts and join them.

    Raises:
        InputError: For the first thing that cannot be right.
    """
    counts = checked_counts(parts.counts, parts.where)
    _check_unique(parts.barcodes, parts.where)
    _check_lattice(parts.array_row, parts.array_col, cohort.lattice, parts.where)
    if not np.isfinite(parts.positions).all():
        msg = f"{parts.where}: pixel positions hold NaN or infinite values; all must be numbers"
        raise InputError(msg)
    pitch = pitch_in_pixels(
        parts.array_row, parts.array_col, parts.positions, cohort.lattice, parts.where
    )
    if parts.image is not None:
        _check_inside(parts.positions * parts.image_scale, parts.image.shape, parts.where)
    counts, features, symbols = _one_column_per_gene(counts, parts.features, parts.symbols)
    adata = AnnData(
        X=counts,
        obs=pd.DataFrame(
            {
                "array_row": np.asarray(parts.array_row, dtype=np.int32),
                "array_col": np.asarray(parts.array_col, dtype=np.int32),
            },
            index=pd.Index(parts.barcodes.astype(str)),
        ),
        var=pd.DataFrame({"symbol": symbols}, index=pd.Index(features)),
        obsm={"spatial": np.ascontiguousarray(parts.positions, dtype=np.float64)},
    )
    diameter = parts.spot_diameter_px or DIAMETER_SHARE[cohort.lattice] * pitch
    adata.uns["slide"] = facts_of(cohort, code, slide) | {
        "spot_diameter_px": float(diameter),
        "um_per_px": cohort.pitch / pitch,
        "source_digest": parts.digest,
        "image": parts.image is not None,
    }
    if parts.image is None:
        return RawSlide(stamp(adata, "slide"), None)
    adata.uns["slide"]["image_scale"] = parts.image_scale
    return RawSlide(stamp(adata, "slide"), parts.image, parts.image_scale)


def facts_of(cohort: Cohort, code: str, slide: str) -> dict[str, Any]:
    """Return what ``uns["slide"]`` takes from the cohort's definition."""
    return {
        "cohort": code,
        "slide": slide,
        "subject": cohort.slides[slide].subject,
        "organism": cohort.organism,
        "tissue": cohort.tissue,
        "lattice": cohort.lattice,
        "pitch_um": cohort.pitch,
        "licence": cohort.licence,
    }


def checked_counts(counts: sparse.csr_matrix, where: str) -> sparse.csr_matrix:
    """Return raw counts as canonical CSR int32.

    Raises:
        InputError: When a value is negative, not whole, not finite or too large, or all are zero.
    """
    values = np.asarray(counts.data)
    if not counts.shape[0] or not counts.shape[1] or not values.any():
        found = f"{counts.shape[0]} spots, {counts.shape[1]} genes and no molecule"
        msg = f"{where}: counts: found {found}; at least one count above 0 is needed"
        raise InputError(msg)
    if values.dtype.kind not in "iufb":
        msg = f"{where}: counts: values are {values.dtype}; whole numbers are needed"
        raise InputError(msg)
    wrong = {
        "is not finite": ~np.isfinite(values),
        "is negative": values < 0,
        "is not a whole number (normalised or log values?)": np.mod(values, 1) != 0,
        "does not fit into 32 bit": values > np.iinfo(np.int32).max,
    }
    for problem, flags in wrong.items():
        if flags.any():
            msg = (
                f"{where}: counts: {values[flags][0]} {problem}; {int(flags.sum())} of "
                f"{values.size} stored values are like that. Raw counts are needed: whole numbers "
                "of 0 and more, as the sequencing pipeline wrote them"
            )
            raise InputError(msg)
    result = sparse.csr_matrix(
        (values.astype(np.int32), counts.indices, counts.indptr), shape=counts.shape
    )
    result.sum_duplicates()
    result.eliminate_zeros()
    return result


def _check_unique(barcodes: NDArray[np.str_], where: str) -> None:
    names = pd.Index(barcodes)
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        msg = (
            f"{where}: {len(twice)} barcodes occur more than once (first: {twice[0]!r}); each "
            "spot of a slide has one row. Were two slides joined? Give each its own folder"
        )
        raise InputError(msg)


def _check_lattice(
    array_row: NDArray[np.integer], array_col: NDArray[np.integer], lattice: Lattice, where: str
) -> None:
    odd = (np.asarray(array_row) + np.asarray(array_col)) % 2 != 0
    if lattice == "hexagonal" and odd.any():
        first = int(np.flatnonzero(odd)[0])
        msg = (
            f"{where}: array coordinates: row + column is odd for {int(odd.sum())} of {odd.size} "
            f"spots (first: row {array_row[first]}, column {array_col[first]}); on a hexagonal "
            "lattice it is even. Check the cohort's 'lattice' (square? diamond?) and the position "
            "file"
        )
        raise InputError(msg)
    if lattice == "diamond" and odd.any() and not odd.all():
        msg = (
            f"{where}: array coordinates: row + column is odd for {int(odd.sum())} of {odd.size} "
            "spots; on a diamond lattice it is odd for all or for none. Check the cohort's "
            "'lattice' (square?)"
        )
        raise InputError(msg)
    places = pd.MultiIndex.from_arrays([array_row, array_col])
    if not places.is_unique:
        row, col = places[places.duplicated()][0]
        msg = (
            f"{where}: array coordinates: row {row}, column {col} is taken by more than one spot; "
            "each place of the lattice holds one"
        )
        raise InputError(msg)


def _check_inside(centres: NDArray[np.float64], shape: tuple[int, ...], where: str) -> None:
    height, width = shape[:2]
    outside = _share_outside(centres, width, height)
    if outside <= _ALLOWED_OUTSIDE:
        return
    swapped = _share_outside(centres, height, width) <= _ALLOWED_OUTSIDE
    guess = (
        "x and y, or rows and columns, look swapped"
        if swapped
        else "the image may be another slide's, or of another resolution than the positions"
    )
    low, high = centres.min(axis=0), centres.max(axis=0)
    msg = (
        f"{where}: {outside:.1%} of the {len(centres)} spot centres lie outside the image "
        f"({width} x {height} px; centres x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to "
        f"{high[1]:.0f}); at most {_ALLOWED_OUTSIDE:.0%} may. Check the image and its scale: "
        f"{guess}"
    )
    raise InputError(msg)


def _share_outside(centres: NDArray[np.float64], width: int, height: int) -> float:
    inside = (centres >= 0).all(axis=1) & (centres < [width, height]).all(axis=1)
    return float(1 - inside.mean())


def _one_column_per_gene(
    counts: sparse.csr_matrix, features: NDArray[np.str_], symbols: NDArray[np.str_]
) -> tuple[sparse.csr_matrix, NDArray[np.object_], NDArray[np.object_]]:
    """Return counts, ids without version and symbols; columns of one gene are summed."""
    column, names = pd.factorize(_without_version(features))
    labels = _without_version(symbols)
    names = np.asarray(names, dtype=object)
    if len(names) == len(column):
        return counts, names, labels
    first = np.unique(column, return_index=True)[1]
    collect = sparse.csr_matrix(
        (np.ones(len(column), dtype=np.int32), (np.arange(len(column)), column)),
        shape=(len(column), len(names)),
    )
    summed = sparse.csr_matrix(counts @ collect, dtype=np.int32)
    summed.sort_indices()
    return summed, names, labels[first]


def _without_version(names: NDArray[np.str_]) -> NDArray[np.object_]:
    """Return ``ENSG00000000003`` for ``ENSG00000000003.14``; other names stay (``FO538757.1``)."""
    plain = pd.Series(names.astype(str)).str.replace(_VERSIONED, r"\1", regex=True)
    return plain.to_numpy(dtype=object)
