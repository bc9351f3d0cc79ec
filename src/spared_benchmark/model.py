"""A fitted method on disk: a folder with ``card.json`` and ``weights.safetensors``.

Nothing in it can run code when it is loaded, and neither file is taken for what it was not
written as: the card holds a digest of both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.atomic import atomic_path, digest_of, file_digest
from spared_benchmark.errors import InputError

_CARD, _WEIGHTS, _DIGESTS = "card.json", "weights.safetensors", "digests"


@dataclass(frozen=True)
class Model:
    """What a method learnt.

    Attributes:
        card: Method, version, hyper-parameters, genes, cohort and how the fit went.
        weights: Arrays by name; of a loaded model each is read when it is asked for.
    """

    card: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]

    def save(self, folder: Path) -> None:
        """Write the model as ``folder``, atomically, in place of an earlier model there.

        Raises:
            InputError: When ``folder`` is there and is no model; it is left as it is.
        """
        from safetensors.numpy import save

        folder = folder.absolute()
        _check_free(folder)
        arrays = {name: np.ascontiguousarray(array) for name, array in self.weights.items()}
        card = json.loads(json.dumps(dict(self.card)))
        with atomic_path(folder) as path:
            path.mkdir()
            # The library's own writer gives the file to its owner alone.
            (path / _WEIGHTS).write_bytes(save(arrays))
            digests = {"card": digest_of(card), "weights": file_digest(path / _WEIGHTS)}
            text = json.dumps({**card, _DIGESTS: digests}, indent=1)
            (path / _CARD).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Return the model that `save` wrote.

        Raises:
            InputError: When the folder holds none, or its files are not as they were written;
                the weights are compared when the first of them is asked for.
        """
        card, weights = folder / _CARD, folder / _WEIGHTS
        if not (card.exists() and weights.exists()):
            msg = f"{folder}: no model here; {_CARD} and {_WEIGHTS} are needed"
            raise InputError(msg)
        content = _read_card(card)
        digests = content.pop(_DIGESTS, {})  # models of earlier releases have none
        if digests and digests["card"] != digest_of(content):
            raise InputError(_changed(card))
        return cls(content, _StoredArrays(weights, digests.get("weights")))


class _StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of a safetensors file, read one by one."""

    def __init__(self, path: Path, digest: str | None) -> None:
        from safetensors import SafetensorError, safe_open

        self._path, self._unchecked = path, digest
        try:
            with safe_open(path, framework="numpy") as file:
                self._names = tuple(file.keys())
        except SafetensorError as error:
            raise InputError(_changed(path)) from error

    def __getitem__(self, name: str) -> NDArray[Any]:
        from safetensors import safe_open

        if name not in self._names:
            raise KeyError(name)
        if self._unchecked is not None and self._unchecked != file_digest(self._path):
            raise InputError(_changed(self._path))
        self._unchecked = None
        with safe_open(self._path, framework="numpy") as file:
            array: NDArray[Any] = file.get_tensor(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _check_free(folder: Path) -> None:
    if not folder.exists():
        return
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    others = sorted(held - {_CARD, _WEIGHTS})
    if others:
        msg = (
            f"{folder} holds {', '.join(others[:3])}, which is no part of a model and would be "
            "lost; name a folder that is not there yet, is empty, or holds a model"
        )
        raise InputError(msg)


def _read_card(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(_changed(path)) from error
    if not isinstance(content, dict):
        raise InputError(_changed(path))
    return content


def _changed(path: Path) -> str:
    return (
        f"{path} is not as it was written: cut short, edited, or from another model. Copy the "
        "folder again, or fit and save again"
    )
