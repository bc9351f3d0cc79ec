"""The handle to what identifies every slide taken in so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from spared_benchmark.catalog.files import JsonDataset

_SUFFIX = ".identity.json"


class IdentitiesDataset(AbstractDataset[Any, pd.DataFrame]):
    """Loading gives the identities that lie there when it is loaded, of whichever cohorts.

    A cohort's own identities are datasets of its nodes. Those of others are met here, so that a
    cohort is compared with them and yet runs without them. No sidecar: it is always there.

    Args:
        filepath: The cohort's own folder, beside which those of other cohorts lie.
        metadata: For other tools, such as kedro-viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return one row per slide: ``cohort``, ``slide`` and what identifies it.

        Files that are not whole are passed over.
        """
        files = {path: JsonDataset(filepath=str(path)) for path in self._files()}
        rows = [
            {
                "cohort": path.parent.name,
                "slide": path.name.removesuffix(_SUFFIX),
                **identity.load(),
            }
            for path, identity in files.items()
            if identity.problem() is None
        ]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["cohort", "slide"])

    def save(self, data: Any) -> None:
        """Refuse: each identity is written by the node that takes in its slide."""
        msg = f"identities are written slide by slide, not together (got {type(data).__name__})"
        raise TypeError(msg)

    def _files(self) -> list[Path]:
        return sorted(self._filepath.parent.glob(f"*/*{_SUFFIX}"))

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix()}
