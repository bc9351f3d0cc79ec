"""A fixed random image network: a useful encoder where no weights are at hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

_SCALES = (1, 2, 4)


class RandomConv(nn.Module):
    """Random filters at three scales, pooled to mean and deviation, beside the colours.

    Convolution with random filters and pooling is a strong image descriptor without any training
    (Saxe et al. 2011). Output ``(n, 6 + 3 · 2 · filters)``.
    """

    def __init__(self, filters: int = 48, kernel: int = 5) -> None:
        super().__init__()
        self.filters = nn.ModuleList(
            nn.Conv2d(3, filters, kernel, padding=kernel // 2, padding_mode="reflect", bias=False)
            for _ in _SCALES
        )
        for convolution in self.filters:
            weight = torch.randn(filters, 3, kernel, kernel)
            # Without their mean the filters answer to structure; the colours come beside them.
            weight = weight - weight.mean(dim=(2, 3), keepdim=True)
            norm = weight.flatten(1).norm(dim=1)[:, None, None, None]
            convolution.weight.data = weight / norm
        self.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of normalised ``images`` ``(n, 3, side, side)``."""
        # Deviations of nearly constant maps would be lost in a narrower type.
        with torch.autocast(images.device.type, enabled=False):
            pooled = [_pooled(images)]
            for scale, convolution in zip(_SCALES, self.filters, strict=True):
                scaled = avg_pool2d(images, scale) if scale > 1 else images
                pooled.append(_pooled(torch.relu(convolution(scaled))))
        return torch.cat(pooled, dim=1)


def _pooled(maps: Tensor) -> Tensor:
    places = maps.flatten(2)
    return torch.cat([places.mean(dim=2), places.std(dim=2, correction=0)], dim=1)
