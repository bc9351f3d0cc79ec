"""What each kind of AnnData file must hold; checked on every save and load.

A file carries its schema's name and version in ``uns["schema"]``. `check` raises one error that
names the first broken key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from spared_benchmark.errors import ContractError, nearest

Kind = Literal["integer", "number", "text", "flag", "any"]

_SPLITS = frozenset({"train", "val", "test"})
_CSR = (sparse.csr_matrix, sparse.csr_array)
_SPARSE = (*_CSR, sparse.csc_matrix, sparse.csc_array)


@dataclass(frozen=True)
class Schema:
    """Required keys of one kind of file, each with the kind of value it holds.

    Attributes:
        version: Raised when a key is added, removed or changes its meaning.
        raw_counts: ``X`` is a CSR matrix of non-negative int32 counts.
        any_layer: The layers have no fixed names, but there is at least one.
        slide: Keys of the dictionary ``uns["slide"]``.
    """

    version: int = 1
    raw_counts: bool = False
    any_layer: bool = False
    obs: Mapping[str, Kind] = field(default_factory=dict)
    var: Mapping[str, Kind] = field(default_factory=dict)
    layers: Mapping[str, Kind] = field(default_factory=dict)
    obsm: tuple[str, ...] = ()
    uns: Mapping[str, Kind] = field(default_factory=dict)
    slide: Mapping[str, Kind] = field(default_factory=dict)


SCHEMAS: dict[str, Schema] = {
    "slide": Schema(
        raw_counts=True,
        obs={"array_row": "integer", "array_col": "integer"},
        var={"symbol": "text"},
        obsm=("spatial",),
        slide={
            "cohort": "text",
            "slide": "text",
            "subject": "text",
            "organism": "text",
            "tissue": "text",
            "lattice": "text",
            "spot_diameter_px": "number",
            "um_per_px": "number",
            "pitch_um": "number",
            "source_digest": "text",
            "licence": "text",
            "image": "flag",
        },
    ),
    "expression": Schema(
        obs={
            "slide": "text",
            "subject": "text",
            "split": "text",
            "array_row": "integer",
            "array_col": "integer",
            "library_size": "number",
            "tpm_denominator": "number",
        },
        var={
            "symbol": "text",
            "moran": "number",
            "fraction_min": "number",
            "fraction": "number",
            "gene_length": "number",
            "train_mean": "number",
            "train_mean_combat": "number",
        },
        layers={
            "counts": "number",
            "log_tpm": "number",
            "measured": "flag",
            "median": "number",
            "combat": "number",
        },
        obsm=("spatial",),
        uns={
            "cohort": "text",
            "protocol": "text",
            "organism": "text",
            "lattice": "text",
            "pitch_um": "number",
            "combat": "any",
        },
    ),
    "context": Schema(
        obs={"slide": "text"},
        layers={"counts": "number", "log_tpm": "number", "measured": "flag"},
    ),
    "completed": Schema(any_layer=True, obs={"slide": "text", "split": "text"}),
    "predictions": Schema(
        any_layer=True,
        obs={"slide": "text", "split": "text"},
        uns={"target": "text", "space": "text"},
    ),
    "truth": Schema(layers={"log_tpm_true": "number", "share": "number"}),
}


def stamp(adata: AnnData, name: str) -> AnnData:
    """Write the name and version of schema ``name`` into ``adata.uns`` and return ``adata``.

    Raises:
        ContractError: When there is no such schema.
    """
    adata.uns["schema"] = {"name": name, "version": _schema(name).version}
    return adata


def check(adata: AnnData, name: str) -> None:
    """Check ``adata`` against the schema ``name``.

    Raises:
        ContractError: Naming the first key that is missing or holds something else.
    """
    schema = _schema(name)
    _check_stamp(adata, name, schema.version)
    for axis, index in (("obs_names", adata.obs_names), ("var_names", adata.var_names)):
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise _broken(name, axis, "unique names", f"{twice!r} more than once")
    if schema.raw_counts:
        _check_counts(adata, name)
    for part, required in (("obs", schema.obs), ("var", schema.var)):
        frame = getattr(adata, part)
        for key, kind in required.items():
            _require(key, list(frame), name, f"{part}[{key!r}]")
            _check_column(frame[key], kind, name, f"{part}[{key!r}]")
    if "split" in schema.obs and not set(adata.obs["split"].unique()) <= _SPLITS:
        strange = sorted(map(str, set(adata.obs["split"].unique()) - _SPLITS))
        raise _broken(name, "obs['split']", "train, val or test", ", ".join(strange))
    for key in schema.obsm:
        _require(key, list(adata.obsm), name, f"obsm[{key!r}]")
        _check_positions(adata.obsm[key], name, f"obsm[{key!r}]")
    _check_layers(adata, schema, name)
    _check_mapping(adata.uns, schema.uns, name, "uns")
    if schema.slide:
        _require("slide", list(adata.uns), name, "uns['slide']")
        _check_mapping(adata.uns["slide"], schema.slide, name, "uns['slide']")
        _check_image_scale(adata.uns["slide"], name)


def _schema(name: str) -> Schema:
    if name not in SCHEMAS:
        msg = f"no schema called {name!r}{nearest(name, SCHEMAS)}; known: {', '.join(SCHEMAS)}"
        raise ContractError(msg)
    return SCHEMAS[name]


def _broken(name: str, key: str, allowed: str, found: Any) -> ContractError:
    return ContractError(f"{name} AnnData: {key}: needs {allowed}; found {found}")


def _require(key: str, content: Iterable[str], name: str, where: str) -> None:
    if key not in content:
        there = ", ".join(map(str, content)) or "nothing"
        raise _broken(name, where, "this key", f"only {there}")


def _check_stamp(adata: AnnData, name: str, version: int) -> None:
    found = adata.uns.get("schema")
    if not isinstance(found, Mapping) or not {"name", "version"} <= set(found):
        raise _broken(name, "uns['schema']", "a name and a version", found)
    if str(found["name"]) != name:
        raise _broken(name, "uns['schema']['name']", repr(name), repr(str(found["name"])))
    if not 1 <= int(found["version"]) <= version:
        allowed = f"1 to {version}; a newer release wrote this file, install that one to read it"
        raise _broken(name, "uns['schema']['version']", allowed, int(found["version"]))


def _check_counts(adata: AnnData, name: str) -> None:
    counts = adata.X
    if not isinstance(counts, _CSR) or counts.dtype != np.int32:
        found = f"{type(counts).__name__} of {getattr(counts, 'dtype', None)}"
        raise _broken(name, "X", "a CSR matrix of int32 counts", found)
    if counts.nnz and counts.data.min() < 0:
        raise _broken(name, "X", "counts of 0 and more", counts.data.min())


def _check_column(column: pd.Series, kind: Kind, name: str, key: str) -> None:
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    tests = {
        "integer": pd.api.types.is_integer_dtype,
        "number": pd.api.types.is_numeric_dtype,
        "flag": pd.api.types.is_bool_dtype,
        "text": _holds_text,
        "any": lambda _: True,
    }
    if not tests[kind](values):
        raise _broken(name, key, f"a column of kind {kind}", values.dtype)


def _holds_text(values: Any) -> bool:
    return pd.api.types.is_string_dtype(values) or not len(values)


def _check_positions(positions: Any, name: str, key: str) -> None:
    array = np.asarray(positions)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype != np.float64:
        raise _broken(name, key, "float64 (n_spots, 2)", f"{array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise _broken(name, key, "finite positions", f"{(~np.isfinite(array)).sum()} others")


def _check_layers(adata: AnnData, schema: Schema, name: str) -> None:
    if schema.any_layer and not len(adata.layers) and not adata.uns.get("failed"):
        raise _broken(name, "layers", "at least one layer", "none")
    kinds: dict[str, Kind] = dict.fromkeys(adata.layers, "number") if schema.any_layer else {}
    for key, kind in {**kinds, **schema.layers}.items():
        _require(key, list(adata.layers), name, f"layers[{key!r}]")
        layer = adata.layers[key]
        values = np.asarray(layer.data if isinstance(layer, _SPARSE) else layer)
        allowed = {"flag": "b", "number": "iuf", "integer": "iu"}[kind]
        if values.dtype.kind not in allowed:
            raise _broken(name, f"layers[{key!r}]", f"values of kind {kind}", values.dtype)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise _broken(name, f"layers[{key!r}]", "finite values", f"{count} NaN or infinite")


def _check_mapping(
    content: Mapping[str, Any], required: Mapping[str, Kind], name: str, place: str
) -> None:
    tests: dict[Kind, tuple[type, ...]] = {
        "text": (str,),
        "number": (int, float, np.number),
        "integer": (int, np.integer),
        "flag": (bool, np.bool_),
        "any": (object,),
    }
    for key, kind in required.items():
        where = f"{place}[{key!r}]"
        _require(key, list(content), name, where)
        if not isinstance(content[key], tests[kind]):
            raise _broken(name, where, f"a value of kind {kind}", repr(content[key]))


def _check_image_scale(slide: Mapping[str, Any], name: str) -> None:
    if bool(slide["image"]) and not float(slide.get("image_scale", 0)) > 0:
        found = slide.get("image_scale", "nothing")
        raise _broken(name, "uns['slide']['image_scale']", "a number above 0", found)
