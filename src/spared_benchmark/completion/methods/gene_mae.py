"""A masked auto-encoder over genes: each spot for itself, without space."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from spared_benchmark.completion.methods._masked_data import (
    Judged,
    MaskedData,
    hide,
    network_input,
    offset_of,
)
from spared_benchmark.completion.methods._network_completer import NetworkCompleter
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.problem import Problem


class GeneMaeNetwork(nn.Module):
    """Multilayer perceptron from visible deviations to the expected ones of all genes.

    It adds to the spot offset and begins at that offset: the last layer starts at 0.
    """

    def __init__(self, genes: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = [2 * genes] + [width] * layers
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths):
            blocks += [nn.Linear(before, after), nn.GELU(), nn.Dropout(dropout)]
        self.body = nn.Sequential(*blocks)
        self.readout = nn.Linear(width, genes)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, values: Tensor, visible: Tensor) -> Tensor:
        """Return the expected deviation of every gene ``(n_spots, n_genes)``.

        Args:
            values: Deviations from the slide gene means, 0 wherever not visible.
            visible: ``(n_spots, n_genes)``.
        """
        offset = offset_of(values, visible)
        hidden = self.body(network_input(values, visible, offset))
        expected: Tensor = offset + self.readout(hidden)
        return expected


class _Problem:
    """Error on hidden entries of random train spots, another share hidden of each."""

    def __init__(
        self,
        network: nn.Module,
        train: MaskedData,
        judged: Judged,
        batch_size: int,
        hidden: tuple[float, float],
    ) -> None:
        self.module = network
        self.train, self.judged = train, judged
        self.batch_size = min(batch_size, len(train.values))
        self.hidden = hidden

    @property
    def views_per_step(self) -> int:
        return self.batch_size

    def loss(self, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randperm(len(self.train.values), generator=generator)[: self.batch_size]
        rows = rows.to(self.train.values.device)
        values, visible = self.train.values[rows], self.train.visible[rows]
        hidden = hide(visible, *self.hidden, generator)
        expected = self.module(values.masked_fill(hidden, 0.0), visible & ~hidden)
        errors = (expected - values).square() * hidden
        return {"loss": errors.sum() / hidden.sum().clamp(min=1)}

    def validate(self) -> dict[str, float]:
        data = self.judged.data
        return {"val_mse": self.judged.error(self.module(data.values, data.visible))}


class GeneMae(NetworkCompleter):
    """Fills with what a network expects of a spot's hidden genes given its visible ones.

    Input: deviations from the slide gene means less the spot offset, 0 where not visible, beside
    what is visible. In training a random share of each spot's visible entries is hidden, and the
    loss is the squared error on them.
    """

    card: ClassVar[Card] = Card(
        name="gene_mae",
        label="Masked auto-encoder",
        summary="Multilayer perceptron over the genes of one spot, trained to restore hidden "
        "entries from visible ones.",
        source="denoising auto-encoder (Vincent et al. 2008) with masked targets (He et al. 2022)",
        year=2022,
        uses=frozenset({"genes"}),
        sizes={
            "paper": {"width": 512, "layers": 3},
            "small": {"width": 256, "layers": 2},
            "tiny": {"width": 32, "layers": 1},
        },
        trained=True,
    )
    defaults: ClassVar[dict[str, Any]] = {
        "dropout": 0.3,
        "least_hidden": 0.1,
        "most_hidden": 0.7,
    }

    def _network(self) -> GeneMaeNetwork:
        setting = self.settings
        return GeneMaeNetwork(
            len(self.genes), setting["width"], setting["layers"], setting["dropout"]
        )

    def _problem(
        self, network: nn.Module, train: MaskedData, judged: Judged, batch_size: int
    ) -> Problem:
        hidden = (self.settings["least_hidden"], self.settings["most_hidden"])
        return _Problem(network, train, judged, batch_size, hidden)

    def _expected(self, network: nn.Module, data: MaskedData) -> Tensor:
        expected: Tensor = network(data.values, data.visible)
        return expected
