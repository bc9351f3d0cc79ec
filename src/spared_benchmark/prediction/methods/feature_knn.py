"""The mean of the train spots whose frozen features are nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.prediction.bank import Bank
from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.predictor import State, train_mean
from spared_benchmark.prediction.standard import Standard
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import Size

_SETTINGS: dict[str, Any] = {"feature": "", "neighbours": (1, 10, 50, 200)}
_BANK = "bank."


class FeatureKnn(OnFeatures):
    """Retrieval without learning: what BLEEP does, in the features as they are.

    Each gene is the mean over those of the k nearest spots whose entry counts, or the train mean
    where none does. Of the numbers in ``neighbours``, validation selects one; those above the size
    of the bank are no candidates. A spot of a train slide finds none of its own slide (or of its
    neighbourhood, where there is one train slide), and as many as are left.

    Raises:
        ConfigurationError: When ``neighbours`` is empty or holds a number below 1.
    """

    card: ClassVar[Card] = Card(
        name="feature_knn",
        label="Nearest neighbours in frozen features",
        summary="Mean of the k train spots nearest in standardised features of a frozen network",
        source="Fix and Hodges 1951; as a baseline of retrieval: Xie et al., BLEEP, NeurIPS 2023",
        year=1951,
        uses=frozenset({"genes", "image"}),
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": _SETTINGS},
        version=2,
        exemptions=frozenset({"retrieval"}),
    )

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        numbers = self.settings["neighbours"]
        if not numbers or min(numbers) < 1:
            msg = f"feature_knn: neighbours {list(numbers)}; give at least one number, each above 0"
            raise ConfigurationError(msg)
        self._standard = Standard(np.zeros(0), np.zeros(0))
        self._bank: Bank | None = None
        self._mean = np.zeros(0, dtype=np.float32)
        self._k = 0

    @property
    def bank(self) -> Bank:
        """The train spots.

        Raises:
            ContractError: Before ``prepare`` or ``load_state``.
        """
        if self._bank is None:
            msg = "feature_knn has no train spots yet: call prepare or load_state first"
            raise ContractError(msg)
        return self._bank

    def prepare(self, train: Sequence[Slide]) -> None:
        """Keep the train spots; the smallest number of neighbours holds until one is chosen."""
        features = [self.features_of(slide.blind()) for slide in train]
        self._standard = Standard.of(np.concatenate(features))
        self._bank = Bank.of(train, [self._standard(values) for values in features])
        self._mean = train_mean(train)
        self._k = self._numbers()[0]

    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return the numbers of neighbours that the bank can give."""
        return [{"neighbours": number} for number in self._numbers()]

    def choose(self, candidate: Mapping[str, Any]) -> None:
        """Take one number of neighbours."""
        self._k = int(candidate["neighbours"])

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach the rows of the nearest train spots, nearest first; −1 where there are fewer."""
        keys = self._standard(self.features_of(slide))
        return {"nearest": self.bank.nearest(slide, keys, self._numbers()[-1], fewer=True)[0]}

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the means over the nearest train spots' entries that count."""
        nearest = batch.attached["nearest"][batch.query][:, : self._k]
        values, weight, mean = (
            torch.from_numpy(array).to(nearest.device)
            for array in (self.bank.values, self.bank.weight, self._mean)
        )
        total = torch.zeros((len(nearest), len(mean)), device=nearest.device)
        count = torch.zeros_like(total)
        for rows in nearest.unbind(dim=1):
            counts = weight[rows] & (rows >= 0)[:, None]
            total += torch.where(counts, values[rows], 0.0)
            count += counts
        return torch.where(count > 0, total / count.clamp(min=1), mean)

    def state(self) -> State:
        """Return scales, bank, train mean and the number of neighbours."""
        bank = {_BANK + name: array for name, array in self.bank.state().items()}
        told = {"train_mean": self._mean, "neighbours": np.array([self._k])}
        return {**self._standard.state(), **told, **bank}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over."""
        own = {name.removeprefix(_BANK): state[name] for name in state if name.startswith(_BANK)}
        self._standard, self._bank = Standard.from_state(state), Bank.from_state(own)
        self._mean = np.array(state["train_mean"])
        self._k = int(state["neighbours"][0])

    def _numbers(self) -> list[int]:
        size = len(self.bank.keys)
        asked = sorted(set(self.settings["neighbours"]))
        return [number for number in asked if number <= size] or [size]
