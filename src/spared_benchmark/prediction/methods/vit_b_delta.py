"""ViT-B on deviations from the train mean."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from spared_benchmark.prediction.methods.vit_b import VitB
from spared_benchmark.prediction.wrappers import Delta
from spared_benchmark.registry import Card


class VitBDelta(Delta):
    """ViT-B+Δ: the network learns the deviation, the mean is added outside."""

    card: ClassVar[Card] = replace(
        VitB.card,
        name="vit_b_delta",
        label="ViT-B+Δ",
        summary="ViT-B on deviations from the train mean",
        source="Ruiz et al. 2025 (SpaRED)",
        year=2025,
    )
    inner = VitB
