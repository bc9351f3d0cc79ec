"""ST-Net: a dense convolutional network whose predictions start at the train mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from spared_benchmark.prediction.patch_network import PatchPredictor
from spared_benchmark.prediction.predictor import start_at_mean, train_mean
from spared_benchmark.prediction.types import Slide
from spared_benchmark.prediction.wrappers import EightViews
from spared_benchmark.registry import Card

_COMMON = {"network": "densenet121", "trainable": True, "faithful": False}


def _own(image_size: int, growth: int, blocks: tuple[int, ...]) -> dict[str, Any]:
    shape = {"growth_rate": growth, "block_config": blocks}
    return {**_COMMON, "weights": "none", "image_size": image_size, "options": shape}


_CARD = Card(
    name="stnet",
    label="ST-Net",
    summary="DenseNet-121 that starts at the train mean, averaged over eight views of the patch",
    source="He et al., Nature Biomedical Engineering 2020",
    year=2020,
    uses=frozenset({"genes", "image"}),
    sizes={
        "paper": {**_COMMON, "weights": "pretrained", "image_size": 224, "options": {}},
        "small": _own(image_size=32, growth=16, blocks=(3, 6, 6, 4)),
        "tiny": _own(image_size=32, growth=4, blocks=(1, 1)),
    },
    trained=True,
    weighs=True,
)


class _DenseNet(PatchPredictor):
    """The network of one view.

    ``faithful`` is the version of the SpaRED benchmark, whose output layer starts at random; the
    publication's starts with weights of 0 and the train mean for bias, and so does ours.
    """

    card: ClassVar[Card] = _CARD

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network; unless ``faithful`` it predicts the mean of ``train``."""
        super().prepare(train)
        if not self.settings["faithful"]:
            start_at_mean(self.head, train_mean(train), zero=True)


class StNet(EightViews):
    """DenseNet-121 from ImageNet weights with a linear head, trained as every model here.

    Of the publication's training are kept: the start, the flips and turns, the eight views at
    prediction. Its channel statistics of ten batches are ImageNet's here, as in the SpaRED
    benchmark, so that a patch's prediction depends on no other patch.
    """

    card: ClassVar[Card] = _CARD
    inner = _DenseNet
