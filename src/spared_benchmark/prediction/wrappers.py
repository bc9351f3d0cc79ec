"""Ways to start from the train mean, for any predictor with a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.prediction.predictor import NetworkPredictor, Predictor, State, train_mean
from spared_benchmark.prediction.types import BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.study import Size

_INNER = "inner."


class Delta(Predictor):
    """Learns the deviation from the train mean; the mean is added outside (Mejia et al. 2023).

    A method names the class of its ``inner`` predictor.
    """

    inner: ClassVar[type[Predictor]]

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self.within = self.inner(size, **settings)
        self.mean = np.zeros(0, dtype=np.float32)

    @property
    def sampling(self) -> Sampling:
        """That of the inner predictor."""
        return self.within.sampling

    @property
    def module(self) -> nn.Module:
        """The network of the inner predictor."""
        return self.within.module

    def prepare(self, train: Sequence[Slide]) -> None:
        """Take the mean of ``train`` and prepare the inner predictor on deviations from it."""
        self.mean = train_mean(train)
        self.within.prepare([replace(slide, y=slide.y - self.mean) for slide in train])

    def attach(self, slide: BlindSlide) -> None:
        """Attach to the inner predictor."""
        self.within.attach(slide)

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the inner loss on deviations."""
        if batch.y is None:
            batch.labels()
        else:
            batch = replace(batch, y=batch.y - self._mean(batch.y.device))
        return self.within.loss(batch)

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return mean plus predicted deviation."""
        deviation = self.within.predict(batch)
        return self._mean(deviation.device) + deviation

    def state(self) -> State:
        """Return the mean and the inner state."""
        inner = {_INNER + name: value for name, value in self.within.state().items()}
        return {"mean": self.mean, **inner}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over the mean and the inner state."""
        self.mean = np.array(state["mean"], dtype=np.float32)
        inner = {name.removeprefix(_INNER): value for name, value in state.items()}
        self.within.load_state({name: inner[name] for name in inner if name != "mean"})

    def _mean(self, device: torch.device) -> Tensor:
        return torch.from_numpy(self.mean).to(device)


class MeanBias(NetworkPredictor):
    """The control of ``Delta``: the same network, its output bias raised by the train mean.

    Both have the same losses at the start and the same gradients: predicting deviations is an
    initialisation of the bias, nothing more.
    """

    inner: ClassVar[type[NetworkPredictor]]

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self.within = self.inner(size, **settings)

    @property
    def sampling(self) -> Sampling:
        """That of the inner predictor."""
        return self.within.sampling

    @property
    def module(self) -> nn.Module:
        """The network of the inner predictor."""
        return self.within.module

    def build(self, n_genes: int) -> nn.Module:
        """Return the inner predictor's network."""
        return self.within.build(n_genes)

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the inner network's output."""
        return self.within.forward(batch)

    def prepare(self, train: Sequence[Slide]) -> None:
        """Prepare the inner predictor and raise its output bias by the mean of ``train``."""
        self.within.prepare(train)
        with torch.no_grad():
            self.within.head.bias.add_(torch.from_numpy(train_mean(train)))

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give the weights to the inner predictor."""
        self.within.load_state(state)
