"""SpaCKLE as its released code behaves, to match published numbers and for nothing else."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.methods._released_neighbours import nearest_spots
from spared_benchmark.completion.methods._released_problem import (
    ReleasedProblem,
    complete_in_batches,
)
from spared_benchmark.completion.methods._spackle_network import SpackleNetwork
from spared_benchmark.completion.methods.spackle import Spackle
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.registry import Card


class SpackleAsReleased(Spackle):
    """What the public code of SpaCKLE computes, where that is not what its paper says.

    - Attention runs over the batch, separately for each slot of a neighbourhood, because the
      layers take the first axis for the sequence. A spot's neighbours never change its completed
      values; the other spots of its batch do. Batches follow the order of the spots.
    - Neighbours, further samples in training, are the 18 nearest spots of all train slides laid
      on top of one another. Their places come from the lattice with unit pitch, not from pixels.
    - The transformer is as wide as there are genes.
    - A measured entry is hidden with probability 0.3 over the gene's share of visible train
      entries, at most 1: 30 % of all entries, not of measured ones. The released code takes the
      share over all splits.
    - Missing entries keep their medians in training and validation and are 0 in use.
    - Training and validation drop the last incomplete batch. Where a split is smaller than a
      batch the released code ends in an error; here it is one batch.

    Not repeated: an unused layer of the network, masks drawn anew at each validation, and medians
    that were computed before entries were hidden, but for the score in the paper's evaluation; and
    batches that hold spots of several slides in use, where each slide is completed alone.
    """

    card: ClassVar[Card] = Card(
        name="spackle_as_released",
        label="SpaCKLE as released (number matching only)",
        summary="Released behaviour, for number matching only: spots of a batch attend to one "
        "another, and neighbours are never used.",
        source="Public code of Ruiz et al. 2025, package spared 2.2.1",
        year=2024,
        uses=frozenset({"genes"}),
        kind="control",
        sizes={
            "paper": {"ffn": 2048, "precision": "auto"},
            "small": {"ffn": 512, "precision": "auto"},
            "tiny": {"ffn": 64, "precision": "float32"},
        },
        trained=True,
        exemptions=frozenset(
            {"constant_gene", "batch_composition", "slide_isolation", "spot_order"}
        ),
    )
    takes_image: ClassVar[bool] = False
    problem: ClassVar[type[ReleasedProblem]] = ReleasedProblem
    defaults: ClassVar[dict[str, Any]] = {
        "neighbours": 18,
        "median_hops": 4,
        "hidden_fraction": 0.3,
        "hiding": "published",
        "loss": "complete",
        "layers": 2,
        "dropout": 0.1,
        "batch_size": 256,
    }

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        device = next(self.network.parameters()).device
        expression = torch.from_numpy(slide.filled).to(device)
        products, batch_size = self._products(device), self.settings["batch_size"]
        completed = complete_in_batches(self.network.weights(), expression, batch_size, products)
        values: NDArray[np.float32] = completed[0].cpu().numpy()
        return values

    def _network(self) -> SpackleNetwork:
        setting, genes = self.settings, len(self.genes)
        return SpackleNetwork(genes, genes, setting["ffn"], setting["layers"], setting["dropout"])

    def _judged_rows(self, selection: Selection) -> NDArray[np.intp]:
        return np.arange(selection.visible.n_spots)

    def _judged_input(self, selection: Selection) -> NDArray[np.float32]:
        if selection.visible.fill is not None:
            return selection.visible.filled
        medians = median_completed(selection.visible, self.settings["median_hops"])
        return np.where(selection.hidden, np.float32(0), medians)

    def _members(self, given: Visible, device: torch.device) -> torch.Tensor:
        itself = np.arange(given.n_spots)[:, None]
        table = nearest_spots(given, self.settings["neighbours"])
        return torch.from_numpy(np.concatenate([itself, table], axis=1)).to(device)
