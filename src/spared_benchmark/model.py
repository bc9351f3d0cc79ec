"""A fitted method on disk: a folder with ``card.json`` and ``weights.safetensors``.

Nothing in it can run code when it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.atomic import atomic_path
from spared_benchmark.errors import InputError

_CARD, _WEIGHTS = "card.json", "weights.safetensors"


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
        """Write the model as ``folder``, atomically."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(array) for name, array in self.weights.items()}
        with atomic_path(folder) as path:
            path.mkdir()
            save_file(arrays, path / _WEIGHTS)
            text = json.dumps(self.card, indent=1)
            (path / _CARD).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Return the model that `save` wrote.

        Raises:
            InputError: When the folder holds none.
        """
        card, weights = folder / _CARD, folder / _WEIGHTS
        if not (card.exists() and weights.exists()):
            msg = f"{folder}: no model here; {_CARD} and {_WEIGHTS} are needed"
            raise InputError(msg)
        return cls(json.loads(card.read_text(encoding="utf-8")), _StoredArrays(weights))


class _StoredArrays(Mapping[str, NDArray[Any]]):
    """The arrays of a safetensors file, read one by one."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self._path = path
        with safe_open(path, framework="numpy") as file:
            self._names = tuple(file.keys())

    def __getitem__(self, name: str) -> NDArray[Any]:
        from safetensors import safe_open

        if name not in self._names:
            raise KeyError(name)
        with safe_open(self._path, framework="numpy") as file:
            array: NDArray[Any] = file.get_tensor(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
