"""SpaCKLE's layers on stacked weights: one copy of the network or several, on packed spots.

Spots of all neighbourhoods are packed one after the other without padding; only attention, a
small share of the work, sees them laid out by neighbourhood. Weights are named as in the network
and have the copies first: ``(n_copies, n_out, n_in)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spared_benchmark.training.dropout import Dropout

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where packed spots stand in their neighbourhoods.

    Attributes:
        places: Flat place of each packed spot in ``(n_neighbourhoods, n_slots)``, ascending
            ``(n_packed,)``; None when every slot holds a spot.
        rows: For each slot the row of its spot in what is attended over, any row where there is
            none ``(n_neighbourhoods * n_slots,)``; None when rows are slots in order.
        present: Whether a slot holds a spot ``(n_neighbourhoods, n_slots)``.
        shared: Whether one row may stand in several neighbourhoods.
    """

    places: Tensor | None
    rows: Tensor | None
    present: Tensor
    shared: bool = False

    @classmethod
    def packed(cls, present: Tensor) -> Layout:
        """Return the layout of spots packed from the slots that are ``present``."""
        flat = present.flatten()
        if bool(flat.all()):
            return cls(None, None, present)
        rows = (flat.cumsum(0) - 1).clamp(min=0)
        return cls(flat.nonzero()[:, 0], rows, present)

    @classmethod
    def of_members(cls, members: Tensor) -> Layout:
        """Return the layout of spots that stand in several neighbourhoods, −1 for no spot."""
        present = members >= 0
        packed = cls.packed(present)
        return cls(packed.places, members.clamp(min=0).flatten(), present, shared=True)

    def lay_out(self, spots: Tensor) -> Tensor:
        """Return ``(n_copies, n_rows, c)`` as ``(n_copies * n_neighbourhoods, n_slots, c)``."""
        slots = spots if self.rows is None else spots.index_select(1, self.rows)
        return slots.reshape(-1, self.present.shape[1], spots.shape[2])

    def pack(self, slots: Tensor, copies: int) -> Tensor:
        """Return slots ``(n_copies * n_neighbourhoods, n_slots, c)`` without padding."""
        flat = slots.reshape(copies, -1, slots.shape[2])
        return flat if self.places is None else flat.index_select(1, self.places)


def linear(spots: Tensor, weights: Weights, name: str, scale: float = 1.0) -> Tensor:
    """Apply the linear map ``name`` of each copy.

    Args:
        spots: ``(n_copies, n_rows, n_in)``, or one for all copies.
        weights: Stacked.
        name: Such that ``<name>weight`` and ``<name>bias`` exist.
        scale: Of the input.
    """
    weight, bias = weights[name + "weight"], weights[name + "bias"]
    return affine(spots, weight if scale == 1.0 else weight * scale, bias)


def affine(spots: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply each copy's ``weight`` ``(n_copies, n_out, n_in)`` and ``bias`` to its spots."""
    if weight.shape[0] == 1:
        # On a CPU this is the faster kernel.
        return functional.linear(spots[0], weight[0], bias[0])[None]
    several = spots.expand(weight.shape[0], -1, -1)
    return torch.baddbmm(bias[:, None], several, weight.transpose(1, 2))


def layer_norm(spots: Tensor, weights: Weights, name: str) -> Tensor:
    """Normalise each spot and apply the scale and shift of each copy."""
    weight, bias = weights[name + "weight"], weights[name + "bias"]
    if weight.shape[0] == 1:
        return functional.layer_norm(spots, spots.shape[-1:], weight[0], bias[0])
    normalised = functional.layer_norm(spots, spots.shape[-1:])
    return normalised * weight[:, None] + bias[:, None]


def attend(queries: Tensor, keys: Tensor, values: Tensor, present: Tensor, drop: Dropout) -> Tensor:
    """Return scaled dot-product attention within each neighbourhood, one head.

    Args:
        queries: ``(n_copies * n_neighbourhoods, n_queries, width)``.
        keys: ``(n_copies * n_neighbourhoods, n_slots, width)``.
        values: ``(n_copies * n_neighbourhoods, n_slots, width)``.
        present: Slots that may be attended to ``(n_neighbourhoods, n_slots)``.
        drop: Drops attention weights.
    """
    copies = keys.shape[0] // present.shape[0]
    scores = torch.bmm(queries / math.sqrt(queries.shape[2]), keys.transpose(1, 2))
    by_copy = scores.unflatten(0, (copies, -1)).masked_fill(~present[None, :, None], -math.inf)
    attention = drop(by_copy.softmax(dim=-1, dtype=torch.float32)).flatten(0, 1)
    return torch.bmm(attention.to(values.dtype), values)


def outward(attended: Tensor, weights: Weights, name: str) -> Tensor:
    """Project what was attended, unless the layer's values hold that already."""
    projection = name + "self_attn.out_proj."
    return linear(attended, weights, projection) if projection + "weight" in weights else attended


def feed_forward(spots: Tensor, weights: Weights, name: str, drop: Dropout) -> Tensor:
    """Return linear, rectifier, linear of each copy, before the residual."""
    rectified = drop.rectified(linear(spots, weights, name + "linear1."))
    return linear(rectified, weights, name + "linear2.", drop.scale)


def encoder_layer(
    spots: Tensor, weights: Weights, name: str, layout: Layout, drop: Dropout
) -> Tensor:
    """Return one post-norm encoder layer's output for all packed spots.

    Args:
        spots: Rows that ``layout`` tells of ``(n_copies, n_rows, width)``.
        weights: Stacked.
        name: Of the layer, with its dot.
        layout: Where the rows stand.
        drop: Dropout of this step.

    Returns:
        ``(n_copies, n_packed, width)``.
    """
    copies = spots.shape[0]
    projected = linear(spots, weights, name + "self_attn.in_proj_")
    queries, keys, values = layout.lay_out(projected).chunk(3, dim=-1)
    attended = layout.pack(attend(queries, keys, values, layout.present, drop), copies)
    before = layout.pack(layout.lay_out(spots), copies) if layout.shared else spots
    update = drop(outward(attended, weights, name))
    middle = layer_norm(before + update, weights, name + "norm1.")
    update = drop(feed_forward(middle, weights, name, drop))
    return layer_norm(middle + update, weights, name + "norm2.")
