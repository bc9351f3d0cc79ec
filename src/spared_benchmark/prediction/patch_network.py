"""The base of predictors that see one patch: an image network with a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spared_benchmark.prediction.encoders import PatchEncoder
from spared_benchmark.prediction.predictor import NetworkPredictor
from spared_benchmark.prediction.types import Augment, NodeBatch, Sampling
from spared_benchmark.study import EncoderSettings


class PatchPredictor(NetworkPredictor):
    """An image network, fine-tuned or frozen, and one linear layer on its features.

    A method is its card. The settings of its sizes:

    * ``network``, ``weights``, ``options``, ``image_size``: see `PatchEncoder`;
    * ``trainable``: fine-tuned (true) or frozen, the head alone being trained;
    * ``faithful``: as the published code has it. Of all patch models: one random turn for a whole
      batch, where each patch should have its own.
    """

    @property
    def sampling(self) -> Sampling:
        """Patches at the size's resolution, augmented."""
        augment: Augment = "together" if self.settings["faithful"] else "each"
        return Sampling(image_size=self.settings["image_size"], augment=augment)

    def build(self, n_genes: int) -> nn.Module:
        """Return encoder and head.

        Raises:
            MissingInputError: When pretrained weights cannot be fetched.
        """
        names = ("network", "weights", "options", "image_size")
        wanted = EncoderSettings(**{name: self.settings[name] for name in names})
        return _PatchNetwork(PatchEncoder(wanted, trainable=self.settings["trainable"]), n_genes)

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries."""
        output: Tensor = self.module(batch.images()[batch.query])
        return output


class _PatchNetwork(nn.Module):
    def __init__(self, encoder: PatchEncoder, n_genes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(_width(encoder), n_genes)

    def forward(self, pixels: Tensor) -> Tensor:
        output: Tensor = self.head(self.encoder(pixels))
        return output


def _width(encoder: PatchEncoder) -> int:
    """Return how many features the encoder gives, by trying: only timm names it."""
    named = getattr(encoder.network, "num_features", None)
    if isinstance(named, int):
        return named
    own = next(encoder.parameters())
    side, training = encoder.side, encoder.training
    with torch.no_grad():
        image = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=own.device)
        width = encoder.eval()(image).shape[1]
    encoder.train(training)
    return int(width)
