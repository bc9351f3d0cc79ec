"""The published SpaRED files: one h5ad holds all slides of a cohort, processed.

Their layout is that of the library ``spared``: obs names are ``<slide>_<barcode>``, layers hold
raw counts and every step of the processing, ``obsm`` may hold the patches. A file may be larger
than memory, so that only the rows of one slide are read at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError, nearest
from spared_benchmark.slides.anndata_file import stored_image
from spared_benchmark.slides.assemble import Parts
from spared_benchmark.slides.files import need_file, one_file, open_hdf5
from spared_benchmark.slides.images import read_image
from spared_benchmark.slides.stored_patches import StoredPatches, read_rows

USUAL_NAME = "adata.h5ad"

_WHAT = "the published cohort"
_PATCHES = "patches_scale_1.0"
_PARTS = ("obs", "var", "layers", "obsm")


@dataclass(frozen=True, eq=False)
class SparedFile:
    """What a file says of its spots and genes; its arrays are read when asked for.

    Attributes:
        path: The file.
        obs: Of all spots; index ``<slide>_<barcode>``.
        var: Of the genes; index Ensembl ids.
        layers: Names of the layers.
        obsm: Names of the arrays of spots.
    """

    path: Path
    obs: pd.DataFrame
    var: pd.DataFrame
    layers: tuple[str, ...]
    obsm: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> SparedFile:
        """Open a file, or the folder that holds it.

        Raises:
            InputError: When it is no such file, or does not say which spot lies on which slide.
        """
        path = spared_path(path)
        with open_hdf5(path, _WHAT) as file:
            for part in _PARTS:
                need_keys(path, "the file", list(file), part)
            try:
                obs, var = (anndata.io.read_elem(file[part]) for part in ("obs", "var"))
            except (KeyError, ValueError, anndata.io.IORegistryError) as error:
                msg = f"{path}: obs and var cannot be read as AnnData's ({error}); download it anew"
                raise InputError(msg) from error
            found = cls(path, obs, var, tuple(file["layers"]), tuple(file["obsm"]))
        need_keys(path, "obs", list(obs), "slide_id", "array_row", "array_col")
        need_keys(path, "layers", found.layers, "counts")
        need_keys(path, "obsm", found.obsm, "spatial")
        return found

    @property
    def slides(self) -> tuple[str, ...]:
        """Names of the slides, in the order of the file."""
        return tuple(dict.fromkeys(self.obs["slide_id"].astype(str)))

    @property
    def symbols(self) -> NDArray[np.str_]:
        """Symbol of each gene, its name where the file has none ``(n_genes,)``."""
        column = self.var.get("gene_symbol", self.var.index)
        return np.asarray(column, dtype=str)

    def by_slide(self, column: str) -> dict[str, str]:
        """Return what a column of ``obs`` says of each slide.

        Raises:
            InputError: When it says several things of one slide.
        """
        pairs = self.obs[["slide_id", column]].astype(str).drop_duplicates()
        twice = pairs["slide_id"][pairs["slide_id"].duplicated()]
        if len(twice):
            slide = twice.iloc[0]
            found = ", ".join(pairs[column][pairs["slide_id"] == slide])
            msg = (
                f"{self.path}: obs[{column!r}]: found {found} on slide {slide}; all spots of a "
                "slide have one value there. Download the file anew"
            )
            raise InputError(msg)
        return dict(zip(pairs["slide_id"], pairs[column], strict=True))

    def rows(self, slide: str) -> NDArray[np.intp]:
        """Return the rows of a slide's spots in tissue, ascending ``(n_spots,)``.

        Raises:
            InputError: When the file has no such slide.
        """
        if slide not in self.slides:
            msg = (
                f"{self.path}: obs['slide_id']: no slide {slide!r}{nearest(slide, self.slides)}; "
                f"the file has {', '.join(self.slides)}. A cohort of the format 'spared' calls its "
                "slides as the file does"
            )
            raise InputError(msg)
        of_slide = self.obs["slide_id"].astype(str).to_numpy() == slide
        if "in_tissue" in self.obs:
            of_slide &= self.obs["in_tissue"].to_numpy(dtype=float) == 1
        return np.flatnonzero(of_slide)

    def barcodes(self, slide: str) -> NDArray[np.str_]:
        """Return the names of a slide's spots without the slide's name ``(n_spots,)``."""
        names = self.obs.index[self.rows(slide)].astype(str)
        return np.asarray([name.removeprefix(f"{slide}_") for name in names], dtype=str)

    def layer(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some rows of a layer, dense ``(n_rows, n_genes)``."""
        return self._rows_of(f"layers/{name}", rows)

    def positions(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return spot centres (x, y) in full-resolution pixels ``(n_rows, 2)``."""
        return np.asarray(self._rows_of("obsm/spatial", rows), dtype=np.float64)[:, :2]

    def library(self, slide: str) -> dict[str, Any]:
        """Return the hires image and the scale factors of a slide, as far as they are there."""
        with open_hdf5(self.path, _WHAT) as file:
            place = file.get(f"uns/spatial/{slide}")
            if not isinstance(place, h5py.Group):
                return {}
            kept = {"scalefactors": place.get("scalefactors"), "hires": place.get("images/hires")}
            there = {key: _content(item) for key, item in kept.items() if item is not None}
        images = {"hires": there["hires"]} if "hires" in there else {}
        return {"images": images, "scalefactors": there.get("scalefactors", {})}

    def patches(self, rows: NDArray[np.intp], diameter: float | None) -> StoredPatches | None:
        """Return where the patches of some spots lie, None when the file has none.

        Args:
            rows: Of the spots.
            diameter: Of a spot, full-resolution pixels: the published window is as wide, cut to a
                whole number and made even.

        Raises:
            InputError: When the rows are no square RGB patches of 8 bit.
        """
        if _PATCHES not in self.obsm or diameter is None:
            return None
        with open_hdf5(self.path, _WHAT) as file:
            shape, kind = file[f"obsm/{_PATCHES}"].shape, file[f"obsm/{_PATCHES}"].dtype
        side = math.isqrt(shape[1] // 3) if len(shape) == 2 else 0
        if not side or shape[1] != side * side * 3 or kind != np.uint8:
            msg = (
                f"{self.path}: obsm[{_PATCHES!r}]: found {kind} {shape}; flattened square RGB "
                "patches of 8 bit are needed, such as uint8 (n_spots, 224 * 224 * 3). Remove them "
                "from the file to cut patches from the stored image"
            )
            raise InputError(msg)
        window = int(diameter) + int(diameter) % 2
        return StoredPatches(self.path, f"obsm/{_PATCHES}", rows, side, window)

    def digest(self, slide: str) -> str:
        """Return a digest of a slide's spots, genes, counts and positions."""
        rows = self.rows(slide)
        names = [*self.barcodes(slide).tolist(), "", *self.var.index.astype(str)]
        digest = hashlib.sha256("\n".join(names).encode())
        for array in (self.layer("counts", rows), self.positions(rows)):
            digest.update(np.ascontiguousarray(array, dtype=np.float64).data)
        return digest.hexdigest()[:16]

    def _rows_of(self, key: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        with open_hdf5(self.path, _WHAT) as file:
            return read_rows(file[key], rows)


def read_spared_slide(
    path: Path, slide: str, image_name: str | None
) -> tuple[Parts, StoredPatches | None]:
    """Read one slide of a published file.

    Args:
        path: The file, or the folder that holds it.
        slide: Its ``slide_id``.
        image_name: ``hires`` for the patches and the image within the file; another name is an
            image in full resolution beside the file, from which patches are then cut; None for no
            image and no patches.

    Raises:
        InputError: When the file has no such slide, or not what a slide needs.
    """
    file = SparedFile.of(path)
    rows = file.rows(slide)
    library = file.library(slide)
    diameter = float(library.get("scalefactors", {}).get("spot_diameter_fullres", 0)) or None
    patches = file.patches(rows, diameter) if image_name == "hires" else None
    image, scale = _image(file, library, image_name, needed=patches is None)
    parts = Parts(
        where=f"{file.path}, slide {slide}",
        counts=sparse.csr_matrix(file.layer("counts", rows)),
        barcodes=file.barcodes(slide),
        features=np.asarray(file.var.index, dtype=str),
        symbols=file.symbols,
        array_row=file.obs["array_row"].to_numpy(dtype=np.int32)[rows],
        array_col=file.obs["array_col"].to_numpy(dtype=np.int32)[rows],
        positions=file.positions(rows),
        spot_diameter_px=diameter,
        image=image,
        image_scale=scale,
        digest=file.digest(slide),
    )
    return parts, patches


def spared_path(path: Path) -> Path:
    """Return the published file at ``path``: itself, or ``adata.h5ad`` in that folder.

    Raises:
        InputError: When there is none, or several others could be it.
    """
    if not path.is_dir():
        return need_file(path, _WHAT)
    usual = path / USUAL_NAME
    if usual.is_file():
        return usual
    return one_file(path, sorted(path.glob("*.h5ad")), "published cohort", USUAL_NAME)


def need_keys(path: Path, place: str, there: Any, *keys: str) -> None:
    """Check that a part of the file has keys.

    Raises:
        InputError: Naming those that are missing and those that are there.
    """
    missing = [key for key in keys if key not in there]
    if missing:
        found = ", ".join(map(str, there)) or "nothing"
        msg = (
            f"{path}: {place}: no {', '.join(map(repr, missing))}; found {found}. A processed file "
            f"of the published collection is needed ({USUAL_NAME}, not adata_raw.h5ad)"
        )
        raise InputError(msg)


def _image(
    file: SparedFile, library: Mapping[str, Any], name: str | None, *, needed: bool
) -> tuple[NDArray[np.uint8] | None, float]:
    if name is None:
        return None, 1.0
    if name != "hires":
        return read_image(need_file(file.path.parent / name, "the image")), 1.0
    if not needed and not library.get("images"):
        return None, 1.0
    return stored_image(library, file.path)


def _content(element: h5py.Dataset | h5py.Group) -> Any:
    return anndata.io.read_elem(element)
