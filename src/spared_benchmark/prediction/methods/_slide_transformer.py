"""A transformer over the spots of a slide, as HisToGene, Hist2ST and HGGEP have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Shape:
    """Of a transformer.

    Attributes:
        width: Of a token.
        depth: Layers.
        heads: Of attention, in each layer.
        head_width: Of each.
        hidden: Width of the perceptron's hidden layer.
        dropout: Share of values left out after attention and in the perceptron.
    """

    width: int
    depth: int
    heads: int
    head_width: int
    hidden: int
    dropout: float

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Shape:
        """Return the shape that a predictor's settings of the same names tell."""
        return cls(**{one.name: settings[one.name] for one in fields(cls)})


class SlideTransformer(nn.Module):
    """Pre-norm layers without a class token and without a last norm.

    Args:
        shape: Its sizes.
        remember: Keep all activations for the gradient; if not, those within a layer are computed
            again, which trades time for memory.
    """

    def __init__(self, shape: Shape, *, remember: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.depth))
        self.remember = remember

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the tokens ``(n_spots, width)`` after all layers.

        Args:
            tokens: ``(n_spots, width)``.
            mask: Which may see which, bool ``(n_spots, n_spots)``; all of them when not given.
        """
        for layer in self.layers:
            tokens = again(layer, tokens, mask, remember=self.remember)
        return tokens


class _Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = _Attention(shape)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(shape.width),
            nn.Linear(shape.width, shape.hidden),
            nn.GELU(),
            nn.Dropout(shape.dropout),
            nn.Linear(shape.hidden, shape.width),
            nn.Dropout(shape.dropout),
        )

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        tokens = tokens + self.attention(tokens, mask)
        return torch.add(tokens, self.perceptron(tokens))


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        inner = shape.heads * shape.head_width
        self.heads = shape.heads
        self.norm = nn.LayerNorm(shape.width)
        self.split = nn.Linear(shape.width, 3 * inner, bias=False)
        self.out = nn.Sequential(nn.Linear(inner, shape.width), nn.Dropout(shape.dropout))

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        parts = self.split(self.norm(tokens)).unflatten(1, (3, self.heads, -1))
        query, key, value = parts.permute(1, 2, 0, 3)[:, None]  # each (1, heads, n_spots, width)
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        output: Tensor = self.out(seen[0].transpose(0, 1).flatten(1))
        return output


class PlaceTables(nn.Module):
    """What is learnt of each array row and of each array column.

    Args:
        positions: Rows, and columns, that there are: 128 holds every standard Visium slide.
        width: Of a token.
        blank: Start at 0, so that a place no train spot lies at adds nothing. If not, it keeps
            adding the random vector that it started with.
    """

    def __init__(self, positions: int, width: int, *, blank: bool) -> None:
        super().__init__()
        self.row, self.column = nn.Embedding(positions, width), nn.Embedding(positions, width)
        if blank:
            nn.init.zeros_(self.row.weight)
            nn.init.zeros_(self.column.weight)

    def forward(self, array_rc: Tensor) -> Tensor:
        """Return the sum of both for each spot, ``(n_spots, width)``."""
        row, column = array_rc.long().unbind(dim=1)
        output: Tensor = self.row(row) + self.column(column)
        return output


def mask_of(block: Tensor) -> Tensor | None:
    """Return which spots may see which, bool ``(n_spots, n_spots)``; none for a single block.

    With a mask, attention is no longer computed by the kernels that need no memory for it.
    """
    if bool((block == block[0]).all()):
        return None
    return block[:, None] == block


def again(layer: nn.Module, *inputs: Tensor | None, remember: bool) -> Tensor:
    """Return ``layer(*inputs)``; without ``remember`` it is computed again for the gradient."""
    return computed_again(layer, *inputs, module=layer, remember=remember)


def computed_again(
    run: Callable[..., Tensor], *inputs: Tensor | None, module: nn.Module, remember: bool
) -> Tensor:
    """Return ``run(*inputs)``; without ``remember`` it is computed again for the gradient.

    The running averages of the batch norms in ``module`` see each batch once either way.
    """
    if remember or not torch.is_grad_enabled():
        return run(*inputs)
    recomputed: Tensor = checkpoint(
        run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _still(module))
    )
    return recomputed


@contextmanager
def _still(layer: nn.Module) -> Iterator[None]:
    norms = [one for one in layer.modules() if isinstance(one, _BatchNorm)]
    momenta = [one.momentum for one in norms]
    counts = [one.num_batches_tracked for one in norms if one.num_batches_tracked is not None]
    kept = [count.clone() for count in counts]
    for one in norms:
        one.momentum = 0.0
    try:
        yield
    finally:
        for one, momentum in zip(norms, momenta, strict=True):
            one.momentum = momentum
        for count, before in zip(counts, kept, strict=True):
            count.copy_(before)
