"""AnnData in h5ad, checked against its contract on save and on load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro_datasets._typing import JSONPreview

from spared_benchmark.catalog.complete import CompleteDataset
from spared_benchmark.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData


class AnnDataDataset(CompleteDataset[Any]):
    """An h5ad file of a named schema (see `spared_benchmark.slides.schema`).

    Args:
        schema: Name of the contract that it must meet.
        lazy: Loading gives a function that reads the file, so that a node with many slides
            holds one at a time.
    """

    def __init__(self, *, schema: str, lazy: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._schema, self._lazy = schema, lazy

    def read(self, path: Path) -> AnnData | Callable[[], AnnData]:
        """Return the AnnData, or with ``lazy`` the function that reads it."""
        return LazyAnnData(path, self._schema) if self._lazy else read_h5ad(path, self._schema)

    def write(self, path: Path, content: AnnData) -> None:
        """Check and write ``content``."""
        from spared_benchmark.slides import schema

        schema.check(content, self._schema)
        content.write_h5ad(path, compression="gzip", compression_opts=1)

    def failed(self, content: AnnData) -> bool:
        """Say whether something of the content could not be made."""
        return bool(content.uns.get("failed"))

    def preview(self) -> JSONPreview:
        """Return what the file holds, as kedro-viz shows it."""
        if self.problem():
            return JSONPreview("")
        adata = read_h5ad(self._filepath, self._schema)
        content = {
            "spots": adata.n_obs,
            "genes": adata.n_vars,
            **{
                part: list(getattr(adata, part)) for part in ("obs", "var", "layers", "obsm", "uns")
            },
        }
        return JSONPreview(json.dumps(content))


class LazyAnnData:
    """Reads its h5ad file when called; crosses process borders as a path."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path, self._schema = path, schema

    def __call__(self) -> AnnData:
        """Return the AnnData, checked."""
        return read_h5ad(self._path, self._schema)


def read_h5ad(path: Path, name: str) -> AnnData:
    """Read an h5ad file of the schema called ``name``.

    Raises:
        InputError: When the file cannot be read as h5ad.
        ContractError: When it breaks its contract.
    """
    import anndata

    from spared_benchmark.slides import schema

    try:
        adata = anndata.read_h5ad(path)
    except (OSError, KeyError) as error:
        msg = f"{path} cannot be read as h5ad ({error}); delete it and run the node that writes it"
        raise InputError(msg) from error
    schema.check(adata, name)
    return adata
