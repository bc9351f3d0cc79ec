"""Zero-inflated negative binomial counts: the likelihood and its three output layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

_LOG_MEAN = (math.log(1e-5), math.log(1e6))
_DISPERSION = (1e-4, 1e4)
_SMALLEST = 1e-8


class ZinbHead(nn.Module):
    """Mean, dispersion and odds of a lost count of every gene, each linear in the features.

    Args:
        width: Of the features.
        n_genes: Of the counts.
    """

    def __init__(self, width: int, n_genes: int) -> None:
        super().__init__()
        self.mean = nn.Linear(width, n_genes)
        self.dispersion = nn.Linear(width, n_genes)
        self.lost = nn.Linear(width, n_genes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, dispersion and log odds of a lost count, each ``(n_spots, n_genes)``."""
        # Exponentials and log gammas of narrow floats would lose what they are there for.
        # The logarithm is held within its limits, because an infinite exponential has no gradient.
        mean = self.mean(features).float().clamp(*_LOG_MEAN).exp()
        dispersion = softplus(self.dispersion(features).float()).clamp(*_DISPERSION)
        return mean, dispersion, self.lost(features).float()


def size_factors(counts: Tensor) -> Tensor:
    """Return the total of each spot over the median total, ``(n_spots, 1)``.

    Args:
        counts: Molecules of one slide or section ``(n_spots, n_genes)``.
    """
    total = counts.float().sum(dim=1, keepdim=True)
    return total / total.median().clamp(min=1)


def zinb_loss(counts: Tensor, mean: Tensor, dispersion: Tensor, lost: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of counts, all arguments ``(n_spots, n_genes)``.

    A count is lost (0) with the probability whose log odds are ``lost``; otherwise it is negative
    binomial with ``mean`` and variance ``mean + mean² / dispersion``.
    """
    mean = mean.clamp(min=_SMALLEST)
    among = (dispersion + mean).log()
    none = dispersion * (dispersion.log() - among)  # log probability of 0 when not lost
    several = (
        torch.lgamma(counts + dispersion)
        - torch.lgamma(dispersion)
        - torch.lgamma(counts + 1)
        + none
        + counts * (mean.log() - among)
    )
    kept = logsigmoid(-lost)
    zero = torch.logaddexp(logsigmoid(lost), kept + none)
    return -torch.where(counts > 0, kept + several, zero).mean()
