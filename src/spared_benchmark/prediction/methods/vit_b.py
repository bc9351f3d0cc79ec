"""A vision transformer, fine-tuned end to end."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from spared_benchmark.compat.torchvision import import_timm
from spared_benchmark.errors import MissingInputError
from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.predictor import NetworkPredictor
from spared_benchmark.prediction.types import NodeBatch
from spared_benchmark.registry import Card

_OWN = {"network": "", "weights": "none"}


class VitB(NetworkPredictor):
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
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": {
                "image_size": 224,
                "network": "vit_base_patch16_224",
                "weights": "pretrained",
                "patch": 16,
                "width": 768,
                "depth": 12,
                "heads": 12,
            },
            "small": {**_OWN, "image_size": 32, "patch": 8, "width": 96, "depth": 4, "heads": 4},
            "tiny": {**_OWN, "image_size": 16, "patch": 8, "width": 16, "depth": 1, "heads": 2},
        },
        trained=True,
    )

    def build(self, n_genes: int) -> nn.Module:
        """Return the network.

        Raises:
            MissingInputError: When pretrained weights cannot be fetched.
        """
        wanted = self.settings
        timm = import_timm()
        if not wanted["network"]:
            return _transformer(timm, wanted, n_genes)
        pretrained = wanted["weights"] == "pretrained"
        try:
            network: nn.Module = timm.create_model(
                wanted["network"], pretrained=pretrained, num_classes=n_genes
            )
        except (OSError, RuntimeError) as error:
            if not pretrained:
                raise
            msg = (
                f"{self.card.name}: the weights of {wanted['network']!r} cannot be fetched "
                f"({error}); allow access to the model hub, or use the size 'small', which needs "
                "none"
            )
            raise MissingInputError(msg) from error
        return network

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries."""
        output: Tensor = self.module(normalised(batch.images()[batch.query]))
        return output

    def load_state(self, state: Any) -> None:
        """Build the network without fetching weights and give it those of ``state``."""
        self.settings["weights"] = "none"
        super().load_state(state)


def _transformer(timm: Any, wanted: dict[str, Any], n_genes: int) -> nn.Module:
    network: nn.Module = timm.models.VisionTransformer(
        img_size=wanted["image_size"],
        patch_size=wanted["patch"],
        embed_dim=wanted["width"],
        depth=wanted["depth"],
        num_heads=wanted["heads"],
        num_classes=n_genes,
    )
    return network
