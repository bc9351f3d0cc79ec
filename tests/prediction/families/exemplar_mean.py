"""Exemplars: a perceptron on a spot's features and on what the like of it express."""

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from spared_benchmark.prediction.bank import Bank
from spared_benchmark.prediction.predictor import NetworkPredictor, start_at_mean, train_mean
from spared_benchmark.prediction.types import Sampling
from spared_benchmark.registry import Card

COLOURS = "colours"


class ExemplarMean(NetworkPredictor):
    card: ClassVar[Card] = Card(
        name="exemplar_mean",
        label="Exemplars",
        summary="Features and the mean of three exemplars from other train slides",
        source="test",
        year=2026,
        uses=frozenset({"genes", "image"}),
        sizes={"tiny": {"k": 3, "width": 32}},
        trained=True,
    )

    @property
    def sampling(self):
        return Sampling(features=(COLOURS,))

    def prepare(self, train):
        self.bank = Bank.of(train, [slide.features[COLOURS] for slide in train], hops=1)
        self.mean = train_mean(train)
        super().prepare(train)
        start_at_mean(self.head, self.mean)

    def attach(self, slide):
        k = min(self.settings["k"], len(self.bank.keys) - max(self.bank.sizes))
        if k == 0:  # one slide, whose spots have few others
            k = 1
        rows, _ = self.bank.nearest(slide, slide.features[COLOURS], k)
        values = np.where(self.bank.weight, self.bank.values, self.mean) - self.mean
        return {"exemplars": values[rows].mean(axis=1).astype(np.float32)}

    def build(self, n_genes):
        return _Network(3 + n_genes, self.settings["width"], n_genes)

    def forward(self, batch):
        seen = torch.cat([batch.feature(COLOURS), batch.attached["exemplars"]], dim=1)
        return self.module(seen[batch.query])

    def state(self):
        bank = {f"bank.{name}": value for name, value in self.bank.state().items()}
        return {**super().state(), "mean": self.mean, **bank}

    def load_state(self, state):
        kept = {name for name in state if name.startswith("bank.")}
        self.bank = Bank.from_state({name.removeprefix("bank."): state[name] for name in kept})
        self.mean = state["mean"]
        super().load_state({name: state[name] for name in state if name not in {*kept, "mean"}})


class _Network(nn.Module):
    def __init__(self, inputs, width, outputs):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, width), nn.GELU())
        self.head = nn.Linear(width, outputs)

    def forward(self, seen):
        return self.head(self.trunk(seen))
