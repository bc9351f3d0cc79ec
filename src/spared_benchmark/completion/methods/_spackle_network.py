"""SpaCKLE's network: a transformer encoder over the spots of one neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spared_benchmark.completion.methods._spackle_layers import (
    Layout,
    Weights,
    affine,
    attend,
    encoder_layer,
    feed_forward,
    layer_norm,
    linear,
    outward,
)
from spared_benchmark.training.dropout import Dropout


class SpackleNetwork(nn.Module):
    """Linear in, transformer encoder over the spots of a neighbourhood, linear out.

    Post-norm layers with one head, ReLU and no positional encoding (Ruiz et al. 2025). It holds
    the weights; `encode` and `encode_centres` compute, for one network or for several at once.
    ``beside`` is how many inputs of each spot stand beside its genes.
    """

    def __init__(
        self, genes: int, width: int, ffn: int, layers: int, dropout: float, beside: int = 0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.embed = nn.Linear(genes + beside, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 1, ffn, dropout, batch_first=True)
            for _ in range(layers)
        )
        self.readout = nn.Linear(width, genes)

    def weights(self) -> dict[str, Tensor]:
        """Return its weights as a stack of one copy."""
        return {name: weight.detach()[None] for name, weight in self.named_parameters()}


def encode(
    weights: Weights, expression: Tensor, layout: Layout, drop: Dropout, products: torch.dtype
) -> Tensor:
    """Return every spot's completed expression ``(n_copies, n_packed, n_genes)``.

    Args:
        weights: Stacked weights of `SpackleNetwork`.
        expression: Packed spots ``(n_packed, n_inputs)``.
        layout: Where they stand.
        drop: Dropout of this step.
        products: Type in which the encoder's products are computed; expression, which spans more
            than bfloat16 resolves, is read and written in float32.
    """
    spots = linear(expression[None], weights, "embed.")
    with _computing_in(products, spots.device):
        for number in range(depth(weights)):
            spots = encoder_layer(spots, weights, f"layers.{number}.", layout, drop)
    return linear(spots, weights, "readout.")


def encode_centres(
    weights: Weights, embedded: Tensor, members: Tensor, products: torch.dtype
) -> Tensor:
    """Return the completed expression of the first spot of each neighbourhood, without dropout.

    The first layer projects each spot once however many neighbourhoods it lies in; the last is
    computed for the centres alone.

    Args:
        weights: Stacked weights of `SpackleNetwork`, as they are or `ready_to_complete`.
        embedded: Spots after the first linear map ``(n_copies, n_spots, width)``.
        members: Rows of ``embedded`` ``(n_neighbourhoods, n_slots)``, −1 for no spot.
        products: As `encode`.

    Returns:
        ``(n_copies, n_neighbourhoods, n_genes)``.
    """
    drop = Dropout(0.0, None, embedded.device)
    layout, spots = Layout.of_members(members), embedded
    last = depth(weights) - 1
    with _computing_in(products, embedded.device):
        for number in range(last):
            spots = encoder_layer(spots, weights, f"layers.{number}.", layout, drop)
            layout = Layout.packed(members >= 0)
        spots = _centres(spots, weights, f"layers.{last}.", layout, drop)
    return linear(spots, weights, "readout.")


def _centres(spots: Tensor, weights: Weights, name: str, layout: Layout, drop: Dropout) -> Tensor:
    """Return an encoder layer's output for the first slots ``(n_copies, n_neighbourhoods, c)``.

    With a single query, projecting it back costs less than projecting every key and value: the
    scores q·(Kx) are (Kᵀq)·x, the bias of keys shifts them alike, and the mean of Vx + b is V
    applied to the mean of x, plus b.
    """
    slots = layout.lay_out(spots)
    before = slots[:, 0].reshape(spots.shape[0], -1, spots.shape[2])
    inward = weights[name + "self_attn.in_proj_weight"].chunk(3, dim=1)
    biases = weights[name + "self_attn.in_proj_bias"].chunk(3, dim=1)
    queries = torch.bmm(affine(before, inward[0], biases[0]), inward[1])
    attended = attend(queries.flatten(0, 1)[:, None], slots, slots, layout.present, drop)
    attended = affine(attended.reshape(before.shape), inward[2], biases[2])
    middle = layer_norm(before + outward(attended, weights, name), weights, name + "norm1.")
    update = feed_forward(middle, weights, name, drop)
    return layer_norm(middle + update, weights, name + "norm2.")


def ready_to_complete(weights: Weights, products: torch.dtype) -> dict[str, Tensor]:
    """Return the weights with less to compute for the same output.

    Attention averages values with weights that sum to 1, so the projection that follows it can be
    taken into the values, which are fewer: O(Σ aVx) + o is Σ a(OVx + o). Matrices are rounded to
    bfloat16 once where products are computed in it.
    """
    ready = dict(weights)
    for number in range(depth(weights)):
        name = f"layers.{number}.self_attn."
        out, shift = ready.pop(name + "out_proj.weight"), ready.pop(name + "out_proj.bias")
        query, key, value = weights[name + "in_proj_weight"].chunk(3, dim=1)
        biases = weights[name + "in_proj_bias"].chunk(3, dim=1)
        folded = torch.bmm(out, biases[2][..., None])[..., 0] + shift
        ready[name + "in_proj_weight"] = torch.cat([query, key, torch.bmm(out, value)], dim=1)
        ready[name + "in_proj_bias"] = torch.cat([*biases[:2], folded], dim=1)
    if products != torch.bfloat16:
        return ready
    inside = [name for name in ready if name.startswith("layers.") and ".norm" not in name]
    return ready | {name: ready[name].to(products) for name in inside}


def complete_centres(
    weights: Weights,
    expression: Tensor,
    members: Tensor,
    products: torch.dtype = torch.float32,
    batch_size: int | None = None,
) -> Tensor:
    """Return the completed expression of the first spot of each neighbourhood.

    Args:
        weights: Stacked weights of `SpackleNetwork`.
        expression: Input of all spots ``(n_spots, n_inputs)``.
        members: Rows of ``expression`` ``(n_neighbourhoods, n_slots)``, −1 for no spot.
        products: As `encode`.
        batch_size: Neighbourhoods at once, over all copies; the result does not depend on it.
            When not given, what stays in the cache of a CPU, or keeps a larger device busy.

    Returns:
        ``(n_copies, n_neighbourhoods, n_genes)``.
    """
    with torch.inference_mode():
        embedded = linear(expression[None], weights, "embed.")
        ready = ready_to_complete(weights, products)
        size = batch_size or (512 if embedded.device.type == "cpu" else 16384)
        parts = [
            encode_centres(ready, embedded, part, products)
            for part in torch.split(members, max(1, size // embedded.shape[0]))
        ]
        return torch.cat(parts, dim=1)


def depth(weights: Weights) -> int:
    """Return the number of encoder layers of stacked weights."""
    return sum(name.endswith("norm1.weight") for name in weights)


def _computing_in(products: torch.dtype, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=products == torch.bfloat16)
