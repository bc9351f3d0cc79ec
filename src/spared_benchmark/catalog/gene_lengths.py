"""Gene lengths: a table beside the raw data, or measured on the annotation that made it."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
from kedro.io import AbstractDataset

from spared_benchmark.atomic import digest_of
from spared_benchmark.catalog.download import SCHEMES, download, unreachable
from spared_benchmark.catalog.measured_lengths import MeasuredLengths, Origin
from spared_benchmark.catalog.memory import remembered
from spared_benchmark.errors import MissingInputError

logger = logging.getLogger(__name__)

# Cohorts of one organism may be processed side by side: the first one fetches and measures.
_ONE_AT_A_TIME = threading.Lock()


class GeneLengthsDataset(AbstractDataset[Any, pd.DataFrame | None]):
    """The table ``gene_lengths_<organism>.tsv.gz`` (gene_id, symbol, length in bases).

    The first of these that is there is taken:

    1. that table, in the folder that ``SPARED_GENE_LENGTHS`` names or beside the raw data;
    2. the annotation ``gencode_<organism>.gtf.gz`` (or ``.gtf``) in the same places;
    3. ``source``.

    What is measured on an annotation, or fetched, is kept as that table beside the raw data, with
    a card (``gene_lengths_<organism>.json``) that says what it was made of; another source, or a
    changed file, makes it again. A table without such a card is the user's own and stays.

    Args:
        filepath: The table beside the raw data.
        source: A table (``.tsv``, ``.tsv.gz``) or an annotation (``.gtf``, ``.gtf.gz``): a file,
            relative to the folder in which the run is started, or a URL (http, https, file).
        network: Arguments of `spared_benchmark.catalog.download.download`.
        optional: Loading gives None instead of an error when nothing is on this machine; a server
            is never asked.
        metadata: For other tools, such as kedro-viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        source: str | None = None,
        network: dict[str, Any] | None = None,
        optional: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath)
        self._measured = MeasuredLengths(self._filepath)
        self._source = source
        self._network = dict(network or {})
        self.optional = optional
        self.metadata = metadata
        self.expected: str | None = None

    def load(self) -> pd.DataFrame | None:
        """Return the lengths, fetched and measured if need be; None where they are optional.

        Raises:
            MissingInputError: When there is neither table nor annotation, or none can be fetched.
        """
        from spared_benchmark.expression.gene_lengths import read_lengths

        with _ONE_AT_A_TIME:
            table = self._own_table() or self._kept_table()
            if table is not None:
                return read_lengths(table)
            file = self._file()
            if file is not None and ".gtf" not in file.name:
                return read_lengths(file)
            if file is not None:
                return self._keep(file, _sha256(file), Origin(self._source, _stamp(file)))
            if self.optional:
                return None
            if not _is_url(self._source):
                raise MissingInputError(self._missing(self._unusable("no such file")))
            return self._fetch(str(self._source))

    def save(self, data: Any) -> None:
        """Refuse: no node writes it."""
        msg = f"gene lengths are an input (got {type(data).__name__})"
        raise TypeError(msg)

    def problem(self) -> str | None:
        """Return why there will be no lengths, or None.

        A server is asked only when nothing is on this machine, and for 5 seconds at most.
        """
        if self._exists():
            return None
        reason = unreachable(str(self._source)) if _is_url(self._source) else "no such file"
        return None if reason is None else self._missing(self._unusable(reason))

    def fingerprint(self) -> str:
        """Return a digest of what the lengths come from: a file's size and time, or the URL.

        It is the same before and after the URL was fetched. A file that is not there now counts
        as it last was, unless the URL has taken its place. Optional lengths that are not there now
        are none: a run would do without them.
        """
        file = self._own_table() or self._file()
        found = [] if file is None else [list(_stamp(file))]
        if self.optional and not found:
            return digest_of([self._source] if self._kept_table() is not None else [])
        kept = remembered(self._filepath.with_name(f".{self._filepath.name}.json"), found)
        fetched = self._kept_table() is not None and self._measured.origin() == self._url_origin
        if not found and (not kept or fetched):
            kept = [self._source] if self._source else []
        return digest_of(kept)

    @property
    def _folders(self) -> list[Path]:
        named = os.environ.get("SPARED_GENE_LENGTHS")
        return [*([Path(named)] if named else []), self._filepath.parent]

    @property
    def _url_origin(self) -> Origin:
        return Origin(self._source, None)

    def _own_table(self) -> Path | None:
        """Return the user's own table."""
        tables = [folder / self._filepath.name for folder in self._folders]
        found = [table for table in tables if table.exists()]
        if found and found[0].resolve() == self._filepath.resolve() and self._measured.origin():
            return None
        return found[0] if found else None

    def _kept_table(self) -> Path | None:
        """Return the table that an earlier run made, if it would be made alike now.

        An annotation that was measured and then taken away is not missed.
        """
        made_of, file = self._measured.origin(), self._file()
        now = Origin(self._source, None if file is None else _stamp(file))
        taken_away = file is None and made_of is not None and made_of.source == self._source
        return self._filepath if made_of is not None and (made_of == now or taken_away) else None

    def _file(self) -> Path | None:
        """Return the annotation beside the raw data, or the file that the source names."""
        name = self._annotation
        files = [folder / one for folder in self._folders for one in (name, name[:-3])]
        files += [Path(self._source)] if self._source and not _is_url(self._source) else []
        return next((path for path in files if path.exists()), None)

    @property
    def _annotation(self) -> str:
        return self._filepath.name.replace("gene_lengths", "gencode").replace(".tsv.gz", ".gtf.gz")

    def _fetch(self, url: str) -> pd.DataFrame:
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._filepath.parent, prefix=".fetched-") as folder:
            file = Path(folder) / (Path(unquote(urlsplit(url).path)).name or "annotation.gtf.gz")
            try:
                sha256 = download(url, file, **self._network)
            except MissingInputError as error:
                raise MissingInputError(self._missing(str(error))) from error
            return self._keep(file, sha256, self._url_origin)

    def _keep(self, file: Path, sha256: str, origin: Origin) -> pd.DataFrame:
        from spared_benchmark.expression.gene_lengths import measure_gtf, read_lengths

        logger.info("measuring the genes of %s", file.name)
        table = measure_gtf(file) if ".gtf" in file.name else read_lengths(file)
        self._measured.keep(table, origin, sha256)
        logger.info("%s: %d genes, kept for later runs", self._filepath, len(table))
        return table

    def _unusable(self, reason: str) -> str:
        return f"the source {self._source} cannot be used ({reason})" if self._source else ""

    def _missing(self, told: str) -> str:
        table = self._folders[0] / self._filepath.name
        return (
            f"{table} does not exist{told and f' and {told}'}: put that table there (gene_id, "
            "symbol, length), name its folder in SPARED_GENE_LENGTHS, or put the GENCODE "
            f"annotation there as {self._annotation}"
        )

    def _exists(self) -> bool:
        return any((self._own_table(), self._kept_table(), self._file()))

    def _describe(self) -> dict[str, Any]:
        return {
            "filepath": self._filepath.as_posix(),
            "source": self._source,
            "optional": self.optional,
        }


def _is_url(source: str | None) -> bool:
    return urlsplit(source or "").scheme in SCHEMES


def _stamp(file: Path) -> tuple[str, int, int]:
    stat = file.stat()
    return file.name, stat.st_size, stat.st_mtime_ns


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
