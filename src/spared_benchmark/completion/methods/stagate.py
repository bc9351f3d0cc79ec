"""STAGATE's graph attention auto-encoder, trained on hidden entries."""

from __future__ import annotations

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
from spared_benchmark.completion.methods._stagate_network import StagateNetwork
from spared_benchmark.completion.methods._stagate_problem import SlideProblem
from spared_benchmark.registry import Card

if TYPE_CHECKING:
    from spared_benchmark.training.problem import Problem


def _restored(network: nn.Module, values: Tensor, data: MaskedData, visible: Tensor) -> Tensor:
    offset = offset_of(values, visible)
    given = network_input(values, visible, offset)
    expected: Tensor = offset + network(given, data.members)[:, : values.shape[1]]
    return expected


class _Problem(SlideProblem):
    def __init__(
        self,
        network: nn.Module,
        train: MaskedData,
        judged: Judged,
        hidden: tuple[float, float],
    ) -> None:
        super().__init__(network, train, judged)
        self.hidden = hidden

    def slide_loss(self, slide: MaskedData, generator: torch.Generator) -> Tensor:
        hidden = hide(slide.visible, *self.hidden, generator)
        values = slide.values.masked_fill(hidden, 0.0)
        expected = _restored(self.module, values, slide, slide.visible & ~hidden)
        errors = (expected - slide.values).square() * hidden
        return errors.sum() / hidden.sum().clamp(min=1)

    def expected(self, data: MaskedData) -> Tensor:
        return _restored(self.module, data.values, data, data.visible)


class Stagate(NetworkCompleter):
    """Fills with the spot offset plus STAGATE's reconstruction of the deviation beyond it.

    Input: deviations from the slide gene means less the spot offset, 0 where not visible, beside
    what is visible. In training a random share of visible entries is hidden and the loss is the
    squared error on them: with the published loss, over the entries it is shown, the network
    learns to copy. One network for all train slides, applied to a slide it has not seen.
    """

    card: ClassVar[Card] = Card(
        name="stagate",
        label="STAGATE, mask-aware",
        summary="Graph attention auto-encoder over lattice neighbours, trained to restore hidden "
        "entries.",
        source="Dong and Zhang 2022, with the loss of a masked auto-encoder",
        year=2022,
        uses=frozenset({"genes", "space"}),
        sizes={
            "paper": {"width": 512, "latent": 30},
            "small": {"width": 128, "latent": 30},
            "tiny": {"width": 16, "latent": 4},
        },
        trained=True,
    )
    defaults: ClassVar[dict[str, Any]] = {"least_hidden": 0.2, "most_hidden": 0.5}
    hops: ClassVar[int] = 1

    def _network(self) -> StagateNetwork:
        setting = self.settings
        return StagateNetwork(2 * len(self.genes), setting["width"], setting["latent"])

    def _problem(
        self,
        network: nn.Module,
        train: MaskedData,
        judged: Judged,
        batch_size: int,  # noqa: ARG002 - a step is a slide
    ) -> Problem:
        # A gene that never deviates on train is given no deviation.
        network.get_buffer("spread")[: train.values.shape[1]] = train.spread()
        hidden = (self.settings["least_hidden"], self.settings["most_hidden"])
        return _Problem(network, train, judged, hidden)

    def _expected(self, network: nn.Module, data: MaskedData) -> Tensor:
        return _restored(network, data.values, data, data.visible)
