"""What BLEEP and mclSTExp are made of: two-sided embeddings, their losses, and retrieval."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, scaled_dot_product_attention

from spared_benchmark.prediction.encoders import PatchEncoder

# Of squared distances between unit vectors: what float32 still tells from 0.
_SMALLEST = 1e-6


class ProjectionHead(nn.Module):
    """From features of one side to the common space: ``LayerNorm(p + MLP(p))``, p linear."""

    def __init__(self, inputs: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width)
        self.transform = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Return the embeddings ``(n, width)`` of ``features`` ``(n, inputs)``."""
        projected = self.project(features)
        embedded: Tensor = self.norm(projected + self.transform(projected))
        return embedded


class SpotTransformer(nn.Module):
    """Expression with its place, mixed among spots that are processed together (mclSTExp).

    As wide as there are genes: learned embeddings of array row and column are added to the
    expression itself.
    """

    def __init__(self, n_genes: int, rows: int, depth: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.row, self.column = nn.Embedding(rows, n_genes), nn.Embedding(rows, n_genes)
        layers = (_Layer(n_genes, heads, head_width) for _ in range(depth))
        self.layers = nn.ModuleList(layers)

    def forward(self, expression: Tensor, array_rc: Tensor, block: Tensor) -> Tensor:
        """Return what is known of each spot, ``(n, n_genes)``.

        Args:
            expression: ``(n, n_genes)``.
            array_rc: Array row and column ``(n, 2)``.
            block: Spots of one block see one another ``(n,)``.
        """
        place = array_rc.long()
        seen = expression + self.row(place[:, 0]) + self.column(place[:, 1])
        one = bool((block == block[:1]).all())
        mask = None if one else block[:, None] == block
        for layer in self.layers:
            seen = layer(seen, mask)
        mixed: Tensor = seen
        return mixed


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.joint = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        joint = self.joint(self.norm(seen)).unflatten(1, (3, self.heads, -1))
        query, key, value = joint.permute(1, 2, 0, 3)[:, None].unbind(0)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)[0]
        seen = seen + self.out(mixed.transpose(0, 1).flatten(1))
        result: Tensor = seen + self.mlp(seen)
        return result


class TwoSided(nn.Module):
    """The image side and the expression side, into one space."""

    def __init__(
        self, encoder: PatchEncoder, mixer: SpotTransformer | None, n_genes: int, width: int
    ) -> None:
        super().__init__()
        self.encoder, self.mixer = encoder, mixer
        features = encoder.network.num_features
        assert isinstance(features, int)  # noqa: S101 - of every network of timm
        self.image_head = ProjectionHead(features, width)
        self.spot_head = ProjectionHead(n_genes, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the embeddings of uint8 patches, ``(n, width)``."""
        embedded: Tensor = self.image_head(self.encoder(pixels))
        return embedded

    def spots(self, expression: Tensor, array_rc: Tensor, block: Tensor) -> Tensor:
        """Return the embeddings of expression ``(n, width)``."""
        seen = expression if self.mixer is None else self.mixer(expression, array_rc, block)
        embedded: Tensor = self.spot_head(seen)
        return embedded


def soft_loss(expression: Tensor, image: Tensor, temperature: float, *, transpose: bool) -> Tensor:
    """Return the loss of BLEEP: which pairs belong together, spots alike counting in part.

    Both sides are ``(n, width)`` and not normalised. The targets are the softmax of the mean
    similarity within either side; gradients pass through them.

    Args:
        expression: Embedded expression.
        image: Embedded patches.
        temperature: By which similarities are divided.
        transpose: Use the transposed targets for images, whose rows do not sum to one, as the
            published code does. Otherwise the loss is the same when the sides change places.
    """
    with torch.autocast(image.device.type, enabled=False):  # similarities reach the width, 256
        expression, image = expression.float(), image.float()
        logits = expression @ image.T / temperature
        alike = (image @ image.T + expression @ expression.T) / 2
        targets = (alike / temperature).softmax(dim=1)
        for_images = targets.T if transpose else targets
        return (cross_entropy(logits, targets) + cross_entropy(logits.T, for_images)) / 2


def one_hot_loss(expression: Tensor, image: Tensor, temperature: float) -> Tensor:
    """Return the ordinary contrastive loss (mclSTExp): every spot belongs to its patch alone."""
    with torch.autocast(image.device.type, enabled=False):
        logits = expression.float() @ image.float().T / temperature
        own = torch.arange(len(logits), device=logits.device)
        return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def similarities(queries: Tensor, keys: Tensor) -> Tensor:
    """Return cosines ``(n_queries, n_keys)``."""
    return normalize(queries.float()) @ normalize(keys.float()).T


def retrieved(
    similarity: Tensor,
    values: Tensor,
    counts: Tensor,
    k: int,
    otherwise: Tensor,
    *,
    inverse_square: bool = False,
) -> Tensor:
    """Return the means over the ``k`` most similar profiles, ``(n_queries, n_genes)``.

    Args:
        similarity: Cosines ``(n_queries, n_keys)``; minus infinity for what may not be found.
        values: Profiles ``(n_keys, n_genes)``.
        counts: Which entries of them enter the means.
        k: How many are taken, at most all.
        otherwise: What a gene is where no entry enters ``(n_genes,)``.
        inverse_square: Weight profiles by one over the squared distance of the unit vectors.
    """
    found = similarity.topk(min(k, similarity.shape[1]), dim=1)
    allowed = torch.isfinite(found.values)
    share = allowed.float()
    if inverse_square:
        share = torch.where(allowed, 1 / (2 - 2 * found.values).clamp(min=_SMALLEST), 0.0)
        share = share / share.amax(dim=1, keepdim=True).clamp(min=_SMALLEST)
    share = share[:, :, None] * counts[found.indices]
    total, weight = (share * values[found.indices]).sum(1), share.sum(1)
    return torch.where(weight > 0, total / weight.clamp(min=_SMALLEST), otherwise)
