"""STFlow: flow matching from noise to the expression of a whole slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.methods._frames import surroundings
from spared_benchmark.prediction.methods._slide_rows import in_batch
from spared_benchmark.prediction.predictor import (
    NetworkPredictor,
    masked_mse,
    start_at_mean,
    train_mean,
)
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling, Slide
from spared_benchmark.registry import Card

# The prior: log1p of counts that are 0 with this probability, else geometric with this logit.
_ZEROS, _LOGIT = 0.5, 0.1
_FLIPS = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))
_EDGE_WIDTH = 32


def _own(width: int, depth: int, heads: int, nearest: int, region: int) -> dict[str, Any]:
    shape = {"width": width, "depth": depth, "heads": heads, "nearest": nearest}
    sampled = {"region": region, "steps": 5, "samples": 1}
    return {"feature": "", **shape, **sampled, "faithful": False}


class StFlow(OnFeatures, NetworkPredictor):
    """A network that tells expression from a mixture of it with noise, asked again and again.

    In training the expression of a region of a slide is mixed with noise, in a proportion drawn
    for each step. In prediction noise is carried to expression in a few Euler steps. A spot looks
    at itself and the spots nearest to it, with all that lie as far as the last of them: at their
    features, the mixture there, and where they lie, told in a way that turning or mirroring the
    slide does not change.

    Noise at prediction is a function of a spot's array place and of nothing else, so that a
    prediction is the same each time. Missing entries enter the mixture as the train mean.

    Settings of its sizes: ``feature`` (encoder), ``width``, ``depth`` and ``heads`` of the network,
    ``nearest`` (spots that one looks at), ``region`` (spots of a training batch), ``steps`` and
    ``samples`` of a prediction, which is their mean; ``faithful``: outputs are cut off at 0 and
    start at random. Expression after batch correction may be negative, and a gene that is cut off
    everywhere cannot learn.
    """

    card: ClassVar[Card] = Card(
        name="stflow",
        label="STFlow",
        summary="Flow matching over a slide's frozen features, invariant to turns of the slide",
        source="Huang et al., ICML 2025",
        year=2025,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": _own(width=128, depth=4, heads=4, nearest=32, region=256),
            "small": _own(width=64, depth=3, heads=4, nearest=18, region=128),
            "tiny": _own(width=32, depth=2, heads=2, nearest=6, region=0),
        },
        trained=True,
    )

    @property
    def sampling(self) -> Sampling:
        """Regions of a slide in training, whole slides in prediction."""
        return Sampling(kind="slide", region=self.settings["region"], features=(self.feature,))

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network; unless ``faithful`` its outputs start at the mean of ``train``."""
        self._inputs = self.features_of(train[0].blind()).shape[-1]
        super().prepare(train)
        mean = train_mean(train)
        with torch.no_grad():
            self._network.mean.copy_(torch.from_numpy(mean))
        if not self.settings["faithful"]:
            for head in self._network.readouts():
                start_at_mean(head, mean)

    def build(self, n_genes: int) -> nn.Module:
        """Return the network."""
        shape = (self.settings["width"], self.settings["depth"], self.settings["heads"])
        return _Network(self._inputs, *shape, n_genes, cut=self.settings["faithful"])

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Build the network and give it the weights."""
        self._inputs = state["features.weight"].shape[1]
        super().load_state(state)

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach the nearest spots, where they lie, and the noise that a prediction starts from."""
        near = surroundings(slide.xy_um, self.settings["nearest"])
        shape = (self.settings["samples"], self.head.out_features)
        return {
            "row": np.arange(slide.n_spots),
            "near": near.rows,
            "offset": near.offset,
            "noise": noise_at(slide.array_rc, shape),
        }

    def loss(self, batch: NodeBatch) -> dict[str, Tensor]:
        """Return the error of the expression told from a mixture of it with fresh noise."""
        y, weight = batch.labels()
        known = torch.where(weight, y, self._network.mean)
        time = torch.rand((), device=y.device)
        first, second = torch.rand((2, *y.shape), device=y.device)
        mixture = torch.lerp(_prior(first, second), known, time)
        return {"loss": masked_mse(self._told(batch, mixture, time), y, weight)}

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the expression to which noise is carried, the mean over ``samples``."""
        ends = [self._carried(batch, start) for start in batch.attached["noise"].unbind(dim=1)]
        return torch.stack(ends).mean(dim=0)

    @property
    def _network(self) -> _Network:
        return cast("_Network", self.module)

    def _carried(self, batch: NodeBatch, mixture: Tensor) -> Tensor:
        """Return what the last of the Euler steps tells: it goes all the way."""
        steps = self.settings["steps"]
        for step in range(steps):
            time = torch.tensor(step / steps, device=mixture.device)
            told = self._told(batch, mixture, time)
            mixture = torch.lerp(mixture, told, 1 / (steps - step))
        return mixture

    def _told(self, batch: NodeBatch, mixture: Tensor, time: Tensor) -> Tensor:
        features = batch.feature(self.feature)
        if features.ndim > 2:  # of tiles
            features = features.mean(dim=1)
        near = in_batch(batch.attached["near"], batch.attached["row"])
        told: Tensor = self.module(features, mixture, time, near, batch.attached["offset"])
        return told


class _Network(nn.Module):
    mean: Tensor

    def __init__(
        self, inputs: int, width: int, depth: int, heads: int, n_genes: int, *, cut: bool
    ) -> None:
        super().__init__()
        self.cut = cut
        self.features = nn.Linear(inputs, width)
        self.genes = nn.Linear(n_genes, width)
        self.time = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.place = nn.Linear(2, _EDGE_WIDTH)
        self.layers = nn.ModuleList([_Layer(width, heads, n_genes) for _ in range(depth)])
        self.early = nn.ModuleList([nn.Linear(width, n_genes) for _ in range(depth - 1)])
        self.head = nn.Linear(width, n_genes)
        self.register_buffer("mean", torch.zeros(n_genes))

    def forward(
        self, features: Tensor, mixture: Tensor, time: Tensor, near: Tensor, offset: Tensor
    ) -> Tensor:
        """Return the mean of what is told after each layer ``(n_spots, n_genes)``."""
        tokens = self.features(features) + self.genes(mixture) + self.time(time[None])
        flips = torch.tensor(_FLIPS, device=offset.device)
        place = torch.stack([nn.functional.silu(self.place(offset * flip)) for flip in flips])
        edges = place.mean(dim=0)
        told = torch.zeros_like(mixture)
        for layer, head in zip(self.layers, self.readouts(), strict=True):
            tokens = layer(tokens, mixture, near, edges)
            told = told + head(tokens) / len(self.layers)
        return told.relu() if self.cut else told

    def readouts(self) -> list[nn.Linear]:
        """Return the linear layer after each layer."""
        return [cast("nn.Linear", head) for head in (*self.early, self.head)]


class _Layer(nn.Module):
    """Attention over the nearest spots, its logits by a perceptron, and a perceptron."""

    def __init__(self, width: int, heads: int, n_genes: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        # The perceptron's first layer on query, key, place and difference of expression is the sum
        # of four, of which all but the place's are computed by spot and not by pair.
        self.by_query = nn.Linear(width, width)
        self.by_key = nn.Linear(width, width, bias=False)
        self.by_place = nn.Linear(_EDGE_WIDTH, width, bias=False)
        self.by_expression = nn.Linear(n_genes, width, bias=False)
        self.logits = nn.Linear(width, heads)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, mixture: Tensor, near: Tensor, edges: Tensor) -> Tensor:
        query, key, value = self.query_key_value(self.before(tokens)).chunk(3, dim=1)
        expression = self.by_expression(mixture)
        asked, given = self.by_query(query) - expression, self.by_key(key) + expression
        pairs = asked[:, None] + given[near] + self.by_place(edges)
        logits = self.logits(nn.functional.silu(pairs))
        share = logits.masked_fill((near < 0)[:, :, None], -torch.inf).softmax(dim=1)
        values = value.unflatten(1, (self.heads, -1))[near]
        seen = torch.einsum("nkh,nkhd->nhd", share.to(values.dtype), values).flatten(1)
        tokens = tokens + self.out(seen)
        changed: Tensor = tokens + self.perceptron(self.between(tokens))
        return changed


def noise_at(array_rc: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the prior's draws at array places, the same for a place whatever else there is.

    Args:
        array_rc: Array rows and columns ``(n_spots, 2)``.
        shape: Samples and genes.

    Returns:
        ``(n_spots, n_samples, n_genes)``.
    """
    row, column = array_rc.astype(np.int64).view(np.uint64).T
    place = _mixed(_mixed(row) + column)[:, None]
    number = np.arange(2 * shape[0] * shape[1], dtype=np.uint64)
    # The upper 53 bits as a number above 0 and below 1.
    uniform = ((_mixed(place + number) >> np.uint64(11)) + 0.5) / 2.0**53
    first, second = torch.from_numpy(uniform).unflatten(1, (2, *shape)).unbind(dim=1)
    noise: NDArray[np.float32] = _prior(first, second).float().numpy()
    return noise


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers that look random, one to one (splitmix64: Steele et al. 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _prior(first: Tensor, second: Tensor) -> Tensor:
    """Return log1p of zero-inflated negative binomial counts from uniform numbers.

    A negative binomial of one trial is geometric: a count of n or more has probability pⁿ.
    """
    log_p = torch.nn.functional.logsigmoid(torch.tensor(_LOGIT, dtype=first.dtype))
    tiny = torch.finfo(first.dtype).tiny
    count = torch.floor(first.clamp(min=tiny).log() / log_p.to(first.device))
    return torch.where(second < _ZEROS, 0.0, torch.log1p(count))
