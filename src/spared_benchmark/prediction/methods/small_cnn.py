"""A plain small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.predictor import NetworkPredictor, start_at_mean, train_mean
from spared_benchmark.prediction.types import NodeBatch, Sampling, Slide
from spared_benchmark.registry import Card

_GROUPS = 4


class SmallCnn(NetworkPredictor):
    """Strided convolutions, the mean over places, one linear layer.

    Normalised by groups of channels and not by batches: a prediction depends on its patch alone.
    The output starts at the train mean, which a short training would not reach from zero.
    """

    card: ClassVar[Card] = Card(
        name="small_cnn",
        label="Small CNN",
        summary="A plain convolutional network trained from scratch",
        source="baseline",
        year=2025,
        version=2,
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": {"image_size": 224, "widths": (32, 64, 128, 256, 256)},
            "small": {"image_size": 32, "widths": (32, 64, 128)},
            "tiny": {"image_size": 16, "widths": (8, 16)},
        },
        trained=True,
        weighs=True,
    )

    @property
    def sampling(self) -> Sampling:
        """Patches at the size's resolution, each turned at random."""
        return Sampling(image_size=self.settings["image_size"], augment="each")

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network and raise its output bias by the mean of ``train``."""
        super().prepare(train)
        start_at_mean(self.head, train_mean(train))

    def build(self, n_genes: int) -> nn.Module:
        """Return the network."""
        return _Network(self.settings["widths"], n_genes)

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries."""
        output: Tensor = self.module(normalised(batch.images()[batch.query]))
        return output


class _Network(nn.Module):
    def __init__(self, widths: tuple[int, ...], n_genes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(before, width, kernel_size=3, stride=2, padding=1, bias=False),
                nn.GroupNorm(_GROUPS, width),
                nn.GELU(),
            ]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], n_genes)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.head(self.trunk(images).mean(dim=(2, 3)))
        return output
