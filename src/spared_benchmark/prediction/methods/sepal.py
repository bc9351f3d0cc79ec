"""SEPAL: a graph network corrects a patch network's prediction from a spot's neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from spared_benchmark.errors import ConfigurationError, ContractError, nearest
from spared_benchmark.prediction.methods._local_graph import (
    GcnConv,
    GraphConv,
    LocalGraphs,
    TopNode,
    centre_node,
    nearest_spots,
    waves,
)
from spared_benchmark.prediction.predictor import NetworkPredictor, Predictor
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.sampling import batches
from spared_benchmark.prediction.selection import PREDICT_BATCH, predict_all
from spared_benchmark.prediction.staged import Staged, device_of
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Sampling
from spared_benchmark.prediction.wrappers import Wrapper
from spared_benchmark.registry import Card
from spared_benchmark.study import Size

_VARIANTS = ("visium", "st")


def _own(entry: int, widths: tuple[int, ...]) -> dict[str, Any]:
    shape = {"variant": "visium", "hops": 1, "entry": entry, "widths": widths}
    return {**shape, "out_of_fold": True, "first": {}, "faithful": False}


class Sepal(Staged):
    """ViT-B+Δ, then graph convolutions over the embeddings of a spot and those around it.

    A node is the first stage's embedding with a code of the node's place relative to the centre.
    The output is the first stage's prediction for the centre plus what the graph network says.

    Settings of its sizes:

    * ``variant``: ``visium`` (embedding and place side by side, a linear layer of width ``entry``,
      convolutions of ``widths``, readout, a linear layer) or ``st`` (both summed, one convolution
      to the genes, readout): the best of the publication's search for either technology;
    * ``hops``: radius of a neighbourhood;
    * ``out_of_fold``: see `Staged`, not if ``faithful``;
    * ``first``: settings of the first stage that are not those of its size;
    * ``faithful``: the last activation is ELU, which bounds the correction below by −1; the readout
      is the one node that scores best, which need not be the centre; and neighbours are the nearest
      spots, also where these lie far off at a border. Ours has no last activation, reads the centre
      and knows the neighbours on the lattice.

    Raises:
        ConfigurationError: For an unknown variant, or no hops.
    """

    card: ClassVar[Card] = Card(
        name="sepal",
        label="SEPAL",
        summary="ViT-B+Δ, corrected by graph convolutions over a spot's neighbourhood",
        source="Mejia et al., ICCV Workshops 2023",
        year=2023,
        uses=frozenset({"genes", "image", "space"}),
        sizes={
            "paper": _own(entry=512, widths=(256, 128)),
            "small": _own(entry=96, widths=(64, 32)),
            "tiny": _own(entry=32, widths=(32, 16)),
        },
        version=2,
        trained=True,
        weighs=True,
        stages=("vit_b_delta",),
    )

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        variant, hops = self.settings["variant"], self.settings["hops"]
        if variant not in _VARIANTS or hops < 1:
            msg = (
                f"sepal: found variant {variant!r}{nearest(variant, _VARIANTS)} and hops {hops}; "
                f"variants are {', '.join(_VARIANTS)}, and hops are 1 or more"
            )
            raise ConfigurationError(msg)

    @property
    def sampling(self) -> Sampling:
        """Neighbourhoods; pixels are the first stage's."""
        return Sampling(kind="ego", hops=self.settings["hops"])

    @property
    def out_of_fold(self) -> bool:
        """Whether train spots are shown by first stages fitted without them."""
        return super().out_of_fold and not self.settings["faithful"]

    def resident(self, slides: Sequence[BlindSlide], device: str = "cpu") -> Resident:
        """Return ``slides`` on ``device``; see `Predictor.resident`."""
        if self.settings["faithful"]:
            near = [nearest_spots(slide, slide.neighbours.shape[1]) for slide in slides]
            pairs = zip(slides, near, strict=True)
            slides = [replace(slide, neighbours=table) for slide, table in pairs]
        return super().resident(slides, device)

    def first_settings(self) -> dict[str, Any]:
        """Return what the setting ``first`` says."""
        return dict(self.settings["first"])

    def shown(self, stage: Predictor, slide: BlindSlide) -> Attached:
        """Return the first stage's embedding and prediction of each spot."""
        resident = stage.resident([slide], device_of(stage))
        network = _network_of(stage)
        with torch.no_grad():
            parts = [network.embedding(batch) for batch in batches(resident, PREDICT_BATCH)]
        return {
            "embedding": torch.cat(parts).float().cpu().numpy(),
            "prediction": predict_all(stage, resident).cpu().numpy(),
        }

    def build(self, n_genes: int) -> nn.Module:
        """Return the graph network for embeddings of the first stage.

        Raises:
            ConfigurationError: When their width is no multiple of four.
        """
        width = _network_of(self.stage).head.in_features
        if width % 4:
            msg = (
                f"sepal: the first stage's embedding is {width} wide; the code of a place needs a "
                "multiple of 4 (embed_dim under first: options)"
            )
            raise ConfigurationError(msg)
        if self.settings["variant"] == "st":
            return _Single(width, n_genes, faithful=self.settings["faithful"])
        return _Deep(
            2 * width,
            self.settings["entry"],
            self.settings["widths"],
            n_genes,
            faithful=self.settings["faithful"],
        )

    def forward(self, batch: NodeBatch) -> Tensor:
        """Return the first stage's predictions for the queries, corrected."""
        return batch.attached["prediction"][batch.query] + self.correction(batch)

    def correction(self, batch: NodeBatch) -> Tensor:
        """Return what is added to the first stage's predictions ``(n_queries, n_genes)``."""
        graphs = LocalGraphs.of(batch, self.settings["hops"])
        embedding = batch.attached["embedding"]
        centre = batch.array_rc[batch.query][batch.block]
        place = waves(batch.array_rc - centre, embedding.shape[1])
        if self.settings["variant"] == "st":
            nodes = embedding + place
        else:
            nodes = torch.cat([embedding, place], dim=1)
        correction: Tensor = self.module(nodes[graphs.rows], graphs)
        return correction


