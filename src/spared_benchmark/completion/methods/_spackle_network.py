"""SpaCKLE's network: a transformer encoder over the spots of one neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpackleNetwork(nn.Module):
    """Linear in, transformer encoder over the spots of a neighbourhood, linear out.

    Post-norm layers with one head, ReLU and no positional encoding (Ruiz et al. 2025). The first
    spot of a neighbourhood is its centre.
    """

    def __init__(self, genes: int, width: int, ffn: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(genes, width)
        stack = [
            nn.TransformerEncoderLayer(width, 1, ffn, dropout, batch_first=True)
            for _ in range(layers)
        ]
        self.layers = nn.ModuleList(stack[:-1])
        self.last = stack[-1]
        self.readout = nn.Linear(width, genes)

    def forward(self, expression: Tensor, padding: Tensor) -> Tensor:
        """Return every spot's completed expression.

        Args:
            expression: ``(n_neighbourhoods, n_slots, n_genes)``.
            padding: True where a slot holds no spot ``(n_neighbourhoods, n_slots)``.
        """
        hidden = self.embed(expression)
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=padding)
        completed: Tensor = self.readout(self.last(hidden, src_key_padding_mask=padding))
        return completed

    def centre(self, embedded: Tensor, padding: Tensor) -> Tensor:
        """Return the centres' completed expression ``(n_neighbourhoods, n_genes)``.

        The last layer is computed for the centres alone. In evaluation mode only.

        Args:
            embedded: Spots after `embed`, ``(n_neighbourhoods, n_slots, width)``.
            padding: ``(n_neighbourhoods, n_slots)``.
        """
        hidden = embedded
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=padding)
        last = self.last
        centre = hidden[:, :1]
        attended, _ = last.self_attn(
            centre, hidden, hidden, key_padding_mask=padding, need_weights=False
        )
        centre = last.norm1(centre + attended)
        forward = last.linear2(functional.relu(last.linear1(centre)))
        completed: Tensor = self.readout(last.norm2(centre + forward))
        return completed[:, 0]


def complete_centres(
    network: SpackleNetwork, expression: Tensor, members: Tensor, batch_size: int = 512
) -> Tensor:
    """Return the completed expression of the first spot of each neighbourhood.

    Each spot is embedded once however many neighbourhoods it lies in.

    Args:
        network: In evaluation mode.
        expression: Input of all spots ``(n_spots, n_genes)``.
        members: Rows of ``expression`` ``(n_neighbourhoods, n_slots)``, −1 for no spot.
        batch_size: Neighbourhoods at once; the result does not depend on it.
    """
    with torch.inference_mode():
        embedded = network.embed(expression)
        parts = [
            network.centre(embedded[part.clamp(min=0)], part < 0)
            for part in torch.split(members, batch_size)
        ]
    return torch.cat(parts) if parts else expression[:0]
