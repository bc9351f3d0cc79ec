"""Random forests on principal components of frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.forest import Forests, Growth, grow
from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.predictor import State
from spared_benchmark.prediction.standard import Standard, principal_axes
from spared_benchmark.prediction.types import NodeBatch, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import Size

_SETTINGS: dict[str, Any] = {
    "feature": "",
    "components": 256,
    "trees": 70,
    "trees_per_gene": 70,
    "leaf": 5,
    "share": 1 / 3,
}


class FeatureTrees(OnFeatures):
    """Standardise, principal components, random forest: the tree variant of HEST-bench.

    Where every entry counts, one forest of ``trees`` serves all genes, as there. Where some do not
    (target ``measured``), each gene has a forest of ``trees_per_gene`` on its own spots. Leaves
    hold at least ``leaf`` train spots and a third of the components is tried at each split
    (Breiman 2001), where HEST-bench splits down to single spots and tries all: that keeps time and
    stored arrays small. Draws are those of the first seed.
    """

    card: ClassVar[Card] = Card(
        name="feature_trees",
        label="Random forest on frozen features",
        summary="Random forest on principal components of a frozen image network's features",
        source="Jaume et al., HEST-1k, NeurIPS 2024; Breiman, Machine Learning 2001",
        year=2024,
        uses=frozenset({"genes", "image"}),
        sizes={
            "paper": _SETTINGS,
            "small": {**_SETTINGS, "components": 64, "trees_per_gene": 20},
            "tiny": {**_SETTINGS, "components": 8, "trees": 10, "trees_per_gene": 5},
        },
        exemptions=frozenset({"closed_form"}),
    )

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self._mean, self._rotation = np.zeros(0), np.zeros((0, 0))
        self._forests: Forests | None = None

    def prepare(self, train: Sequence[Slide]) -> None:
        """Grow the forests, drawing their seed from torch's global generator."""
        features = np.concatenate([self.features_of(slide.blind()) for slide in train])
        standard = Standard.of(features)
        axes = principal_axes(standard(features), self.settings["components"])
        self._mean, self._rotation = standard.mean, axes / standard.scale[:, None]
        y = np.concatenate([slide.y for slide in train])
        weight = np.concatenate([slide.counted for slide in train])
        growth = Growth(
            trees=self.settings["trees" if weight.all() else "trees_per_gene"],
            leaf=self.settings["leaf"],
            share=self.settings["share"],
            seed=int(torch.randint(2**31, ())),
            jobs=torch.get_num_threads(),
        )
        components = self._components(torch.from_numpy(features)).numpy()
        self._forests = grow(components, y, weight, growth)

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the mean over trees.

        Raises:
            ContractError: Before ``prepare`` or ``load_state``.
        """
        if self._forests is None:
            msg = "feature_trees has no trees yet: call prepare or load_state first"
            raise ContractError(msg)
        return self._forests.predict(self._components(self.inputs(batch)))

    def state(self) -> State:
        """Return the rotation and the trees."""
        trees = {} if self._forests is None else self._forests.state()
        return {"mean": self._mean, "rotation": self._rotation, **trees}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over."""
        self._mean, self._rotation = np.array(state["mean"]), np.array(state["rotation"])
        self._forests = Forests.from_state(state)

    def _components(self, features: Tensor) -> Tensor:
        """Return the principal components, float32 ``(n_spots, c)``, as the trees see them."""
        mean, rotation = (
            torch.from_numpy(array).to(features.device) for array in (self._mean, self._rotation)
        )
        return ((features.double() - mean) @ rotation).float()
