"""Slides that come as one h5ad file, in the layout of scanpy's Visium reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.slides.assemble import Parts
from spared_benchmark.slides.files import digest_of_files, need_file, one_file, open_hdf5
from spared_benchmark.slides.images import read_image

_SYMBOLS = ("symbol", "gene_symbols", "gene_name", "feature_name")


def read_anndata_file(path: Path, image_name: str | None) -> Parts:
    """Read an h5ad file.

    Raw counts lie in ``layers["counts"]``, else in ``X``; ``obs`` has ``array_row`` and
    ``array_col`` (and may have ``in_tissue``); ``obsm["spatial"]`` holds full-resolution pixels;
    ``uns["spatial"][<library>]`` may hold ``images`` and ``scalefactors``.

    Args:
        path: The file, or the folder that holds it and no other h5ad.
        image_name: ``hires`` for the image within the file; another name is a file beside it in
            full resolution; None for no image.

    Raises:
        InputError: When the file does not hold what it should.
    """
    path, image_file = _locate(path, image_name)
    with open_hdf5(path, "the slide"):
        pass
    try:
        adata = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, anndata.io.IORegistryError) as error:
        msg = f"{path}: cannot be read as AnnData ({error}); copy it again or write it anew"
        raise InputError(msg) from error
    _check_keys(adata, path)
    if "in_tissue" in adata.obs:
        adata = adata[np.asarray(adata.obs["in_tissue"], dtype=float) == 1]
    library = _library(adata)
    factors = library.get("scalefactors", {})
    diameter = float(factors.get("spot_diameter_fullres", 0)) or None
    image, image_scale, files = None, 1.0, [path]
    if image_name == "hires":
        image, image_scale = stored_image(library, path)
    elif image_file is not None:
        files.append(image_file)
        image = read_image(image_file)
    features, symbols = _names(adata)
    return Parts(
        where=str(path),
        counts=sparse.csr_matrix(adata.layers.get("counts", adata.X)),
        barcodes=adata.obs_names.to_numpy(str),
        features=features,
        symbols=symbols,
        array_row=_whole(adata, "array_row", path),
        array_col=_whole(adata, "array_col", path),
        positions=np.asarray(adata.obsm["spatial"], dtype=np.float64)[:, :2],
        spot_diameter_px=diameter,
        image=image,
        image_scale=image_scale,
        digest=digest_of_files(files, path.parent),
    )


def _locate(path: Path, image_name: str | None) -> tuple[Path, Path | None]:
    """Return the h5ad file and the image beside it; reads no content.

    Raises:
        InputError: When one of them is missing or empty, or several files could be it.
    """
    if path.is_dir():
        path = one_file(path, sorted(path.glob("*.h5ad")), "slide", "*.h5ad")
    need_file(path, "the slide")
    if image_name is None or image_name == "hires":
        return path, None
    return path, need_file(path.parent / image_name, "the image")


def _check_keys(adata: AnnData, path: Path) -> None:
    for part, keys in (("obs", ("array_row", "array_col")), ("obsm", ("spatial",))):
        content = getattr(adata, part)
        missing = [key for key in keys if key not in content]
        if missing:
            found = ", ".join(map(str, content)) or "nothing"
            msg = f"{path}: {part}: no {', '.join(missing)}; found {found}. Add it to the file"
            raise InputError(msg)
    if "counts" not in adata.layers and adata.X is None:
        msg = f"{path}: neither layers['counts'] nor X; one of them must hold raw counts"
        raise InputError(msg)


def _whole(adata: AnnData, key: str, path: Path) -> NDArray[np.int32]:
    try:
        values = np.asarray(adata.obs[key], dtype=np.float64)
    except ValueError as error:
        msg = f"{path}: obs[{key!r}]: whole numbers are needed ({error})"
        raise InputError(msg) from error
    if not (np.mod(values, 1) == 0).all():
        strange = values[np.mod(values, 1) != 0][0]
        msg = f"{path}: obs[{key!r}]: found {strange}; whole numbers are needed"
        raise InputError(msg)
    return values.astype(np.int32)


def _library(adata: AnnData) -> Mapping[str, Any]:
    """Return the only entry of ``uns["spatial"]``, or an empty one."""
    libraries = adata.uns.get("spatial", {})
    if isinstance(libraries, Mapping) and len(libraries) == 1:
        only = next(iter(libraries.values()))
        return only if isinstance(only, Mapping) else {}
    return {}


def stored_image(library: Mapping[str, Any], path: Path) -> tuple[NDArray[np.uint8], float]:
    """Return the hires image of an entry of ``uns["spatial"]`` and its scale.

    Args:
        library: With ``images`` and ``scalefactors``.
        path: The file that errors name.

    Returns:
        RGB uint8 ``(height, width, 3)``, and its pixels per full-resolution pixel.

    Raises:
        InputError: When there is no such image or scale, or its pixels are of another kind.
    """
    image = library.get("images", {}).get("hires")
    scale = float(library.get("scalefactors", {}).get("tissue_hires_scalef", 0))
    if image is None or not scale > 0:
        msg = (
            f"{path}: uns['spatial'] holds no hires image of one library with its "
            "'tissue_hires_scalef'; write 'image: null' in the cohort when there is no image, or "
            "the name of an image file beside it"
        )
        raise InputError(msg)
    pixels = np.asarray(image)[..., :3]
    if pixels.dtype.kind == "f":
        pixels = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        msg = f"{path}: image of {pixels.dtype} {pixels.shape}; RGB of 8 bit or 0 to 1 is needed"
        raise InputError(msg)
    return pixels, scale


def _names(adata: AnnData) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return ids and symbols; scanpy keeps symbols as names and ids in ``var["gene_ids"]``."""
    names = adata.var_names.to_numpy(str)
    if "gene_ids" in adata.var:
        return adata.var["gene_ids"].to_numpy(str), names
    column = next((key for key in _SYMBOLS if key in adata.var), None)
    return names, names if column is None else adata.var[column].to_numpy(str)
