"""What every predictor is: prepared on train slides, then asked for blind ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.errors import ConfigurationError, ContractError, nearest
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import Size

State = dict[str, NDArray[Any]]
# A sum of weights below it is that of a batch in which nothing counts.
_SMALLEST = 1e-6


class Predictor(ABC):
    """Predicts the expression of spots from what a blind slide shows.

    A method defines ``card``, ``sampling``, ``prepare`` and ``predict``; one with a gradient loop
    also ``module`` and ``loss``; a closed form with a hyper-parameter to select also
    ``candidates`` and ``choose``; one that looks at a slide as a whole ``attach``. Validation
    labels are held by the trainer alone.
    """

    card: ClassVar[Card]
    # Whether the loss of a batch is a mean over its entries, so that a batch that does not fit into
    # memory can be computed in parts. A contrastive loss is not.
    loss_is_a_mean: bool = True

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        known = self.card.settings(size)
        for name in settings:
            if name not in known:
                msg = (
                    f"{self.card.name}: unknown setting {name!r}{nearest(name, known)}; "
                    f"it has {', '.join(known) or 'none'}"
                )
                raise ConfigurationError(msg)
        self.size = size
        self.settings: dict[str, Any] = {**known, **settings}

    @property
    def sampling(self) -> Sampling:
        """Which spots are wanted together, and what of them."""
        return Sampling()

    @property
    def trained(self) -> bool:
        """Whether a gradient loop trains it."""
        return self.card.trained

    @property
    def module(self) -> nn.Module:
        """The network of a trained predictor.

        Raises:
            ContractError: For a closed form, or before ``prepare`` or ``load_state``.
        """
        msg = f"{self.card.name} has no network: it is a closed form or was not prepared yet"
        raise ContractError(msg)

    @abstractmethod
    def prepare(self, train: Sequence[Slide]) -> None:
        """Compute everything that comes from train slides before the loop (or instead of it)."""

    def attach(self, slide: BlindSlide) -> Attached:
        """Compute what is needed of one slide, without its labels, after ``prepare``.

        Exemplars found in a bank, predictions of an earlier stage, what the slide looks like as a
        whole: arrays with a row per spot, which reach ``loss`` and ``predict`` as
        ``batch.attached``. Train slides come blind too.
        """
        del slide
        return {}

    def resident(self, slides: Sequence[BlindSlide], device: str = "cpu") -> Resident:
        """Return ``slides`` on ``device`` with what the predictor attaches to each, seen blind."""
        blind = [slide.blind() if isinstance(slide, Slide) else slide for slide in slides]
        return Resident.of(slides, self.sampling, device, [self.attach(slide) for slide in blind])

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the terms of the loss on a batch of train spots, among them ``loss``."""
        msg = f"{self.card.name} has no loss: it is a closed form (batch of {len(batch.spot)})"
        raise ContractError(msg)

    @abstractmethod
    def predict(self, batch: NodeBatch) -> Tensor:
        """Return ``(n_queries, n_genes)`` in absolute units of the target."""

    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return the hyper-parameter settings among which validation selects."""
        return ()

    def choose(self, candidate: Mapping[str, Any]) -> None:
        """Take one of the ``candidates``; called after ``prepare``."""
        msg = f"{self.card.name} has nothing to choose; found {dict(candidate)}"
        raise ContractError(msg)

    @abstractmethod
    def state(self) -> State:
        """Return everything that prediction needs, as arrays."""

    @abstractmethod
    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what ``state`` returned; no ``prepare`` is needed then."""


class NetworkPredictor(Predictor):
    """A network trained end to end by mean squared error.

    A method defines ``build`` and ``forward``; its output layer is the attribute ``head`` of the
    module.
    """

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self._module: nn.Module | None = None

    @property
    def module(self) -> nn.Module:
        """The network."""
        return super().module if self._module is None else self._module

    @property
    def head(self) -> nn.Linear:
        """The output layer."""
        head = self.module.head
        if not isinstance(head, nn.Linear):
            msg = f"{self.card.name}: the head must be one linear layer; found {head!r}"
            raise ContractError(msg)
        return head

    @abstractmethod
    def build(self, n_genes: int) -> nn.Module:
        """Return a fresh network, drawn from torch's global generator."""

    @abstractmethod
    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the network's output for the queries, ``(n_queries, n_genes)``."""

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network for the genes of ``train``."""
        self._module = self.build(train[0].y.shape[1])

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the mean squared error over the entries that count, as much as they do."""
        y, weight = batch.labels()
        return {"loss": masked_mse(self.forward(batch), y, weight)}

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the network's output."""
        return self.forward(batch)

    def embedding(self, batch: NodeBatch) -> Tensor:
        """Return what the head works on, for the queries ``(n_queries, width)``."""
        seen: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.forward(batch)
        finally:
            handle.remove()
        return seen[0]

    def state(self) -> State:
        """Return the weights."""
        weights = self.module.state_dict()
        return {name: value.to("cpu", copy=True).numpy() for name, value in weights.items()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Build the network and give it the weights."""
        self._module = self.rebuilt(len(state["head.bias"]))
        self._module.load_state_dict(
            {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        )

    def rebuilt(self, n_genes: int) -> nn.Module:
        """Return what ``build`` does, for weights that are known: none are fetched."""
        asked = self.settings
        self.settings = {**asked, "weights": "none"} if "weights" in asked else asked
        try:
            return self.build(n_genes)
        finally:
            self.settings = asked


def start_at_mean(head: nn.Linear, mean: NDArray[np.float32], *, zero: bool = False) -> None:
    """Raise the bias of ``head`` by ``mean`` ``(n_genes,)``; with ``zero`` it outputs just that."""
    with torch.no_grad():
        if zero:
            head.weight.zero_()
            head.bias.zero_()
        head.bias.add_(torch.from_numpy(mean).to(head.bias.device))


def masked_mse(prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of squared errors, all ``(n, n_genes)``.

    Args:
        prediction: Of the target.
        y: The target; not read where the weight is 0.
        weight: Whether entries count (bool: the mean is over those) or how much.
    """
    error = torch.where(weight > 0, prediction - y, 0.0)
    return (weight * error.square()).sum() / weight.sum().clamp(min=_SMALLEST)


def train_mean(train: Sequence[Slide]) -> NDArray[np.float32]:
    """Return the mean of each gene over the train entries that count in the loss, ``(n_genes,)``.

    Entries enter it with their weight. A gene with no such entry takes the mean of all of them.
    """
    n_genes = train[0].y.shape[1]
    total, count = np.zeros(n_genes), np.zeros(n_genes)
    for slide in train:
        counted = np.where(slide.counted, slide.y, 0) * slide.weight
        total += counted.sum(axis=0, dtype=np.float64)
        count += slide.weight.sum(axis=0, dtype=np.float64)
    overall = total.sum() / max(count.sum(), _SMALLEST)
    mean = np.full(n_genes, overall, dtype=np.float64)
    np.divide(total, count, out=mean, where=count > 0)
    return mean.astype(np.float32)
