"""The base of every dataset here: exists means present, whole and made by these settings.

A save replaces the file in one step and then writes a sidecar with the digest of everything that
made it. Before a run the digest expected now is told to each dataset (see
`spared_benchmark.provenance`), so a file made by other settings does not exist for that run. What
tells of a failure, such as that of one predictor, can be loaded and yet does not exist: the next
run tries again, and makes again what was made from it (`provenance.follow_failures`).
"""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

from kedro.io import AbstractDataset

from spared_benchmark.atomic import atomic_path, file_digest, write_json
from spared_benchmark.errors import MissingInputError

Content = TypeVar("Content")
_WHOLE_DIGEST_BYTES = 64 << 20

logger = logging.getLogger(__name__)


class CompleteDataset(AbstractDataset[Content, Content], Generic[Content]):
    """A file or folder with a sidecar; subclasses say how its content is read and written.

    Args:
        filepath: Where it lies.
        optional: Loading an absent one gives None instead of an error.
        rebuilt: It never exists: a run that reaches it always makes it again.
        guard: It lets a node run and changes nothing of what the node makes, so the node's outputs
            do not grow stale with it.
        metadata: For other tools, such as kedro-viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        optional: bool = False,
        rebuilt: bool = False,
        guard: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath)
        self.optional = optional
        self.metadata = metadata
        self._rebuilt = rebuilt
        self.guard = guard
        self.expected: str | None = None
        self.follows_failure = False

    @abstractmethod
    def read(self, path: Path) -> Content:
        """Return the content of ``path``."""

    @abstractmethod
    def write(self, path: Path, content: Content) -> None:
        """Write ``content`` to ``path``, which does not exist yet."""

    def load(self) -> Content:
        """Return the content.

        Raises:
            MissingInputError: When it is absent, broken or made by other settings.
        """
        problem = self.problem()
        if problem and self.optional:
            if self._filepath.exists():
                logger.warning("left out: %s", problem)
            return None  # type: ignore[return-value]
        if problem:
            raise MissingInputError(problem)
        return self.read(self._filepath)

    def save(self, content: Content) -> None:
        """Replace the content and record what made it."""
        # Were the old sidecar still there, a crash between the two writes could pass for whole.
        self._sidecar.unlink(missing_ok=True)
        with atomic_path(self._filepath) as path:
            self.write(path, content)
        record = {"made_by": self.expected, **_extent(self._filepath)}
        if self.failed(content):
            record["failed"] = True
        write_json(self._sidecar, record)

    def failed(self, content: Content) -> bool:
        """Say whether ``content`` tells of a failure: it can be loaded, but is to be made again."""
        del content
        return False

    def problem(self) -> str | None:
        """Return why this does not count as existing, or None."""
        if not self._filepath.exists():
            return f"{self._filepath} does not exist"
        if not self._sidecar.exists():
            return f"{self._filepath} was not finished (its record {self._sidecar.name} is missing)"
        record = json.loads(self._sidecar.read_text(encoding="utf-8"))
        if {key: record.get(key) for key in ("bytes", "sha256")} != _extent(self._filepath):
            return f"{self._filepath} is truncated or was changed after it was written"
        if self.expected is not None and record.get("made_by") != self.expected:
            return f"{self._filepath} was made by other settings or other inputs"
        return None

    @property
    def digest(self) -> str | None:
        """What made the file that lies there, or None."""
        if not self._sidecar.exists():
            return None
        made_by: str | None = json.loads(self._sidecar.read_text(encoding="utf-8"))["made_by"]
        return made_by

    @property
    def tells_of_failure(self) -> bool:
        """Whether what lies there was saved as a failure."""
        if not self._sidecar.exists():
            return False
        return bool(json.loads(self._sidecar.read_text(encoding="utf-8")).get("failed", False))

    @property
    def _sidecar(self) -> Path:
        return self._filepath.with_name(f".{self._filepath.name}.json")

    def _exists(self) -> bool:
        there = not self._rebuilt and self.problem() is None
        return there and not self.follows_failure and not self.tells_of_failure

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix(), "optional": self.optional}


def _extent(path: Path) -> dict[str, Any]:
    """Return size and digest; a large file is known by its size, its contents are not read."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    return {"bytes": size, "sha256": file_digest(path) if size <= _WHOLE_DIGEST_BYTES else None}
