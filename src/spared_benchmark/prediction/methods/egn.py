"""EGN: a vision transformer guided by spots that look alike and what they express."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.methods._exemplars import OnExemplars
from spared_benchmark.prediction.types import NodeBatch, Sampling
from spared_benchmark.registry import Card

_COMMON: dict[str, Any] = {"feature": "", "faithful": False}
# Of class-specific attention at pooling: its share, and the sharpness of its softmax.
_ATTENTION, _SHARPNESS = 0.5, 0.1


class Egn(OnExemplars):
    """Exemplar-guided network: exemplars and query exchange gates in every second layer.

    A patch is cut into tokens. Beside them run a query vector, from the frozen features of the
    patch, and a vector for each exemplar, from its features and its expression; bridges refine the
    query by the exemplars, and the tokens by the query. The published network fixes 8 by 8 tokens;
    here ``image_size`` over ``token_size`` says how many. The published ``feature`` is a ResNet-50
    of ImageNet.

    With ``faithful``, besides what `OnExemplars` says, each bridge has the linear layer that the
    published code never uses, and patches are not turned.

    Raises:
        ConfigurationError: When the tokens do not divide the patch.
    """

    card: ClassVar[Card] = Card(
        name="egn",
        label="EGN",
        summary="A vision transformer guided by train spots that look alike and their expression",
        source="Yang et al., WACV 2023",
        year=2023,
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": {
                **_COMMON,
                "image_size": 256,
                "token_size": 32,
                "width": 1024,
                "depth": 8,
                "heads": 16,
                "mlp_width": 4096,
                "bridge_heads": 8,
                "gate_width": 256,
                "exemplars": 6,
            },
            "small": {
                **_COMMON,
                "image_size": 32,
                "token_size": 4,
                "width": 64,
                "depth": 4,
                "heads": 4,
                "mlp_width": 256,
                "bridge_heads": 4,
                "gate_width": 64,
                "exemplars": 6,
            },
            "tiny": {
                **_COMMON,
                "image_size": 16,
                "token_size": 8,
                "width": 16,
                "depth": 2,
                "heads": 2,
                "mlp_width": 32,
                "bridge_heads": 2,
                "gate_width": 8,
                "exemplars": 3,
            },
        },
        version=2,
        trained=True,
    )
    published_features: ClassVar[int] = 2048

    @property
    def sampling(self) -> Sampling:
        """Patches and frozen features."""
        return replace(
            super().sampling,
            image_size=self.settings["image_size"],
            augment="none" if self.settings["faithful"] else "each",
        )

    def build(self, n_genes: int) -> nn.Module:
        """Return the network."""
        if self.settings["image_size"] % self.settings["token_size"]:
            sizes = f"{self.settings['image_size']} and {self.settings['token_size']}"
            msg = f"egn: image_size and token_size {sizes}; the second must divide the first"
            raise ConfigurationError(msg)
        return _Network(self.settings, self.n_features, n_genes)

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the output for the queries."""
        rows = batch.attached["exemplars"][batch.query]
        features, expression = (values[rows] for values in self.shown(rows.device))
        output: Tensor = self.module(
            batch.images()[batch.query],
            self.standardised(batch)[batch.query],
            features,
            expression,
            rows >= 0,
        )
        return output


