"""Tiles: the whole-slide predictor in sections with a halo."""

from dataclasses import replace
from typing import ClassVar

from families.whole_slide import WholeSlide
from spared_benchmark.prediction.wrappers import Tiled
from spared_benchmark.registry import Card


class TiledSlide(Tiled):
    card: ClassVar[Card] = replace(
        WholeSlide.card,
        name="tiled_slide",
        label="Whole slide, in tiles",
        sizes={"tiny": {**WholeSlide.card.sizes["tiny"], "tiles": 2, "halo": 1}},
    )
    inner = WholeSlide
