"""The base of predictors that are a ridge on something computed from each spot."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.predictor import Predictor, State
from spared_benchmark.prediction.ridge import Solutions, solve
from spared_benchmark.prediction.sampling import batches
from spared_benchmark.prediction.standard import Standard, principal_axes
from spared_benchmark.prediction.types import NodeBatch, Slide
from spared_benchmark.study import Size

_BATCH = 512


class RidgePredictor(Predictor):
    """Standardised inputs, if asked for their principal components, then ridge with intercept.

    A method defines ``inputs``. Its settings hold ``penalties``, among which validation selects
    (on the scale of standardised inputs and mean squared errors), and ``components``, the number
    of principal components at most (0: all inputs as they are).

    Raises:
        ConfigurationError: When there is no penalty, or one is not above 0.
    """

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        penalties = self.settings["penalties"]
        if not penalties or min(penalties) <= 0:
            msg = (
                f"{self.card.name}: penalties {list(penalties)}; give at least one, each above 0: "
                "0 has no single solution where inputs depend on one another"
            )
            raise ConfigurationError(msg)
        self._solutions: Solutions | None = None
        self._rotation = np.zeros((0, 0))
        self._state: State = {}

    @abstractmethod
    def inputs(self, batch: NodeBatch) -> Tensor:
        """Return what the ridge works on, ``(n_queries, d)``."""

    def prepare(self, train: Sequence[Slide]) -> None:
        """Solve for every penalty; the first holds until another is chosen."""
        resident = self.resident([slide.blind() for slide in train])
        inputs = np.concatenate([self.inputs(b).numpy() for b in batches(resident, _BATCH)])
        standard = Standard.of(inputs)
        values = standard(inputs)
        axes = principal_axes(values, self.settings["components"])
        y = np.concatenate([slide.y for slide in train])
        weight = np.concatenate([slide.weight for slide in train])
        self._solutions = solve(values @ axes, y, weight, self.settings["penalties"])
        # Coefficients act on raw inputs: standardising and rotating are folded into them.
        self._rotation = axes / standard.scale[:, None]
        self._state = {"mean": standard.mean}
        self.choose(self.candidates()[0])

    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return the penalties."""
        return [{"penalty": penalty} for penalty in self.settings["penalties"]]

    def choose(self, candidate: Mapping[str, Any]) -> None:
        """Take the solution of one penalty."""
        if self._solutions is None:
            super().choose(candidate)
            return
        place = list(self.settings["penalties"]).index(candidate["penalty"])
        self._state["coefficients"] = self._rotation @ self._solutions.coefficients[place]
        self._state["intercept"] = self._solutions.intercepts[place]

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