class _Network(nn.Module):
    def __init__(self, settings: dict[str, Any], n_features: int, n_genes: int) -> None:
        super().__init__()
        width, self.token_size = settings["width"], settings["token_size"]
        n_tokens = (settings["image_size"] // self.token_size) ** 2
        self.embed = nn.Linear(3 * self.token_size**2, width)
        self.place = nn.Parameter(torch.randn(n_tokens, width) / width**0.5)
        self.query = nn.Linear(n_features, width)
        self.exemplar = nn.Linear(n_features + n_genes, width)
        self.value = nn.Linear(n_genes, width)
        self.project = nn.Sequential(_Residual(width, width), _Residual(width, width))
        self.layers = nn.ModuleList(
            _Layer(settings, n_tokens, bridged=number % 2 == 1)
            for number in range(settings["depth"])
        )
        self.pool = _AttentionPool(width)
        self.norm = nn.LayerNorm(2 * width)
        self.head = nn.Linear(2 * width, n_genes)

    def forward(
        self, pixels: Tensor, seen: Tensor, features: Tensor, expression: Tensor, known: Tensor
    ) -> Tensor:
        """Return the output ``(n, n_genes)``.

        Args:
            pixels: uint8 ``(n, 3, side, side)``.
            seen: Features of the query ``(n, n_features)``.
            features: Of its exemplars ``(n, k, n_features)``.
            expression: Of its exemplars ``(n, k, n_genes)``.
            known: Which exemplars there are, bool ``(n, k)``.
        """
        tokens = self.embed(_cut(normalised(pixels), self.token_size)) + self.place
        query = self.project(self.query(seen))
        exemplars = self.project(self.exemplar(torch.cat([features, expression], dim=2)))
        values, share = self.value(expression), known[:, :, None].float()
        share = share / share.sum(1, keepdim=True).clamp(min=1)
        for layer in self.layers:
            tokens, query, exemplars = layer(tokens, self.place, query, exemplars, values, share)
        output: Tensor = self.head(self.norm(torch.cat([self.pool(tokens), query], dim=1)))
        return output


def _cut(images: Tensor, size: int) -> Tensor:
    """Return the tokens of images, ``(n, n_tokens, 3 * size * size)``."""
    n, side = len(images), images.shape[-1] // size
    tiles = images.reshape(n, 3, side, size, side, size).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(n, side * side, -1)


class _Residual(nn.Module):
    """``x + MLP(LayerNorm(x))``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = values + self.mlp(values)
        return result


class _Layer(nn.Module):
    """Attention among tokens, in every second layer a bridge, a perceptron."""

    def __init__(self, settings: dict[str, Any], n_tokens: int, *, bridged: bool) -> None:
        super().__init__()
        width, self.heads = settings["width"], settings["heads"]
        self.norm = nn.LayerNorm(width)
        self.joint = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.bridge = _Bridge(settings, n_tokens) if bridged else None
        self.mlp = _Residual(width, settings["mlp_width"])

    def forward(
        self,
        tokens: Tensor,
        place: Tensor,
        query: Tensor,
        exemplars: Tensor,
        values: Tensor,
        share: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tokens = tokens + place
        joint = self.joint(self.norm(tokens)).unflatten(2, (3, self.heads, -1))
        mixed = scaled_dot_product_attention(*joint.permute(2, 0, 3, 1, 4).unbind(0))
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        if self.bridge is not None:
            tokens, query, exemplars = self.bridge(tokens, query, exemplars, values, share)
        return self.mlp(tokens), query, exemplars


class _Bridge(nn.Module):
    """Exemplar bridging: exemplars refine the query, and the query gates the tokens."""

    def __init__(self, settings: dict[str, Any], n_tokens: int) -> None:
        super().__init__()
        width, gate, self.heads = (settings[k] for k in ("width", "gate_width", "bridge_heads"))
        inner = width // 2
        self.gates = nn.Sequential(
            nn.Linear(2 * width, gate), nn.SiLU(), nn.Linear(gate, 2 * width)
        )
        self.value = nn.Linear(width, width)
        self.exemplar_norm = nn.LayerNorm(width)
        self.gate_tokens = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, self.heads * n_tokens)
        )
        self.channels = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
        self.to_tokens = nn.Linear(inner, width, bias=False)
        self.to_query = nn.Linear(inner, width, bias=False)
        if settings["faithful"]:
            self.unused = nn.Linear(width, inner)

    def forward(
        self, tokens: Tensor, query: Tensor, exemplars: Tensor, values: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        apart = torch.cat([query[:, None] - exemplars, exemplars], dim=2)
        for_query, for_exemplar = self.gates(apart).sigmoid().chunk(2, dim=2)
        value = self.value(values)
        query = query + (share * for_query * value).sum(1)
        exemplars = self.exemplar_norm(exemplars + for_exemplar * value)
        gate = self.gate_tokens(query).sigmoid().unflatten(1, (self.heads, -1)).transpose(1, 2)
        channels = self.channels(tokens).unflatten(2, (self.heads, -1))
        gated = (channels * gate[:, :, :, None]).flatten(2)
        return tokens + self.to_tokens(gated), query + self.to_query(gated.mean(1)), exemplars


class _AttentionPool(nn.Module):
    """Mean over tokens, and half their mean by a softmax of each channel (CSRA)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        score = self.score(tokens)
        focused = (score * (_SHARPNESS * score).softmax(dim=1)).sum(1)
        pooled: Tensor = score.mean(1) + _ATTENTION * focused
        return pooled
