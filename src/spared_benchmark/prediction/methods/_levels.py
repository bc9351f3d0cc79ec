"""HGGEP's image network: edges of a patch, then three levels of a ShuffleNet, with attention."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from spared_benchmark.compat.torchvision import ensure_torchvision
from spared_benchmark.prediction.image_networks import build
from spared_benchmark.study import EncoderSettings

_PRETRAINED = "torchvision:shufflenet_v2_x0_5"
_THETA = 0.7
_SQUEEZE, _SPATIAL = 16, 7
_CROSS = (1, 3, 4, 5, 7)  # centre and sides of a 3 × 3 kernel


class CrossDifference(nn.Module):
    """A convolution with five taps, less ``theta`` times the same of a flat patch.

    Args:
        channels: In and out.
        theta: 0 is a plain convolution; with 1 a constant image gives 0 away from borders.
    """

    def __init__(self, channels: int, theta: float = _THETA) -> None:
        super().__init__()
        self.theta = theta
        self.taps = nn.Parameter(torch.empty(channels, channels, len(_CROSS)))
        nn.init.kaiming_uniform_(self.taps, a=5**0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps of half the side, ``(n, channels, side / 2, side / 2)``."""
        kernel = self.taps.new_zeros(*self.taps.shape[:2], 9)
        kernel[:, :, _CROSS] = self.taps
        kernel = kernel.unflatten(2, (3, 3))
        # A kernel of one tap that is the sum of all is what a flat patch would give.
        flat = torch.zeros_like(kernel)
        flat[:, :, 1, 1] = self.taps.sum(dim=2)
        return conv2d(images, kernel - self.theta * flat, stride=2, padding=1)


class _Edges(nn.Module):
    """Colours and differences of colours, side by side, mixed into three channels again."""

    def __init__(self) -> None:
        super().__init__()
        plain = nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False)
        self.branches = nn.ModuleList(
            nn.Sequential(layer, nn.BatchNorm2d(3), nn.ReLU6())
            for layer in (plain, CrossDifference(3))
        )
        self.mix = nn.Sequential(nn.Conv2d(6, 3, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU6())

    def forward(self, images: Tensor) -> Tensor:
        both = torch.cat([branch(images) for branch in self.branches], dim=1)
        output: Tensor = self.mix(both)
        return output


class _Attended(nn.Module):
    """Attention to channels, then to places (CBAM, Woo et al. 2018), norm, 1 × 1 convolution."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        squeezed = max(channels // _SQUEEZE, 1)
        self.channels = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1, bias=False),
        )
        self.places = nn.Conv2d(2, 1, _SPATIAL, padding=_SPATIAL // 2, bias=False)
        self.out = nn.Sequential(nn.BatchNorm2d(channels), nn.Conv2d(channels, outputs, 1))

    def forward(self, maps: Tensor) -> Tensor:
        mean, most = maps.mean((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        maps = maps * (self.channels(mean) + self.channels(most)).sigmoid()
        seen = torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], dim=1)
        output: Tensor = self.out(maps * self.places(seen).sigmoid())
        return output.flatten(1)


class Levels(nn.Module):
    """Features of a patch at three levels: the last stage, the last layer, and its maximum.

    Args:
        settings: ``weights`` (``pretrained`` for ImageNet's, of the published widths), ``repeats``
            and ``channels`` of the ShuffleNet, ``level_channels`` of the two levels with places.
        width: Of each level's features.
    """

    def __init__(self, settings: dict[str, Any], width: int) -> None:
        super().__init__()
        stage, last = settings["channels"][-2:]
        self.edges = _Edges()
        self.trunk = _trunk(settings["weights"], settings["repeats"], settings["channels"])
        self.stage = _Attended(stage, settings["level_channels"])
        self.last = _Attended(last, settings["level_channels"])
        self.whole = _Attended(last, width)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``(n, 3, width)`` of images ``(n, 3, side, side)``."""
        # A single spot has no variance to normalise by: running averages take its place.
        alone = self.training and len(images) == 1
        if alone:
            self.eval()
        trunk = self.trunk
        maps = trunk.conv1(self.edges(images))  # no pooling behind it, as published
        stage = trunk.stage4(trunk.stage3(trunk.stage2(maps)))
        last = trunk.conv5(stage)
        whole = last.amax((2, 3), keepdim=True)
        levels = torch.stack([self.stage(stage), self.last(last), self.whole(whole)], dim=1)
        if alone:
            self.train()
        return levels


def _trunk(weights: str, repeats: Sequence[int], channels: Sequence[int]) -> Any:
    if weights == "pretrained":
        network: Any = build(EncoderSettings(network=_PRETRAINED, weights="pretrained")).network
    else:
        ensure_torchvision()
        models = importlib.import_module("torchvision.models.shufflenetv2")
        network = models.ShuffleNetV2(list(repeats), list(channels))
    network.maxpool, network.fc = nn.Identity(), nn.Identity()
    return network
