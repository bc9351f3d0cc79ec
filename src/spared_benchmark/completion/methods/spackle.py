"""SpaCKLE as its paper describes it: a transformer over the spots of a neighbourhood.

The released code attends over the mini-batch instead of the neighbourhood; this is the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.methods._spackle_features import Features
from spared_benchmark.completion.methods._spackle_network import SpackleNetwork, complete_centres
from spared_benchmark.completion.methods._spackle_problem import (
    SpackleProblem,
    TrainData,
    ValidationData,
)
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ConfigurationError, InputError, nearest
from spared_benchmark.registry import Card
from spared_benchmark.study import Size
from spared_benchmark.training.precision import product_type
from spared_benchmark.training.stacked import stacked_sweep

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_ALLOWED: dict[str, tuple[str, ...]] = {
    "hiding": ("measured", "published"),
    "loss": ("complete", "measured"),
    "pre_completion": ("median", "none"),
    "precision": ("auto", "float32", "bfloat16"),
}


class Spackle(Completer):
    """Centre spot and its neighbours within two lattice steps, completed together.

    Training: the median-completed matrix with some of the measured entries set to 0, drawn anew
    every step; loss over all spots of the neighbourhood and all genes. Completion: everything not
    visible is 0, or what the slide's ``fill`` holds in the paper's own evaluation. All learning
    rates are trained as one program. Features of the spots' images, where they are shown, are
    standardised over the train spots and are inputs beside the genes; they are never hidden.

    The paper's budget is 10,000 steps of 256 neighbourhoods, ten learning rates evenly spaced in
    logarithm from 1e-5 to 1e-2, seed 42.

    Hyper-parameters: ``hops`` of the neighbourhood, 0 for the spot alone; ``pre_completion`` of
    missing entries by the ``median`` over ``median_hops``, or ``none``: they are 0 in inputs and
    targets, whatever the slide's ``fill`` holds;
    ``hidden_fraction`` of the measured entries (``hiding: measured``) or, as in the released
    code, of all entries (``hiding: published``: the probability is the fraction over the share of
    train spots where the gene is visible, at most 1); ``loss`` over the ``complete`` matrix or
    ``measured`` entries only; ``precision`` of the encoder's products, where ``auto`` is bfloat16
    on devices that multiply it natively.
    """

    card: ClassVar[Card] = Card(
        name="spackle",
        label="SpaCKLE",
        summary="Transformer encoder over a spot and its neighbours within two lattice steps.",
        source="Ruiz et al. 2025, Completing Spatial Transcriptomics Data for Gene Expression "
        "Prediction Benchmarking, section 4; there trained for 10,000 steps of 256 at each of ten "
        "learning rates from 1e-5 to 1e-2",
        year=2024,
        uses=frozenset({"genes", "space"}),
        version=2,
        sizes={
            "paper": {"width": 128, "ffn": 2048, "precision": "auto"},
            "small": {"width": 128, "ffn": 512, "precision": "auto"},
            "tiny": {"width": 32, "ffn": 64, "precision": "float32"},
        },
        trained=True,
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "hops": 2,
        "pre_completion": "median",
        "median_hops": 4,
        "hidden_fraction": 0.3,
        "hiding": "measured",
        "loss": "complete",
        "layers": 2,
        "dropout": 0.1,
    }
    reads_fill: ClassVar[bool] = True
    takes_image: ClassVar[bool] = True
    problem: ClassVar[type[SpackleProblem]] = SpackleProblem

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        for key, allowed in _ALLOWED.items():
            found = self.settings.get(key, allowed[0])
            if found not in allowed:
                msg = (
                    f"{self.card.name}: {key} is {found!r}{nearest(str(found), allowed)}; "
                    f"allowed: {', '.join(allowed)}"
                )
                raise ConfigurationError(msg)
        self._features = Features.none()

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        device = torch.device(training.device)
        self._features = Features.of(train.image)
        train_data = self._train_data(train, device)
        validation = self._validation_data(selection, device)

        def make(seed: int) -> SpackleProblem:  # noqa: ARG001 - the sweep seeds torch before
            network = self._network().to(device)
            return self._problem(network, train_data, validation, training.budget.batch_size)

        result = stacked_sweep(make, self.identified(training, train, selection))
        self.network = self._network().to(device).eval()
        self.network.load_state_dict(result.state)
        # Whoever loads it computes as it was trained, on any machine.
        self.settings["precision"] = str(self._products(device)).removeprefix("torch.")
        self.record = {"trials": [trial.summary() for trial in result.trials]}

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        device = next(self.network.parameters()).device
        expression = torch.from_numpy(self._given(slide)).to(device)
        members = self._members(slide, device)
        products = self._products(device)
        completed = complete_centres(self.network.weights(), expression, members, products)[0]
        values: NDArray[np.float32] = completed.cpu().numpy()
        return values

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the network's weights by name, and how features of images are standardised."""
        state = self.network.state_dict()
        weights = {name: value.detach().cpu().numpy().copy() for name, value in state.items()}
        return weights | self._features.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the network's weights; it runs on the CPU then."""
        self._features, weights = Features.loaded(state)
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
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
            beside=self._features.count,
        )

    def _problem(
        self,
        network: SpackleNetwork,
        train: TrainData,
        validation: ValidationData,
        batch_size: int,
    ) -> SpackleProblem:
        products = self._products(train.complete.device)
        over = self.settings["loss"]
        return self.problem(network, train, validation, batch_size, over, products)

    def _products(self, device: torch.device) -> torch.dtype:
        return product_type(self.settings["precision"], device)

    def _train_data(self, train: Visible, device: torch.device) -> TrainData:
        if self._raw:
            complete = train.values
        elif train.fill is None:
            complete = median_completed(train, self.settings["median_hops"])
        else:
            complete = train.filled
        image = self._features.standardised(self.name, train.image)
        return TrainData(
            complete=torch.from_numpy(complete).to(device),
            measured=torch.from_numpy(train.visible).to(device),
            members=self._members(train, device),
            hide=torch.from_numpy(self._hiding(train)).to(device),
            image=None if image is None else torch.from_numpy(image).to(device),
        )

    def _hiding(self, train: Visible) -> NDArray[np.float32]:
        """Return the probability that a measured entry of each gene is hidden ``(n_genes,)``."""
        fraction = self.settings["hidden_fraction"]
        hide = np.full(len(train.genes), fraction, dtype=np.float32)
        if self.settings["hiding"] == "published":
            share = train.visible.mean(axis=0)
            hide = np.minimum(hide / np.maximum(share, 1 / train.n_spots), 1).astype(np.float32)
        return hide

    def _validation_data(self, selection: Selection, device: torch.device) -> ValidationData:
        if not selection.hidden.any():
            msg = (
                f"{self.card.name}: no entry is hidden for selection; give val slides with "
                "measured entries"
            )
            raise InputError(msg)
        judged = self._judged_rows(selection)
        members = self._members(selection.visible, device)
        return ValidationData(
            expression=torch.from_numpy(self._judged_input(selection)).to(device),
            members=members[torch.from_numpy(judged).to(device)],
            hidden=torch.from_numpy(selection.hidden[judged]).to(device),
            truth=torch.from_numpy(selection.truth[judged]).to(device),
        )

    def _judged_rows(self, selection: Selection) -> NDArray[np.intp]:
        """Return the val spots that are completed to be judged."""
        return np.flatnonzero(selection.hidden.any(axis=1))

    def _judged_input(self, selection: Selection) -> NDArray[np.float32]:
        """Return what is given of the val slides ``(n_spots, n_inputs)``: as in use."""
        return self._given(selection.visible)

    @property
    def _raw(self) -> bool:
        """Whether missing entries stay 0."""
        return bool(self.settings.get("pre_completion") == "none")

    def _given(self, seen: Visible) -> NDArray[np.float32]:
        """Return the network's input ``(n_spots, n_inputs)``: genes, then features of images."""
        genes = seen.values if self._raw else seen.filled
        image = self._features.standardised(self.name, seen.image)
        return genes if image is None else np.concatenate([genes, image], axis=1)

    def _members(self, given: Visible, device: torch.device) -> torch.Tensor:
        """Return each spot and its neighbours ``(n_spots, 1 + k)``, −1 padded."""
        itself = np.arange(given.n_spots)[:, None]
        table = given.neighbours(self.settings["hops"])
        members = np.concatenate([itself, table], axis=1).astype(np.int64)
        return torch.from_numpy(members).to(device)
