"""The smallest published baseline: a network for phones, fine-tuned end to end."""

from __future__ import annotations

from typing import ClassVar

from spared_benchmark.prediction.patch_network import PatchPredictor
from spared_benchmark.registry import Card

_COMMON = {
    "network": "torchvision:shufflenet_v2_x0_5",
    "weights": "none",
    "options": {},
    "trainable": True,
    "faithful": False,
}


class ShuffleNet(PatchPredictor):
    """ShuffleNetV2 x0.5 with its last layer replaced, as a baseline of the SpaRED benchmark.

    It is small enough that the size ``small`` has the same layers, on smaller patches and from
    random weights.
    """

    card: ClassVar[Card] = Card(
        name="shufflenet",
        label="ShuffleNet",
        summary="ShuffleNetV2 x0.5 fine-tuned end to end",
        source="Ma et al., ECCV 2018; baseline of Ruiz et al. 2025 (SpaRED)",
        year=2018,
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": {**_COMMON, "weights": "pretrained", "image_size": 224},
            "small": {**_COMMON, "image_size": 32},
            "tiny": {**_COMMON, "image_size": 32},
        },
        trained=True,
        weighs=True,
    )
