"""Stages: a patch network first, then a correction of its prediction from its embedding."""

from typing import ClassVar

import torch
from torch import nn

from spared_benchmark.prediction.sampling import batches
from spared_benchmark.prediction.selection import predict_all
from spared_benchmark.prediction.staged import Staged, device_of
from spared_benchmark.prediction.types import Sampling
from spared_benchmark.registry import Card


class TwoStages(Staged):
    card: ClassVar[Card] = Card(
        name="two_stages",
        label="Two stages",
        summary="A linear correction of the small network's prediction, from its embedding",
        source="test",
        year=2026,
        uses=frozenset({"genes", "image"}),
        sizes={"tiny": {"out_of_fold": False}},
        trained=True,
        stages=("small_cnn",),
    )

    @property
    def sampling(self):
        return Sampling()

    def shown(self, stage, slide):
        resident = stage.resident([slide], device_of(stage))
        with torch.no_grad():
            embedding = torch.cat([stage.embedding(batch) for batch in batches(resident, 512)])
        return {
            "embedding": embedding.cpu().numpy(),
            "prediction": predict_all(stage, resident).cpu().numpy(),
        }

    def build(self, n_genes):
        return _Network(self.stage.head.in_features, n_genes)

    def forward(self, batch):
        seen, before = batch.attached["embedding"], batch.attached["prediction"]
        return (before + self.module(seen))[batch.query]


class _Network(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.head = nn.Linear(inputs, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, seen):
        return self.head(seen)
