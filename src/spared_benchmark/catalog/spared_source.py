"""A published SpaRED file as its downloader left it: one file with all slides of a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spared_benchmark.atomic import digest_of
from spared_benchmark.catalog.complete import CompleteDataset
from spared_benchmark.catalog.memory import remembered
from spared_benchmark.slides.preflight import missing_files, source_files


class SparedSourceDataset(CompleteDataset[Path]):
    """The file; loading gives its path, because it may be larger than memory.

    Args:
        memory: Where it is kept what the file looked like when it was last there.
    """

    def __init__(self, *, memory: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._memory = Path(memory)

    def problem(self) -> str | None:
        """Return why the file cannot be read, or None; looks at names, reads no content."""
        return missing_files(self._filepath, "spared", None)

    def fingerprint(self) -> str:
        """Return a digest of the file's name, size and time."""
        stats = [(file.name, file.stat()) for file in source_files(self._filepath, "spared", None)]
        found = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        return digest_of(remembered(self._memory, found))

    def read(self, path: Path) -> Path:
        """Return the path, which the reader opens."""
        return path

    def write(self, path: Path, content: Path) -> None:
        """Refuse: no node writes it."""
        msg = f"a published file is an input (got {content} for {path})"
        raise TypeError(msg)
