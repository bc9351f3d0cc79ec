"""Local graphs: a perceptron on a spot's patch and on the mean of its lattice neighbours'."""

from typing import ClassVar

import torch
from torch import nn

from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.predictor import NetworkPredictor, start_at_mean, train_mean
from spared_benchmark.prediction.types import Sampling
from spared_benchmark.registry import Card


class Neighbourhood(NetworkPredictor):
    card: ClassVar[Card] = Card(
        name="neighbourhood",
        label="Neighbourhood",
        summary="Mean colours of a patch and of the patches around it",
        source="test",
        year=2026,
        uses=frozenset({"genes", "image", "space"}),
        sizes={"tiny": {"image_size": 8, "width": 32}},
        trained=True,
    )

    @property
    def sampling(self):
        return Sampling(kind="ego", hops=1, image_size=self.settings["image_size"], augment="each")

    def prepare(self, train):
        super().prepare(train)
        start_at_mean(self.head, train_mean(train))

    def build(self, n_genes):
        return _Network(self.settings["width"], n_genes)

    def forward(self, batch):
        colours = normalised(batch.images()).mean(dim=(2, 3))
        around = batch.lattice()[batch.query]
        known = (around >= 0).float()[:, :, None]
        mean = (colours[around.clamp(min=0)] * known).sum(1) / known.sum(1).clamp(min=1)
        return self.module(torch.cat([colours[batch.query], mean], dim=1))


class _Network(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, width), nn.GELU())
        self.head = nn.Linear(width, outputs)

    def forward(self, seen):
        return self.head(self.trunk(seen))
