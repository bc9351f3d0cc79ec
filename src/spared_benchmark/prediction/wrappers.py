"""What can be put around any predictor instead of a special model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.images import dihedral
from spared_benchmark.prediction.predictor import (
    NetworkPredictor,
    Predictor,
    State,
    start_at_mean,
    train_mean,
)
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.study import Size

_INNER = "inner."
_VIEWS = 8


class Wrapper(Predictor):
    """A predictor that is another one but for what its subclass says.

    A method names the class of its ``inner`` predictor; settings in ``own`` are the wrapper's, all
    others go to the inner predictor.
    """

    inner: ClassVar[type[Predictor]]
    own: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        passed = {name: value for name, value in self.settings.items() if name not in self.own}
        self.within = self.inner(size, **passed)
        self.loss_is_a_mean = self.within.loss_is_a_mean

    @property
    def sampling(self) -> Sampling:
        """That of the inner predictor."""
        return self.within.sampling

    @property
    def module(self) -> nn.Module:
        """The network of the inner predictor."""
        return self.within.module

    def prepare(self, train: Sequence[Slide]) -> None:
        """Prepare the inner predictor."""
        self.within.prepare(train)

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach what the inner predictor does."""
        return self.within.attach(slide)

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the inner loss."""
        return self.within.loss(batch)

    @property
    def head(self) -> nn.Linear:
        """The output layer of the inner network.

        Raises:
            ContractError: When the inner predictor has none.
        """
        return self._network().head

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the inner prediction."""
        return self.within.predict(batch)

    def embedding(self, batch: NodeBatch) -> Tensor:
        """Return what the inner network's head works on, for the queries ``(n_queries, width)``.

        Raises:
            ContractError: When the inner predictor has no head.
        """
        return self._network().embedding(batch)

    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return those of the inner predictor."""
        return self.within.candidates()

    def choose(self, candidate: Mapping[str, Any]) -> None:
        """Let the inner predictor take one."""
        self.within.choose(candidate)

    def state(self) -> State:
        """Return the inner state."""
        return self.within.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give ``state`` to the inner predictor."""
        self.within.load_state(state)

    def _network(self) -> NetworkPredictor | Wrapper:
        if isinstance(self.within, NetworkPredictor | Wrapper):
            return self.within
        msg = f"{self.card.name}: {self.inner.__name__} has no output layer"
        raise ContractError(msg)


class Delta(Wrapper):
    """Learns the deviation from the train mean; the mean is added outside (Mejia et al. 2023)."""

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self.mean = np.zeros(0, dtype=np.float32)

    def prepare(self, train: Sequence[Slide]) -> None:
        """Take the mean of ``train`` and prepare the inner predictor on deviations from it."""
        self.mean = train_mean(train)
        self.within.prepare([replace(slide, y=slide.y - self.mean) for slide in train])

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
        self.within.load_state(
            {name.removeprefix(_INNER): state[name] for name in state if name != "mean"}
        )

    def _mean(self, device: torch.device) -> Tensor:
        return torch.from_numpy(self.mean).to(device)


class MeanBias(Wrapper):
    """The control of ``Delta``: the same network, its output bias raised by the train mean.

    Both have the same losses at the start and the same gradients: predicting deviations is an
    initialisation of the bias, nothing more.
    """

    def prepare(self, train: Sequence[Slide]) -> None:
        """Prepare the inner predictor and raise its output bias by the mean of ``train``."""
        super().prepare(train)
        start_at_mean(self.head, train_mean(train))


class EightViews(Wrapper):
    """Predicts the mean over the eight symmetric views of each patch (He et al. 2020)."""

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the mean of the inner predictions of all views."""
        pixels = batch.images()
        total = self.within.predict(batch)  # the first view is the patch as it is
        for view in range(1, _VIEWS):
            turned = dihedral(pixels, torch.tensor([view]))
            total = total + self.within.predict(replace(batch, pixels=turned))
        return total / _VIEWS


class Tiled(Wrapper):
    """Cuts each slide into ``tiles`` by ``tiles`` sections for a predictor of whole slides.

    With a ``halo`` of 0 this is what the paper does where a slide does not fit (4, 9 or 16
    sections); with more, a section also sees so many lattice steps around it, whose spots it does
    not predict.
    """

    own: ClassVar[frozenset[str]] = frozenset({"tiles", "halo"})

    @property
    def sampling(self) -> Sampling:
        """That of the inner predictor, cut."""
        cut = {name: self.settings[name] for name in sorted(self.own)}
        return replace(self.within.sampling, **cut)
