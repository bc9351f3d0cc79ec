"""The mean of each gene over train spots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.prediction.predictor import Predictor, State, train_mean
from spared_benchmark.prediction.types import NodeBatch, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import Size


class TrainMean(Predictor):
    """Predicts the same value for every spot: what knowing nothing of the spot gives."""

    card: ClassVar[Card] = Card(
        name="train_mean",
        label="Train mean",
        summary="Each gene's mean over the train entries that count in the loss",
        source="control",
        year=2025,
        uses=frozenset({"genes"}),
        kind="control",
        weighs=True,
        exemptions=frozenset({"closed_form"}),
    )

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self.mean = np.zeros(0, dtype=np.float32)

    def prepare(self, train: Sequence[Slide]) -> None:
        """Take the mean."""
        self.mean = train_mean(train)

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the mean for every query."""
        mean = torch.from_numpy(self.mean).to(batch.query.device)
        return mean.expand(int(batch.query.sum()), -1)

    def state(self) -> State:
        """Return the mean."""
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over the mean."""
        self.mean = np.array(state["mean"])
