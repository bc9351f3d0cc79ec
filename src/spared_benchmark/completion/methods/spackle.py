"""SpaCKLE as its paper describes it: a transformer over the spots of a neighbourhood.

The released code attends over the mini-batch instead of the neighbourhood; this is the text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.methods._spackle_network import SpackleNetwork, complete_centres
from spared_benchmark.completion.methods._spackle_problem import (
    SpackleProblem,
    TrainData,
    ValidationData,
)
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import InputError
from spared_benchmark.registry import Card
from spared_benchmark.training.sweep import sweep

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training


class Spackle(Completer):
    """Centre spot and its neighbours within two lattice steps, completed together.

    Training: the median-completed matrix with 30 % of the measured entries set to 0, drawn anew
    every step; loss over all spots of the neighbourhood and all genes. Completion: everything not
    visible is 0, or what the slide's ``fill`` holds in the paper's own evaluation.
    """

    card: ClassVar[Card] = Card(
        name="spackle",
        label="SpaCKLE",
        summary="Transformer encoder over a spot and its neighbours within two lattice steps.",
        source="Ruiz et al. 2025, Completing Spatial Transcriptomics Data for Gene Expression "
        "Prediction Benchmarking, section 4",
        year=2024,
        uses=frozenset({"genes", "space"}),
        sizes={
            "paper": {"width": 128, "ffn": 2048},
            "small": {"width": 128, "ffn": 512},
            "tiny": {"width": 32, "ffn": 64},
        },
        trained=True,
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "hops": 2,
        "median_hops": 4,
        "hidden_fraction": 0.3,
        "layers": 2,
        "dropout": 0.1,
    }
    reads_fill: ClassVar[bool] = True

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        device = torch.device(training.device)
        train_data = self._train_data(train, device)
        validation = self._validation_data(selection, device)

        def make(seed: int) -> SpackleProblem:  # noqa: ARG001 - the sweep seeds torch before
            network = self._network().to(device)
            batch_size = training.budget.batch_size
            fraction = self.settings["hidden_fraction"]
            return SpackleProblem(network, train_data, validation, batch_size, fraction)

        identity = {
            **training.identity,
            "method": self.card.name,
            "version": self.card.version,
            "settings": self.settings,
            "train": train.digest(),
            "selection": selection.digest(),
        }
        result = sweep(make, dataclasses.replace(training, identity=identity))
        self.network = self._network().to(device).eval()
        self.network.load_state_dict(result.state)
        self.record = {"trials": [trial.summary() for trial in result.trials]}

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        device = next(self.network.parameters()).device
        expression = torch.from_numpy(slide.filled).to(device)
        members = _members(slide, self.settings["hops"], device)
        completed: NDArray[np.float32] = (
            complete_centres(self.network, expression, members).cpu().numpy()
        )
        return completed

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the network's weights by name."""
        state = self.network.state_dict()
        return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the network's weights; it runs on the CPU then."""
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        self.network = self._network().eval()
        self.network.load_state_dict(tensors)

    def _network(self) -> SpackleNetwork:
        setting = self.settings
        return SpackleNetwork(
            genes=len(self.genes),
            width=setting["width"],
            ffn=setting["ffn"],
            layers=setting["layers"],
            dropout=setting["dropout"],
        )

    def _train_data(self, train: Visible, device: torch.device) -> TrainData:
        if train.fill is None:
            complete = median_completed(train, self.settings["median_hops"])
        else:
            complete = train.filled
        return TrainData(
            complete=torch.from_numpy(complete).to(device),
            measured=torch.from_numpy(train.visible).to(device),
            members=_members(train, self.settings["hops"], device),
        )

    def _validation_data(self, selection: Selection, device: torch.device) -> ValidationData:
        judged = np.flatnonzero(selection.hidden.any(axis=1))
        if judged.size == 0:
            msg = "spackle: no entry is hidden for selection; give val slides with measured entries"
            raise InputError(msg)
        members = _members(selection.visible, self.settings["hops"], device)
        return ValidationData(
            expression=torch.from_numpy(selection.visible.filled).to(device),
            members=members[torch.from_numpy(judged).to(device)],
            hidden=torch.from_numpy(selection.hidden[judged]).to(device),
            truth=torch.from_numpy(selection.truth[judged]).to(device),
        )


def _members(given: Visible, hops: int, device: torch.device) -> torch.Tensor:
    """Return each spot and its neighbours ``(n_spots, 1 + k)``, −1 padded."""
    itself = np.arange(given.n_spots)[:, None]
    members = np.concatenate([itself, given.neighbours(hops)], axis=1).astype(np.int64)
    return torch.from_numpy(members).to(device)
