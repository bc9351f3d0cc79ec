"""STAGATE as published, with zeros for data."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from spared_benchmark.completion.methods._masked_data import Judged, MaskedData
from spared_benchmark.completion.methods._network_completer import NetworkCompleter
from spared_benchmark.completion.methods._stagate_network import StagateNetwork
from spared_benchmark.completion.methods._stagate_problem import SlideProblem
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.problem import Problem


def _restored(network: nn.Module, data: MaskedData) -> Tensor:
    restored: Tensor = network(data.values, data.members)
    return restored


class _Problem(SlideProblem):
    def slide_loss(
        self,
        slide: MaskedData,
        generator: torch.Generator,  # noqa: ARG002 - nothing is hidden
    ) -> Tensor:
        return (slide.values - _restored(self.module, slide)).square().sum().sqrt()

    def expected(self, data: MaskedData) -> Tensor:
        return _restored(self.module, data).clamp(min=0)


class StagateZeros(NetworkCompleter):
    """Fills with STAGATE's reconstruction, entries that are not visible standing in it as zeros.

    The published loss, the Frobenius norm of the error over all entries, with one network for all
    train slides. The step and rate with the least error on selection entries are kept; the
    published method has no such choice.
    """

    card: ClassVar[Card] = Card(
        name="stagate_zeros",
        label="STAGATE on zeros",
        summary="Graph attention auto-encoder over lattice neighbours with the published loss, "
        "what is not visible being zero.",
        source="Dong and Zhang 2022",
        year=2022,
        uses=frozenset({"genes", "space"}),
        sizes={
            "paper": {"width": 512, "latent": 30},
            "small": {"width": 128, "latent": 30},
            "tiny": {"width": 16, "latent": 4},
        },
        trained=True,
        exemptions=frozenset({"constant_gene"}),
    )
    hops: ClassVar[int] = 1
    centred: ClassVar[bool] = False

    def _network(self) -> StagateNetwork:
        return StagateNetwork(len(self.genes), self.settings["width"], self.settings["latent"])

    def _problem(
        self,
        network: nn.Module,
        train: MaskedData,
        judged: Judged,
        batch_size: int,  # noqa: ARG002 - a step is a slide
    ) -> Problem:
        return _Problem(network, train, judged)

    def _expected(self, network: nn.Module, data: MaskedData) -> Tensor:
        return _restored(network, data).clamp(min=0)
