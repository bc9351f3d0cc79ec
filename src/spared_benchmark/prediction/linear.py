"""The base of predictors that are a ridge on something computed from each spot."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.prediction.predictor import Predictor, State
from spared_benchmark.prediction.ridge import Moments, moments, solve
from spared_benchmark.prediction.sampling import batches
from spared_benchmark.prediction.types import NodeBatch, Slide
from spared_benchmark.study import Size

_BATCH = 512


class RidgePredictor(Predictor):
    """Standardised inputs, if asked for their principal components, then ridge with intercept.

    A method defines ``inputs``. Its settings hold ``penalties``, among which validation selects
    (on the scale of standardised inputs and mean squared errors), and ``components``, the number
    of principal components at most (0: all inputs as they are).
    """

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self._moments: Moments | None = None
        self._state: State = {}

    @abstractmethod
    def inputs(self, batch: NodeBatch) -> Tensor:
        """Return what the ridge works on, ``(n_queries, d)``."""

    def prepare(self, train: Sequence[Slide]) -> None:
        """Compute the moments of ``train``; the first penalty holds until another is chosen."""
        resident = self.resident([slide.blind() for slide in train])
        parts = [self.inputs(batch).double().numpy() for batch in batches(resident, _BATCH)]
        inputs = np.concatenate(parts)
        mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
        scale = np.where(deviation > 1e-9 * (1 + np.abs(mean)), deviation, np.inf)
        standard = (inputs - mean) / scale
        axes = _principal_axes(standard, self.settings["components"])
        y = np.concatenate([slide.y for slide in train])
        weight = np.concatenate([slide.weight for slide in train])
        self._moments = moments(standard @ axes, y, weight)
        # Coefficients act on raw inputs: standardising and rotating are folded into them.
        self._state = {"mean": mean, "rotation": axes / scale[:, None]}
        self.choose(self.candidates()[0])

    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return the penalties."""
        return [{"penalty": penalty} for penalty in self.settings["penalties"]]

    def choose(self, candidate: Mapping[str, Any]) -> None:
        """Solve for one penalty."""
        if self._moments is None:
            super().choose(candidate)
            return
        coefficients, intercept = solve(self._moments, candidate["penalty"])
        self._state["coefficients"] = self._state["rotation"] @ coefficients
        self._state["intercept"] = intercept

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the linear prediction."""
        inputs = self.inputs(batch).double()
        mean, slope, intercept = (
            torch.from_numpy(self._state[name]).to(inputs.device)
            for name in ("mean", "coefficients", "intercept")
        )
        return ((inputs - mean) @ slope + intercept).float()

    def state(self) -> State:
        """Return mean, coefficients and intercept."""
        names = ("mean", "coefficients", "intercept")
        return {name: self._state[name].copy() for name in names}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over."""
        self._state = {name: np.array(value) for name, value in state.items()}


def _principal_axes(standard: NDArray[np.float64], components: int) -> NDArray[np.float64]:
    """Return the leading axes ``(d, min(components, d))``, or the identity for 0."""
    width = standard.shape[1]
    if components == 0 or components >= width:
        return np.eye(width)
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    order = np.argsort(values)[::-1][:components]
    axes = vectors[:, order]
    # Eigenvectors have no sign of their own; one is fixed so that runs agree.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return np.ascontiguousarray(axes)
