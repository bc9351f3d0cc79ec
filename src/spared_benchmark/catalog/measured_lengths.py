"""A table of gene lengths that a run has made, and the card that says what it was made of.

The card is written before the table is put in place and after an older one was taken away. So a
table with a card that fits it is ours, and one without is somebody's own, wherever a run breaks
off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spared_benchmark.atomic import atomic_path, file_digest, write_json

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Origin:
    """What identifies an annotation.

    Attributes:
        source: The setting: a URL, a path, or None.
        file: Name, size and time of the file on this machine; None when it came from the URL.
    """

    source: str | None
    file: tuple[str, int, int] | None


@dataclass(frozen=True)
class MeasuredLengths:
    """The table at ``path``, and its card beside it."""

    path: Path

    @property
    def card(self) -> Path:
        """Where the card lies."""
        return self.path.with_name(self.path.name.split(".", 1)[0] + ".json")

    def origin(self) -> Origin | None:
        """Return what the table that lies there was measured on; None when it is not ours."""
        if not self.path.exists() or not self.card.exists():
            return None
        card: dict[str, Any] = json.loads(self.card.read_text(encoding="utf-8"))
        if card.get("table_digest") != file_digest(self.path):
            return None
        file = card["file"]
        return Origin(card["source"], None if file is None else (file[0], file[1], file[2]))

    def keep(self, table: pd.DataFrame, origin: Origin, sha256: str) -> None:
        """Write table and card.

        Args:
            table: Columns ``gene_id``, ``symbol``, ``length``.
            origin: What it was measured on.
            sha256: Of the annotation.
        """
        with atomic_path(self.path) as path:
            # Without a time in it, the same lengths are the same bytes.
            packing: Any = {"method": "gzip", "mtime": 0}
            table.to_csv(path, sep="\t", index=False, compression=packing)
            card = {
                "source": origin.source,
                "file": origin.file,
                "annotation_sha256": sha256,
                "genes": len(table),
                "table_digest": file_digest(path),
            }
            self.path.unlink(missing_ok=True)
            write_json(self.card, card)
