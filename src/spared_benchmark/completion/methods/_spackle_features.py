"""Features of images as inputs of a network: standardised as they were in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError

_MEAN, _DEVIATION = "image.mean", "image.deviation"


@dataclass(frozen=True, eq=False)
class Features:
    """Mean and deviation of each feature over the train spots, float32 ``(n_features,)``."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def none(cls) -> Features:
        """Return what a network without images has."""
        return cls(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32))

    @classmethod
    def of(cls, image: NDArray[np.float32] | None) -> Features:
        """Take those of the train spots ``(n_spots, n_features)``; a constant feature gives 0."""
        if image is None:
            return cls.none()
        deviation = image.std(axis=0, dtype=np.float64)
        constant = deviation <= np.finfo(np.float32).eps * np.abs(image).max(axis=0)
        scale = np.where(constant, np.inf, deviation).astype(np.float32)
        return cls(image.mean(axis=0, dtype=np.float64).astype(np.float32), scale)

    @classmethod
    def loaded(cls, state: Mapping[str, NDArray[Any]]) -> tuple[Features, dict[str, NDArray[Any]]]:
        """Return what `state` gave, and the rest of a completer's state."""
        rest = {name: array for name, array in state.items() if name not in (_MEAN, _DEVIATION)}
        if len(rest) == len(state):
            return cls.none(), rest
        return cls(np.array(state[_MEAN]), np.array(state[_DEVIATION])), rest

    def state(self) -> dict[str, NDArray[Any]]:
        """Return both as arrays; nothing where there are no images."""
        return {_MEAN: self.mean, _DEVIATION: self.deviation} if self.count else {}

    @property
    def count(self) -> int:
        """Number of features of each spot."""
        return int(self.mean.size)

    def standardised(
        self, name: str, image: NDArray[np.float32] | None
    ) -> NDArray[np.float32] | None:
        """Return the features of some spots as inputs ``(n_spots, n_features)``.

        Args:
            name: Of the completer, for the error.
            image: As shown; None where none are.

        Raises:
            ContractError: When there are other features than in the fit.
        """
        found = 0 if image is None else image.shape[1]
        if found != self.count:
            msg = (
                f"{name} was fitted with {self.count} features of each spot's image; found "
                f"{found}. Show it those of the encoder of the fit, in a study: no file or "
                "slide holds them"
            )
            raise ContractError(msg)
        return None if image is None else (image - self.mean) / self.deviation
