"""What completers that are one network share: the sweep, the slides one by one, the weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spared_benchmark.completion.closed_form import MeanBased, slide_means
from spared_benchmark.completion.methods._masked_data import MEAN_WEIGHT, Judged, MaskedData
from spared_benchmark.completion.residual import by_slide
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.training.sweep import sweep

if TYPE_CHECKING:
    from spared_benchmark.training.problem import Problem
    from spared_benchmark.training.sweep import Training

_WEIGHT = "network."


class NetworkCompleter(MeanBased):
    """A network that expects every gene's deviation from its slide mean, given the visible ones.

    Attributes:
        hops: Lattice steps of the neighbourhood that the network is given.
        centred: The network is given deviations from the slide gene means; otherwise the values
            themselves, with 0 for what is not visible.
    """

    hops: ClassVar[int] = 0
    centred: ClassVar[bool] = True

    @abstractmethod
    def _network(self) -> nn.Module:
        """Return a fresh network."""

    @abstractmethod
    def _problem(
        self, network: nn.Module, train: MaskedData, judged: Judged, batch_size: int
    ) -> Problem:
        """Return what is minimised."""

    @abstractmethod
    def _expected(self, network: nn.Module, data: MaskedData) -> Tensor:
        """Return what the network gives for every entry ``(n_spots, n_genes)``."""

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        super()._fit(train, selection, training)
        device = torch.device(training.device)
        data = MaskedData.of(train, self._level(train), self.hops, device)
        level = self._level(selection.visible)
        judged = Judged.of(self.card.name, selection, level, self.hops, device)

        def make(seed: int) -> Problem:  # noqa: ARG001 - the sweep seeds torch before
            network = self._network().to(device)
            return self._problem(network, data, judged, training.budget.batch_size)

        result = sweep(make, self.identified(training, train, selection))
        self.network = self._network().to(device).eval()
        self.network.load_state_dict(result.state)
        self.record = {"trials": [trial.summary() for trial in result.trials]}

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return by_slide(slide, self._one_slide)

    def _one_slide(self, slide: Visible) -> NDArray[np.float64]:
        device = next(self.network.parameters()).device
        level = self._level(slide)
        data = MaskedData.of(slide, level, self.hops, device)
        with torch.inference_mode():
            expected = self._expected(self.network, data).cpu().numpy()
        completed: NDArray[np.float64] = level + expected
        return completed

    def _level(self, given: Visible) -> NDArray[np.float64]:
        """Return what values are taken from before the network sees them."""
        if not self.centred:
            return np.zeros(given.values.shape)
        return slide_means(given, self.gene_mean, MEAN_WEIGHT)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return ``gene_mean`` and the network's weights as ``network.<name>``."""
        weights = {
            _WEIGHT + name: value.detach().cpu().numpy().copy()
            for name, value in self.network.state_dict().items()
        }
        return {**super().state(), **weights}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take ``gene_mean`` and the network's weights; it runs on the CPU then."""
        super().load_state(state)
        names = [name for name in state if name.startswith(_WEIGHT)]
        tensors = {
            name.removeprefix(_WEIGHT): torch.from_numpy(np.array(state[name])) for name in names
        }
        self.network = self._network().eval()
        self.network.load_state_dict(tensors)
