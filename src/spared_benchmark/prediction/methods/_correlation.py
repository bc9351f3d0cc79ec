"""The loss of the exemplar models: squared error, and the correlation of each gene."""

from __future__ import annotations

import torch
from torch import Tensor

from spared_benchmark.prediction.predictor import masked_mse

_SHARE = 0.5
# Added to the variance of predictions: a constant one has correlation 0 and a finite gradient.
_SMALLEST = 1e-6


def mse_and_correlation(prediction: Tensor, y: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Return ``MSE + 0.5 · (1 − mean correlation of genes)`` and both terms.

    Over the entries with ``weight``, all ``(n, n_genes)``. The correlation is one of the batch, so
    the loss of a batch is no mean of its parts'.
    """
    mse = masked_mse(prediction, y, weight)
    correlation = mean_correlation(prediction, y, weight)
    loss = mse + _SHARE * (1 - correlation)
    return {"loss": loss, "mse": mse.detach(), "correlation": correlation.detach()}


def mean_correlation(prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over genes of the correlation along spots; 0 where no gene varies.

    Genes whose truth does not vary over their entries are left out.
    """
    count = weight.sum(0).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        kept = torch.where(weight, values.float(), 0.0)
        return torch.where(weight, kept - kept.sum(0) / count, 0.0)

    first, second = centred(prediction), centred(y)
    power = second.square().sum(0) / count
    varies = power > _SMALLEST
    together = (first * second).sum(0) / count
    spread = (first.square().sum(0) / count + _SMALLEST) * torch.where(varies, power, 1.0)
    values = torch.where(varies, together / spread.sqrt(), 0.0)
    return values.sum() / varies.sum().clamp(min=1)
