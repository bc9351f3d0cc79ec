"""The control of ViT-B+Δ: the mean in the bias."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from spared_benchmark.prediction.methods.vit_b import VitB
from spared_benchmark.prediction.wrappers import MeanBias
from spared_benchmark.registry import Card


class VitBBias(MeanBias):
    """ViT-B whose output bias starts at the train mean."""

    card: ClassVar[Card] = replace(
        VitB.card,
        name="vit_b_bias",
        label="ViT-B, bias = train mean",
        summary="ViT-B with its output bias raised by the train mean: the control of ViT-B+Δ",
        source="control of Ruiz et al. 2025 (SpaRED)",
        year=2025,
    )
    inner = VitB