class _Deep(nn.Module):
    """The network for Visium: a linear layer, GCN layers, the readout, a linear layer."""

    def __init__(
        self, inputs: int, entry: int, widths: tuple[int, ...], n_genes: int, *, faithful: bool
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(inputs, entry)
        steps = zip((entry, *widths), widths, strict=False)
        self.layers = nn.ModuleList([GcnConv(before, after) for before, after in steps])
        last = (entry, *widths)[-1]
        self.pool = TopNode(last) if faithful else None
        self.head = nn.Linear(last, n_genes)

    def forward(self, nodes: Tensor, graphs: LocalGraphs) -> Tensor:
        nodes = elu(self.entry(nodes))
        for layer in self.layers:
            nodes = elu(layer(nodes, graphs.edges))
        if self.pool is None:
            output: Tensor = self.head(centre_node(nodes, graphs))
            return output
        return elu(self.head(self.pool(nodes, graphs)))


class _Single(nn.Module):
    """The network for ST: one convolution to the genes and the readout."""

    def __init__(self, inputs: int, n_genes: int, *, faithful: bool) -> None:
        super().__init__()
        self.head = GraphConv(inputs, n_genes)
        self.pool = TopNode(n_genes) if faithful else None

    def forward(self, nodes: Tensor, graphs: LocalGraphs) -> Tensor:
        genes: Tensor = self.head(nodes, graphs.edges)
        if self.pool is None:
            return centre_node(genes, graphs)
        kept: Tensor = self.pool(elu(genes), graphs)
        return kept


def _network_of(stage: Predictor) -> NetworkPredictor:
    within = stage.within if isinstance(stage, Wrapper) else stage
    if not isinstance(within, NetworkPredictor):
        msg = f"sepal: its first stage must be a network with an embedding; found {stage.card.name}"
        raise ContractError(msg)
    return within
