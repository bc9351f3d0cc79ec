"""Factor analysis with missing entries whose scores are Gaussian processes over the slide.

The model of spot i, gene j and slide s, over visible entries only:

    x_ij = m_sj + w_j · z_i + e_ij,     e_ij ~ N(0, v_j),
    z_iq = u_iq + n_iq,                 u_q ~ GP(0, r_q K),  n_iq ~ N(0, 1 − r_q).

On the train slides loadings w get a prior N(0, 1/α_q) whose precision is estimated for each factor
(automatic relevance determination: Bishop 1999), so that factors without evidence vanish and the
rank needs no choice. Loadings have a posterior, not a value, in every step (variational Bayes with
missing entries: Ilin and Raiko 2010): a gene with few visible entries weighs less. On a slide that
is completed the loadings begin from, and are shrunk to, those of train, and the share r_q of each
factor that is continuous over the slide is estimated from the slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spared_benchmark.completion.kriging import LatticeCovariance, posterior_mean

_MEAN_WEIGHT = 5.0  # visible entries that a shift of 0 is worth
_NOISE_WEIGHT = 50.0  # entries that the genes' common noise is worth in each gene's
_LEAST = 1e-9
_ROUNDS_BEFORE_SPACE = 5  # scores must mean something before their continuity is measured
_ROUNDS_BETWEEN = 5
_SHARE = (0.01, 0.97)
_KEPT = 1e-3  # of the largest factor's squared loadings


@dataclass(frozen=True, eq=False)
class Loadings:
    """What genes share, as a posterior.

    Attributes:
        mean: w ``(n_genes, rank)``.
        covariance: Of w ``(n_genes, rank, rank)``.
        noise: v ``(n_genes,)``.
    """

    mean: Tensor
    covariance: Tensor
    noise: Tensor

    def second(self) -> Tensor:
        """Return E[w wᵀ] ``(n_genes, rank, rank)``."""
        return self.mean[:, :, None] * self.mean[:, None, :] + self.covariance


@dataclass(frozen=True, eq=False)
class Evidence:
    """Deviations from a level, of one or more slides.

    Attributes:
        values: 0 wherever not visible ``(n_spots, n_genes)``.
        visible: As numbers ``(n_spots, n_genes)``.
        slide: One column a slide, 1 where a spot is of it ``(n_spots, n_slides)``.
    """

    values: Tensor
    visible: Tensor
    slide: Tensor


@dataclass(frozen=True, eq=False)
class Space:
    """Where the spots of one slide lie.

    Attributes:
        covariance: K.
        neighbours: Lattice neighbours ``(n_spots, k)``, −1 padded.
    """

    covariance: LatticeCovariance
    neighbours: Tensor


@dataclass(frozen=True, eq=False)
class Expected:
    """What a fit expects of every entry.

    Attributes:
        mean: Deviation from the level ``(n_spots, n_genes)``.
        variance: Of what would be measured ``(n_spots, n_genes)``.
    """

    mean: Tensor
    variance: Tensor


def fit_loadings(evidence: Evidence, rank: int, rounds: int) -> Loadings:
    """Fit loadings to train slides; factors that explain nothing are left out.

    Args:
        evidence: Of all train slides.
        rank: Factors to begin with.
        rounds: Of variational expectation maximisation.
    """
    fit = _Fit(evidence, _leading(evidence, rank), prior=None, prior_spots=0.0)
    for _ in range(rounds):
        fit.step()
    strength = fit.loadings.mean.square().sum(dim=0)
    kept = strength >= _KEPT * strength.max()  # of deviations that are 0 all, not none
    loadings = fit.loadings
    return Loadings(
        loadings.mean[:, kept], loadings.covariance[:, kept][:, :, kept], loadings.noise
    )


def expect(
    evidence: Evidence, space: Space | None, train: Loadings, prior_spots: float, rounds: int
) -> Expected:
    """Fit the model to the visible entries of one slide and expect all of its entries.

    Args:
        evidence: Of one slide.
        space: Of its spots; none takes the scores of each spot for themselves.
        train: Loadings of the train slides.
        prior_spots: How many spots those are worth.
        rounds: Of variational expectation maximisation.
    """
    fit = _Fit(evidence, train, prior=train, prior_spots=prior_spots)
    for number in range(rounds):
        due = number >= _ROUNDS_BEFORE_SPACE and number % _ROUNDS_BETWEEN == 0
        if space is not None and due:
            fit.smooth(space)
        fit.step()
    if space is not None:
        fit.smooth(space)
    return fit.expected()


def _leading(evidence: Evidence, rank: int) -> Loadings:
    """Return the leading components of the values with 0 at missing entries, to start from."""
    values, visible = evidence.values, evidence.visible
    n_genes = values.shape[1]
    rank = min(rank, n_genes)
    variances, vectors = torch.linalg.eigh(values.T @ values / max(len(values), 1))
    mean = vectors.flip(1)[:, :rank] * variances.flip(0)[:rank].clamp(min=0).sqrt()
    noise = values.square().sum(dim=0) / visible.sum(dim=0).clamp(min=1)
    return Loadings(mean, mean.new_zeros((n_genes, rank, rank)), noise.clamp(min=_LEAST))


class _Fit:
    def __init__(
        self, evidence: Evidence, start: Loadings, prior: Loadings | None, prior_spots: float
    ) -> None:
        self.evidence, self.loadings, self.prior = evidence, start, prior
        self.prior_spots = max(prior_spots, 1e-3)
        n_spots, rank = len(evidence.values), start.mean.shape[1]
        self.smooth_scores = start.mean.new_zeros((n_spots, rank))
        self.share = start.mean.new_zeros(rank)
        self.relevance = start.mean.new_ones(rank)
        self.identity = torch.eye(rank, dtype=start.mean.dtype, device=start.mean.device)
        self.counts = evidence.slide.T @ evidence.visible
        self.gene_counts = evidence.visible.sum(dim=0)
        self.shifts = torch.zeros_like(self.counts)

    def step(self) -> None:
        """Take scores given loadings, then loadings, noise and shifts given scores."""
        centred = self._centred()
        scores, covariance = self._scores(centred)
        visible = self.evidence.visible
        n_spots, rank = scores.shape
        outer = covariance + scores[:, :, None] * scores[:, None, :]
        second = (visible.T @ outer.reshape(n_spots, rank * rank)).reshape(-1, rank, rank)
        cross = centred.T @ scores
        self._update_loadings(second, cross)
        self._update_noise(centred, second, cross)
        errors = visible * (self.evidence.values - scores @ self.loadings.mean.T)
        self.shifts = (self.evidence.slide.T @ errors) / (self.counts + _MEAN_WEIGHT)

    def smooth(self, space: Space) -> None:
        """Take the part of the scores that is continuous over the slide.

        A factor's share r is the covariance of neighbours' scores over their variance. Scores are
        known as posterior means, which vary by their reliability alone: by it once in the variance
        and by both in the covariance of two.
        """
        precision, information = self._likelihood(self._centred())
        covariance = torch.linalg.inv(precision + self.identity)
        scores = torch.einsum("nqr,nr->nq", covariance, information)
        reliability = (1 - covariance.diagonal(dim1=1, dim2=2)).clamp(min=0)
        told = reliability * neighbour_sums(reliability, space.neighbours)
        products = scores * neighbour_sums(scores, space.neighbours)
        variance = scores.square().sum(dim=0) / reliability.sum(dim=0).clamp(min=_LEAST)
        correlation = products.sum(dim=0) / (told.sum(dim=0) * variance).clamp(min=_LEAST)
        at_zero = torch.exp(correlation.new_tensor(1 / space.covariance.length))
        self.share = (correlation * at_zero).clamp(*_SHARE)
        # What is local to the spot is integrated out: evidence P on z is P (I + P D)⁻¹ on u.
        local = torch.linalg.inv(self.identity + precision * (1 - self.share))
        self.smooth_scores = posterior_mean(
            space.covariance.times,
            self.share,
            local @ precision,
            torch.einsum("nqr,nr->nq", local, information),
        )

    def expected(self) -> Expected:
        """Return what is expected of every entry, and its variance."""
        scores, covariance = self._scores(self._centred())
        loadings = self.loadings
        n_spots, rank = scores.shape
        mean = self.evidence.slide @ self.shifts + scores @ loadings.mean.T
        outer = loadings.mean[:, :, None] * loadings.mean[:, None, :]
        of_scores = covariance.reshape(n_spots, -1) @ outer.reshape(-1, rank * rank).T
        second = covariance + scores[:, :, None] * scores[:, None, :]
        of_loadings = second.reshape(n_spots, -1) @ loadings.covariance.reshape(-1, rank * rank).T
        return Expected(mean, of_scores + of_loadings + loadings.noise)

    def _centred(self) -> Tensor:
        return self.evidence.visible * (self.evidence.values - self.evidence.slide @ self.shifts)

    def _likelihood(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """Return what visible entries say of the scores: precision and information."""
        loadings = self.loadings
        rank = loadings.mean.shape[1]
        weighted = (loadings.second() / loadings.noise[:, None, None]).reshape(-1, rank * rank)
        precision = (self.evidence.visible @ weighted).reshape(-1, rank, rank)
        return precision, centred @ (loadings.mean / loadings.noise[:, None])

    def _scores(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """Return posterior means ``(n_spots, rank)`` and covariances ``(n_spots, rank, rank)``."""
        precision, information = self._likelihood(centred)
        local = 1 / (1 - self.share)
        covariance = torch.linalg.inv(precision + torch.diag(local))
        told = information + self.smooth_scores * local
        return torch.einsum("nqr,nr->nq", covariance, told), covariance

    def _update_loadings(self, second: Tensor, cross: Tensor) -> None:
        noise = self.loadings.noise
        if self.prior is None:
            weight = noise[:, None, None] * torch.diag(self.relevance)
        else:
            weight = self.prior_spots * self.identity
            cross = cross + self.prior_spots * self.prior.mean
        inverse = torch.linalg.inv(second + weight)
        mean = torch.einsum("gqr,gr->gq", inverse, cross)
        covariance = noise[:, None, None] * inverse
        if self.prior is None:
            squares = mean.square() + covariance.diagonal(dim1=1, dim2=2)
            self.relevance = len(mean) / squares.sum(dim=0).clamp(min=_LEAST)
        self.loadings = Loadings(mean, covariance, noise)

    def _update_noise(self, centred: Tensor, second: Tensor, cross: Tensor) -> None:
        loadings = self.loadings
        squares = centred.square().sum(dim=0) - 2 * (loadings.mean * cross).sum(dim=1)
        squares = squares + (loadings.second() * second).sum(dim=(1, 2))
        squares = squares.clamp(min=0)
        common = squares.sum() / self.gene_counts.sum().clamp(min=1)
        noise = (squares + _NOISE_WEIGHT * common) / (self.gene_counts + _NOISE_WEIGHT)
        self.loadings = Loadings(loadings.mean, loadings.covariance, noise.clamp(min=_LEAST))


def neighbour_sums(values: Tensor, table: Tensor) -> Tensor:
    """Return the sum over each spot's neighbours ``(n_spots, k)``, −1 padded table."""
    padded = torch.cat([values, values.new_zeros((1, values.shape[1]))])
    sums = torch.zeros_like(values)
    for column in table.T:  # one gather per direction: (n_spots, k, n) is never held
        sums = sums + padded[column]
    return sums
