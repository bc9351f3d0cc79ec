"""The base of models that are shown train spots that look like the query (EGN, EGGN)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.bank import Bank, Metric
from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.methods._correlation import mse_and_correlation
from spared_benchmark.prediction.predictor import (
    NetworkPredictor,
    State,
    start_at_mean,
    train_mean,
)
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.standard import Standard
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.study import Size

_BANK, _SCALES = "bank.", "scales."


class OnExemplars(OnFeatures, NetworkPredictor):
    """Finds exemplars by frozen features, among the spots of train slides.

    The setting ``feature`` names the encoder, ``exemplars`` is how many each spot is shown. None
    comes from the query's own slide (or its neighbourhood, where there is one train slide), in
    training and prediction alike. Where fewer are left, −1 stands for the rest.

    Features are standardised over train, exemplars bring deviations from the train mean (0 for
    entries that do not count), and the output starts at that mean. With ``faithful`` features and
    expression are taken as they are and the output starts at random. All are trained by Adam, as
    every network here is; the published AdamW with a decay of 1e-4 and its schedules are not
    reproduced.
    """

    metric: ClassVar[Metric] = "euclidean"
    # Features of the published encoder: what the network is built for before there are others.
    published_features: ClassVar[int]
    loss_is_a_mean = False  # it holds correlations over the batch

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        unknown = np.zeros(self.published_features)
        self._standard = Standard(unknown, unknown + 1)
        self._bank: Bank | None = None
        self._mean = np.zeros(0, dtype=np.float32)
        self._on: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @property
    def bank(self) -> Bank:
        """The train spots.

        Raises:
            ContractError: Before ``prepare`` or ``load_state``.
        """
        if self._bank is None:
            msg = f"{self.card.name} has no train spots yet: call prepare or load_state first"
            raise ContractError(msg)
        return self._bank

    @property
    def n_features(self) -> int:
        """Width of the frozen features."""
        return len(self._standard.mean)

    def prepare(self, train: Sequence[Slide]) -> None:
        """Keep the train spots and build the network."""
        features = [self.features_of(slide.blind()) for slide in train]
        faithful, width = self.settings["faithful"], features[0].shape[1]
        plain = Standard(np.zeros(width), np.ones(width))
        self._standard = plain if faithful else Standard.of(np.concatenate(features))
        self._bank = Bank.of(train, [self._standard(values) for values in features])
        self._mean, self._on = train_mean(train), {}
        super().prepare(train)
        if not faithful:
            start_at_mean(self.head, self._mean)

    def features_of(self, slide: BlindSlide) -> NDArray[np.float32]:
        """Return the features of a slide's spots, ``(n_spots, n_features)``; no pixels are read."""
        resident = Resident.of([slide], Sampling(features=(self.feature,)))
        values: NDArray[np.float32] = resident.features[self.feature].numpy()
        return values

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach the bank rows of each spot's exemplars, nearest first ``(n_spots, exemplars)``."""
        return {"exemplars": self.exemplars(slide)}

    def exemplars(
        self, slide: BlindSlide, parts: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Return what `attach` says, with the ``parts`` of `Bank.excluded`."""
        keys, wanted = self._standard(self.features_of(slide)), int(self.settings["exemplars"])
        return self.bank.nearest(slide, keys, wanted, self.metric, fewer=True, parts=parts)[0]

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the squared error with the correlation of genes, over entries that count."""
        y, weight = batch.labels()
        return mse_and_correlation(self.forward(batch), y, weight)

    def standardised(self, batch: NodeBatch) -> Tensor:
        """Return the features of all nodes, ``(n_nodes, n_features)``."""
        features = batch.feature(self.feature)
        mean, scale = (
            torch.from_numpy(values).to(features.device, torch.float32)
            for values in (self._standard.mean, self._standard.scale)
        )
        return (features - mean) / scale

    def shown(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return features ``(n_bank, n_features)`` and expression of all train spots."""
        if device not in self._on:
            bank, expression = self.bank, self.bank.values
            if not self.settings["faithful"]:
                expression = np.where(bank.weight, bank.values - self._mean, np.float32(0))
            keys = torch.from_numpy(bank.keys).to(device)
            self._on[device] = keys, torch.from_numpy(expression).to(device)
        return self._on[device]

    def state(self) -> State:
        """Return weights, bank, scales and train mean."""
        bank = {_BANK + name: array for name, array in self.bank.state().items()}
        scales = {_SCALES + name: array for name, array in self._standard.state().items()}
        return {**super().state(), **bank, **scales, "train_mean": self._mean}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over."""
        own = {name: state[name] for name in state if name != "train_mean"}
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for prefix in (_BANK, _SCALES):
            names = [name for name in own if name.startswith(prefix)]
            parts[prefix] = {name.removeprefix(prefix): own.pop(name) for name in names}
        self._bank, self._on = Bank.from_state(parts[_BANK]), {}
        self._standard = Standard.from_state(parts[_SCALES])
        self._mean = np.array(state["train_mean"])
        super().load_state(own)
