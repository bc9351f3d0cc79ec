"""HisToGene: the patches of a slide are the tokens of a vision transformer."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from spared_benchmark.prediction.methods._slide_predictor import (
    SLIDE_SETTINGS,
    Layout,
    SlideModule,
    SlidePredictor,
)
from spared_benchmark.prediction.methods._slide_transformer import (
    PlaceTables,
    Shape,
    SlideTransformer,
)
from spared_benchmark.registry import Card


def _shape(**sizes: int) -> dict[str, Any]:
    return {**SLIDE_SETTINGS, **sizes, "dropout": 0.1}


class HisToGene(SlidePredictor):
    """One linear map of each patch, learnt rows and columns, a transformer over the slide.

    Size ``paper`` is the one of the SpaRED benchmark (224 pixels, 8 layers, 128 positions); the
    publication's has 112 pixels, 64 positions, and 4 layers or 8.
    """

    card: ClassVar[Card] = Card(
        name="histogene",
        label="HisToGene",
        summary="A vision transformer whose tokens are the patches of a whole slide",
        source="Pang et al., bioRxiv 2021; settings of Ruiz et al. 2025 (SpaRED)",
        year=2021,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": {
                **_shape(width=1024, depth=8, heads=16, head_width=64, hidden=2048),
                "image_size": 224,
                "checkpoint": True,
            },
            "small": {
                **_shape(width=96, depth=4, heads=4, head_width=24, hidden=192),
                "image_size": 32,
            },
            "tiny": {
                **_shape(width=32, depth=1, heads=2, head_width=16, hidden=64),
                "image_size": 8,
                "dropout": 0.0,
            },
        },
        trained=True,
        weighs=True,
    )

    def build(self, n_genes: int) -> SlideModule:
        """Return the network."""
        return _Network(self.settings, n_genes)


class _Network(SlideModule):
    def __init__(self, settings: dict[str, Any], n_genes: int) -> None:
        super().__init__()
        shape = Shape.of(settings)
        self.patch = nn.Linear(3 * settings["image_size"] ** 2, shape.width)
        self.place = PlaceTables(settings["positions"], shape.width, blank=not settings["faithful"])
        self.dropout = nn.Dropout(shape.dropout)
        self.transformer = SlideTransformer(shape, remember=not settings["checkpoint"])
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, n_genes)

    def features(self, images: Tensor, layout: Layout) -> Tensor:
        tokens = self.patch(images.flatten(1)) + self.place(layout.array_rc)
        output: Tensor = self.transformer(self.dropout(tokens), layout.mask)
        return output
