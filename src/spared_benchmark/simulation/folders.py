"""Simulated slides as folders and files, in the layouts that real slides come in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from PIL import Image

from spared_benchmark.atomic import atomic_path
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.simulation.sites import barcodes, lattice_points, lattice_positions
from spared_benchmark.simulation.slide import SimulatedSlide
from spared_benchmark.study import DIAMETER_SHARE, Cohort


def write_slide(path: Path, slide: SimulatedSlide, cohort: Cohort) -> None:
    """Write a slide as a folder in the format of its cohort.

    Raises:
        ConfigurationError: When nothing writes that format.
    """
    writers = {"space_ranger": write_space_ranger, "legacy_st": write_legacy_st}
    if cohort.format not in writers:
        msg = f"simulated slides are written as {' or '.join(writers)}; found {cohort.format!r}"
        raise ConfigurationError(msg)
    writers[cohort.format](path, slide)


def write_space_ranger(folder: Path, slide: SimulatedSlide) -> None:
    """Write ``folder`` as Space Ranger 1.x does: matrix, positions, scale factors, image."""
    facts = slide.raw.adata.uns["slide"]
    factors = {
        "spot_diameter_fullres": facts["spot_diameter_px"],
        "tissue_hires_scalef": slide.raw.image_scale,
    }
    with atomic_path(folder) as path:
        spatial = path / "spatial"
        spatial.mkdir(parents=True)
        _write_matrix(path / "filtered_feature_bc_matrix.h5", slide.raw.adata)
        columns = ["barcode", "here", "array_row", "array_col", "y", "x"]
        table = _all_spots(slide.raw.adata).astype({"x": np.int64, "y": np.int64})[columns]
        table.to_csv(spatial / "tissue_positions_list.csv", header=False, index=False)
        (spatial / "scalefactors_json.json").write_text(json.dumps(factors), encoding="utf-8")
        hires = spatial / "tissue_hires_image.png"
        _write_image(slide, hires if slide.image_name == "hires" else path)


def write_legacy_st(folder: Path, slide: SimulatedSlide) -> None:
    """Write ``folder`` as legacy ST data come: counts, selected spots, image."""
    adata = slide.raw.adata
    name = adata.uns["slide"]["slide"]
    spots = _all_spots(adata)
    selection = pd.DataFrame(
        {
            "x": spots["array_col"],
            "y": spots["array_row"],
            "new_x": spots["array_col"],
            "new_y": spots["array_row"],
            "pixel_x": spots["x"].round(2),
            "pixel_y": spots["y"].round(2),
            "selected": spots["here"],
        }
    )
    counts = pd.DataFrame(adata.X.toarray(), index=adata.obs_names, columns=adata.var_names)
    with atomic_path(folder) as path:
        path.mkdir(parents=True)
        content = counts.to_csv(sep="\t", lineterminator="\n").encode()
        (path / f"{name}.tsv.gz").write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
        selection.to_csv(path / f"{name}_selection.tsv", sep="\t", index=False)
        _write_image(slide, path / f"{name}.png" if slide.image_name == "hires" else path)


def write_gene_lengths(path: Path, lengths: pd.DataFrame) -> None:
    """Write a table of gene lengths (gene_id, symbol, length) as gzipped TSV."""
    content = lengths.to_csv(sep="\t", index=False, lineterminator="\n").encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0))


def _write_matrix(path: Path, adata: AnnData) -> None:
    """Write counts as 10x HDF5, version 3: features x barcodes, compressed by column."""
    counts = adata.X
    with h5py.File(path, "w", track_order=False) as file:
        file.attrs["filetype"] = "matrix"
        file.attrs["version"] = 2
        matrix = file.create_group("matrix")
        matrix["barcodes"] = _bytes(adata.obs_names.to_numpy(str))
        for key, values in (
            ("data", counts.data),
            ("indices", counts.indices.astype(np.int64)),
            ("indptr", counts.indptr.astype(np.int64)),
        ):
            matrix.create_dataset(key, data=values, compression="gzip", compression_opts=4)
        matrix["shape"] = np.array([adata.n_vars, adata.n_obs], dtype=np.int32)
        features = matrix.create_group("features")
        features["id"] = _bytes(adata.var_names.to_numpy(str))
        features["name"] = _bytes(adata.var["symbol"].to_numpy(str))
        features["feature_type"] = _bytes(np.full(adata.n_vars, "Gene Expression"))
        features["genome"] = _bytes(np.full(adata.n_vars, "simulated"))
        features["_all_tag_keys"] = _bytes(np.array(["genome"]))


def _bytes(words: NDArray[np.str_]) -> NDArray[np.bytes_]:
    return np.char.encode(words, "ascii")


def _all_spots(adata: AnnData) -> pd.DataFrame:
    """Return every spot of the lattice around the tissue; ``here`` is 1 where there is tissue."""
    facts = adata.uns["slide"]
    row, col = (adata.obs[key].to_numpy() for key in ("array_row", "array_col"))
    pitch = facts["spot_diameter_px"] / DIAMETER_SHARE[facts["lattice"]]
    ideal = lattice_positions(row, col, facts["lattice"], pitch)
    shift = (adata.obsm["spatial"] - ideal).mean(axis=0)
    rows, columns = lattice_points(int(row.max()) + 1, int(col.max()) + 1, facts["lattice"])
    around = np.rint(lattice_positions(rows, columns, facts["lattice"], pitch) + shift)
    table = pd.DataFrame(
        {
            "barcode": barcodes(rows, columns, facts["lattice"]),
            "here": 0,
            "array_row": rows,
            "array_col": columns,
            "x": around[:, 0],
            "y": around[:, 1],
        }
    ).set_index("barcode", drop=False)
    table.loc[adata.obs_names, "here"] = 1
    table.loc[adata.obs_names, ["x", "y"]] = adata.obsm["spatial"]
    return table


def _write_image(slide: SimulatedSlide, path: Path) -> None:
    """Write the image to ``path``, or below it under its own name when ``path`` is a folder."""
    if slide.raw.image is None or slide.image_name is None:
        return
    target = path / slide.image_name if path.is_dir() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(slide.raw.image).save(target, compress_level=1, quality=92)
