"""Artifacts of trials on disk: each in a folder named by the digest of all that made it."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor

from spared_benchmark.atomic import abandoned, atomic_path, digest_of, file_digest, write_json

_log = logging.getLogger(__name__)
_UNREADABLE = (RuntimeError, EOFError, OSError, KeyError, pickle.UnpicklingError)


class TrialStore:
    """A folder of trials; opening one costs nothing until something is saved."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def open(self, identity: Mapping[str, Any]) -> Trial:
        """Return the trial of ``identity``: everything that decides its outcome."""
        return Trial(self.root / digest_of(identity), identity)

    def history(self, key: str) -> list[dict[str, float]]:
        """Return what each validation of a trial that has ended gave; nothing if it is gone."""
        result = Trial(self.root / key, {}).result()
        return list(result["history"]) if result else []


class Trial:
    """One training on disk: a checkpoint while it runs, then its result and best weights.

    Best weights carry their step in the file name and are written before the checkpoint that
    names that step: whenever the process dies, checkpoint and best weights belong together.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = identity

    @property
    def key(self) -> str:
        """The digest that names the trial."""
        return self.folder.name

    def result(self) -> dict[str, Any] | None:
        """Return the result of a trial that has ended, else nothing."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the last checkpoint, or nothing when there is none or its weights are gone."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            _log.warning("%s cannot be read (%s); the trial starts again", path, error)
            return None
        best = content["progress"]["best_step"]
        return content if best == 0 or self._best(best).exists() else None

    def save_checkpoint(
        self, content: Mapping[str, Any], best: Mapping[str, Tensor] | None
    ) -> None:
        """Write a checkpoint; ``best`` holds the weights when this step is the best so far."""
        step = content["progress"]["best_step"]
        if best is not None:
            with atomic_path(self._best(step)) as path:
                save_file({name: value.contiguous() for name, value in best.items()}, path)
        with atomic_path(self.folder / "checkpoint.pt") as path:
            torch.save(dict(content), path)
        for stale in set(self.folder.glob("best-*.safetensors")) - {self._best(step)}:
            stale.unlink(missing_ok=True)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result of the trial, let go of its checkpoint, and tidy up."""
        weights = self._best(result["best_step"])
        digest = file_digest(weights) if weights.exists() else None
        content = {**result, "weights_digest": digest, "identity": dict(self._identity)}
        write_json(self.folder / "result.json", json.loads(json.dumps(content, default=str)))
        self.tidy()

    def tidy(self) -> None:
        """Delete the checkpoint of a trial that has ended, and what killed writers left behind."""
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        for path in filter(abandoned, self.folder.glob(".*")):
            path.unlink(missing_ok=True)

    def weights(self) -> dict[str, Tensor] | None:
        """Return the best weights, or nothing when they are gone or not what was written."""
        result = self.result()
        if result is None or result["weights_digest"] is None:
            return None
        path = self._best(result["best_step"])
        if not path.exists() or file_digest(path) != result["weights_digest"]:
            return None
        # Read whole: mapped weights would change, or fault, when the file does.
        state: dict[str, Tensor] = load(path.read_bytes())
        return state

    def drop_weights(self) -> None:
        """Delete the weights of a trial that lost its sweep; its result stays."""
        for path in self.folder.glob("best-*.safetensors"):
            path.unlink(missing_ok=True)

    def reset(self) -> None:
        """Forget the trial."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _best(self, step: int) -> Path:
        return self.folder / f"best-{step}.safetensors"
