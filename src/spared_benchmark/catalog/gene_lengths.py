"""Gene lengths: a table beside the raw data, or measured on the annotation that made it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from spared_benchmark.atomic import digest_of
from spared_benchmark.catalog.memory import remembered
from spared_benchmark.errors import MissingInputError


class GeneLengthsDataset(AbstractDataset[Any, pd.DataFrame]):
    """The table ``gene_lengths_<organism>.tsv.gz`` (gene_id, symbol, length in bases).

    It is looked for in the folder that ``SPARED_GENE_LENGTHS`` names, else beside the raw data;
    a GENCODE annotation (GTF) in the same place is measured instead.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata
        self.expected: str | None = None

    def load(self) -> pd.DataFrame:
        """Return the lengths.

        Raises:
            MissingInputError: When there is neither table nor annotation.
        """
        from spared_benchmark.expression.gene_lengths import measure_gtf, read_lengths

        problem = self.problem()
        if problem:
            raise MissingInputError(problem)
        path = self._path
        return measure_gtf(path) if ".gtf" in path.name else read_lengths(path)

    def save(self, data: Any) -> None:
        """Refuse: no node writes it."""
        msg = f"gene lengths are an input (got {type(data).__name__})"
        raise TypeError(msg)

    def problem(self) -> str | None:
        """Return what is missing, or None."""
        if self._path.exists():
            return None
        return (
            f"{self._path} does not exist: put that table there (gene_id, symbol, length), name "
            "its folder in SPARED_GENE_LENGTHS, or put the GENCODE annotation there as "
            f"{self._gtf.name}"
        )

    def fingerprint(self) -> str:
        """Return a digest of the table's size and time."""
        path = self._path
        stats = [path.stat()] if path.exists() else []
        found = [[path.name, stat.st_size, stat.st_mtime_ns] for stat in stats]
        return digest_of(
            remembered(self._filepath.with_name(f".{self._filepath.name}.json"), found)
        )

    @property
    def _folder(self) -> Path:
        return Path(os.environ.get("SPARED_GENE_LENGTHS") or self._filepath.parent)

    @property
    def _gtf(self) -> Path:
        return self._folder / self._filepath.name.replace("gene_lengths", "gencode").replace(
            ".tsv.gz", ".gtf.gz"
        )

    @property
    def _path(self) -> Path:
        table = self._folder / self._filepath.name
        return self._gtf if self._gtf.exists() and not table.exists() else table

    def _exists(self) -> bool:
        return self.problem() is None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._path.as_posix()}
