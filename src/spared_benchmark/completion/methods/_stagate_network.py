"""STAGATE's auto-encoder: one attention over lattice neighbours, weights tied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class StagateNetwork(nn.Module):
    """Graph attention auto-encoder with tied weights (Dong and Zhang 2022).

    Encoder: linear, attention over the spot and its neighbours, ELU, linear. Decoder: the same in
    reverse with the transposed weights and the encoder's attention. The attention of spot i to j
    is the softmax over j of sigmoid(a · h_i + b · h_j).

    Attributes:
        spread: What each output is multiplied by, a constant ``(n_inputs,)``; 1 unless set.
    """

    spread: Tensor

    def __init__(self, inputs: int, width: int, latent: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.empty(inputs, width))
        self.second = nn.Parameter(torch.empty(width, latent))
        self.own = nn.Parameter(torch.empty(width, 1))
        self.other = nn.Parameter(torch.empty(width, 1))
        for weight in self.parameters():
            nn.init.xavier_uniform_(weight)
        self.register_buffer("spread", torch.ones(inputs))

    def forward(self, given: Tensor, members: Tensor) -> Tensor:
        """Return the reconstruction ``(n_spots, n_inputs)``.

        Args:
            given: ``(n_spots, n_inputs)``.
            members: Each spot and its neighbours ``(n_spots, n_slots)``, −1 for no spot.
        """
        slots = members.clamp(min=0)
        embedded = given @ self.first
        logits = torch.sigmoid(embedded @ self.own + (embedded @ self.other)[slots, 0])
        attention = torch.softmax(logits.masked_fill(members < 0, -torch.inf), dim=1)
        latent = functional.elu(_attended(embedded, slots, attention)) @ self.second
        restored = functional.elu(_attended(latent @ self.second.T, slots, attention))
        return (restored @ self.first.T) * self.spread


def _attended(values: Tensor, slots: Tensor, attention: Tensor) -> Tensor:
    return torch.einsum("nk,nkd->nd", attention, values[slots])
