"""The handle to a cohort's unfinished and finished trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

if TYPE_CHECKING:
    from spared_benchmark.training.trials import TrialStore


class TrialsDataset(AbstractDataset[Any, Any]):
    """Loading gives the store in which a training node keeps checkpoints while it runs.

    Each trial lies in a folder named by the digest of everything that made it, so trials of other
    settings are never met; the store needs no sidecar and is always there.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> TrialStore:
        """Return the store."""
        from spared_benchmark.training.trials import TrialStore

        return TrialStore(self._filepath)

    def save(self, data: Any) -> None:
        """Refuse: trials are written by their store."""
        msg = f"trials are written by their store, not saved whole (got {type(data).__name__})"
        raise TypeError(msg)

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix()}
