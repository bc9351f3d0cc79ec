"""A vision transformer, fine-tuned end to end."""

from __future__ import annotations

from typing import Any, ClassVar

from spared_benchmark.prediction.patch_network import PatchPredictor
from spared_benchmark.registry import Card

_COMMON = {"network": "vit_base_patch16_224", "trainable": True, "faithful": False}


def _own(image_size: int, width: int, depth: int, heads: int) -> dict[str, Any]:
    shape = {"embed_dim": width, "depth": depth, "num_heads": heads, "patch_size": 8}
    return {**_COMMON, "weights": "none", "image_size": image_size, "options": shape}


class VitB(PatchPredictor):
    """ViT-B/16 with a linear head on the class token, as a baseline of the SpaRED benchmark.

    At the paper's size it is timm's ``vit_base_patch16_224`` with ImageNet weights (of another
    recipe than torchvision's, which the paper loads). The smaller sizes have the same
    architecture, fewer and narrower layers, and start from random weights.
    """

    card: ClassVar[Card] = Card(
        name="vit_b",
        label="ViT-B",
        summary="A vision transformer fine-tuned end to end",
        source="Dosovitskiy et al., ICLR 2021; baseline of Ruiz et al. 2025 (SpaRED)",
        year=2021,
        version=2,
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": {**_COMMON, "weights": "pretrained", "image_size": 224, "options": {}},
            "small": _own(image_size=32, width=96, depth=4, heads=4),
            "tiny": _own(image_size=16, width=16, depth=1, heads=2),
        },
        trained=True,
        weighs=True,
    )
