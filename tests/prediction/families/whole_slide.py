"""Whole slides: patches attend to one another, and counts enter the loss."""

from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.predictor import (
    NetworkPredictor,
    masked_mse,
    start_at_mean,
    train_mean,
)
from spared_benchmark.prediction.types import Sampling
from spared_benchmark.registry import Card


class WholeSlide(NetworkPredictor):
    card: ClassVar[Card] = Card(
        name="whole_slide",
        label="Whole slide",
        summary="Colours and places of all spots of a slide, one layer of attention",
        source="test",
        year=2026,
        uses=frozenset({"genes", "image", "space"}),
        sizes={"tiny": {"image_size": 8, "width": 32, "region": 0}},
        trained=True,
    )

    @property
    def sampling(self):
        return Sampling(
            kind="slide",
            region=self.settings["region"],
            image_size=self.settings["image_size"],
            counts=True,
            augment="together",
        )

    def prepare(self, train):
        super().prepare(train)
        start_at_mean(self.head, train_mean(train))

    def build(self, n_genes):
        return _Network(self.settings["width"], n_genes)

    def loss(self, batch):
        y, weight = batch.labels()
        mse = masked_mse(self.forward(batch), y, weight)
        depth = torch.log1p(batch.counts[batch.query].sum(1)).mean()  # known to a loss alone
        return {"loss": mse, "depth": depth.detach()}

    def forward(self, batch):
        seen = torch.cat([normalised(batch.images()).mean(dim=(2, 3)), batch.place], dim=1)
        return self.module(seen)[batch.query]


class _Network(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(5, width), nn.GELU())
        self.attention = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, outputs)

    def forward(self, seen):
        tokens = self.embed(seen)
        query, key, value = self.attention(tokens)[None, None].chunk(3, dim=-1)
        return self.head(tokens + scaled_dot_product_attention(query, key, value)[0, 0])
