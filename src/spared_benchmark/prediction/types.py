"""What predictors are given: slides, blind slides, and batches of their spots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ConfigurationError, ContractError, nearest
from spared_benchmark.study import Lattice

_LABELS = ("y", "measured", "weight", "counts")
# What a predictor computes of a slide without its labels: arrays with a row per spot, by name.
Attached = Mapping[str, NDArray[Any]]
# Whether an entry counts in the loss, or how much.
Weight = NDArray[np.bool_] | NDArray[np.float32]
Augment = Literal["none", "each", "together"]
AnySlide = TypeVar("AnySlide", bound="BlindSlide")


@dataclass(frozen=True)
class Patches:
    """The patches of a slide's spots, read where they lie (memory-mapped as a rule).

    Attributes:
        array: uint8 ``(n_stored, side, side, 3)``.
        rows: Which of them belong to the spots, ``(n_spots,)``.
        identity: Digest of the image and the window that they were cut from.
    """

    array: NDArray[np.uint8]
    rows: NDArray[np.int64]
    identity: str = ""

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the patches of spots ``start`` to ``stop``, ``(stop - start, side, side, 3)``."""
        return np.ascontiguousarray(self.array[self.rows[start:stop]])


@dataclass(frozen=True)
class BlindSlide:
    """A slide as a predictor may see it at prediction: everything but its expression.

    Attributes:
        slide: Its name.
        subject: The patient or animal.
        split: ``train``, ``val`` or ``test``.
        array_rc: Array row and column, int32 ``(n_spots, 2)``.
        xy_um: Place on the capture area by the lattice, µm, float32 ``(n_spots, 2)``.
        neighbours: Lattice neighbours, int32 ``(n_spots, k)``, −1 padded.
        lattice: How the spots lie.
        patches: Its patches; none when nothing needs pixels.
        features: Frozen features by encoder, each ``(n_spots, …)``.
        part_of: Name of the slide that it was cut from; nothing for a whole slide.
    """

    slide: str
    subject: str
    split: str
    array_rc: NDArray[np.int32]
    xy_um: NDArray[np.float32]
    neighbours: NDArray[np.int32]
    lattice: Lattice
    patches: Patches | None = None
    features: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    part_of: str = ""

    @property
    def n_spots(self) -> int:
        """Number of spots."""
        return len(self.array_rc)

    @property
    def whole(self) -> str:
        """Name of the slide that its spots lie on, also where it is a part with its own name."""
        return self.part_of or self.slide

    def take(self: AnySlide, rows: NDArray[np.integer[Any]]) -> AnySlide:
        """Return the slide with ``rows`` alone, in their order; neighbours are among them."""
        place = np.full(self.n_spots + 1, -1, dtype=np.int32)  # the last stands for −1
        place[rows] = np.arange(len(rows), dtype=np.int32)
        own: dict[str, Any] = {
            "array_rc": self.array_rc[rows],
            "xy_um": self.xy_um[rows],
            "neighbours": place[self.neighbours[rows]],
            "features": {name: values[rows] for name, values in self.features.items()},
        }
        if self.patches is not None:
            own["patches"] = replace(self.patches, rows=self.patches.rows[rows])
        if isinstance(self, Slide):
            own |= {name: value[rows] for name, value in self.labels().items()}
        return replace(self, **own)

    if not TYPE_CHECKING:  # so that a type checker refuses the same leak that this refuses

        def __getattr__(self, name: str) -> Any:
            if name in _LABELS:
                msg = (
                    f"slide {self.slide!r} is blind: {name!r} is withheld from predictors; labels "
                    "are given to prepare (train slides) and to the loss, never to prediction"
                )
                raise AttributeError(msg)
            msg = f"{type(self).__name__} has no attribute {name!r}"
            raise AttributeError(msg)


@dataclass(frozen=True, kw_only=True)
class Slide(BlindSlide):
    """A slide with its expression.

    Attributes:
        y: What a predictor is trained on, float32 ``(n_spots, n_genes)``.
        measured: Whether the entry has a non-zero count, bool ``(n_spots, n_genes)``.
        weight: Whether the entry counts in the loss, bool, or how much, float32 from 0 to 1
            ``(n_spots, n_genes)``.
        counts: Molecules, for likelihoods of counts ``(n_spots, n_genes)``; none when unknown.
    """

    y: NDArray[np.float32]
    measured: NDArray[np.bool_]
    weight: Weight
    counts: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shapes = {name: value.shape for name, value in self.labels().items()}
        if len(set(shapes.values())) != 1 or len(self.y) != self.n_spots:
            msg = f"slide {self.slide!r}: {self.n_spots} spots, but labels of shape {shapes}"
            raise ContractError(msg)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Whether the entry counts in the loss at all ``(n_spots, n_genes)``."""
        return self.weight > 0

    def labels(self) -> dict[str, NDArray[Any]]:
        """Return everything that a blind slide lacks, by name."""
        known = {name: getattr(self, name) for name in _LABELS}
        return {name: value for name, value in known.items() if value is not None}

    def blind(self) -> BlindSlide:
        """Return the slide without its expression."""
        return BlindSlide(**{one.name: getattr(self, one.name) for one in fields(BlindSlide)})


@dataclass(frozen=True)
class Sampling:
    """Which spots a predictor wants together, and what of them.

    Attributes:
        kind: ``spots`` (any spots of any slides), ``ego`` (each with its neighbourhood) or
            ``slide`` (all spots of one slide).
        hops: Radius of an ``ego`` neighbourhood; 0 is ``spots``.
        tiles: A ``slide`` is cut into ``tiles`` by ``tiles`` sections, each processed alone.
        halo: Lattice steps of spots around a tile that are seen and not predicted.
        region: Training batches of a ``slide`` are so many spots around one at random; 0 is the
            whole slide or tile. A remedy of ours for cohorts with one train slide, which otherwise
            have a single training example.
        image_size: Side of the patches wanted, pixels; none when no pixels are.
        features: Encoders whose frozen features are wanted.
        counts: Whether the loss wants the molecules of train spots.
        augment: Training patches are flipped and turned at random: each in its own way, or all of
            a batch ``together`` (the published code).
    """

    kind: Literal["spots", "ego", "slide"] = "spots"
    hops: int = 0
    tiles: int = 1
    halo: int = 0
    region: int = 0
    image_size: int | None = None
    features: tuple[str, ...] = ()
    counts: bool = False
    augment: Augment = "none"

    def __post_init__(self) -> None:
        sizes = {"hops": self.hops, "tiles": self.tiles - 1, "halo": self.halo}
        wrong = [name for name, size in {**sizes, "region": self.region}.items() if size < 0]
        sliced = self.tiles > 1 or self.halo > 0 or self.region > 0
        if wrong or (sliced and self.kind != "slide") or (self.hops and self.kind != "ego"):
            msg = (
                f"{self}: hops belong to 'ego', tiles (1 or more), halo and region to 'slide', and "
                "none is negative"
            )
            raise ConfigurationError(msg)


@dataclass(frozen=True)
class NodeBatch:
    """Spots that are processed together; those of a block may see one another.

    Attributes:
        slide: Slide of each node, int64 ``(n_nodes,)``.
        spot: Row of each node among all resident spots, int64 ``(n_nodes,)``.
        block: Block of each node, int64 ``(n_nodes,)``.
        query: Nodes that a prediction is asked for, bool ``(n_nodes,)``.
        array_rc: Array row and column, ``(n_nodes, 2)``.
        xy_um: Place, µm, ``(n_nodes, 2)``.
        place: Array row and column scaled to [−1, 1] on each slide, ``(n_nodes, 2)``.
        neighbours: Lattice neighbours as rows of this batch, ``(n_nodes, k)``, −1 where the
            neighbour is not in the block; none for kind ``spots``.
        pixels: uint8 ``(n_nodes, 3, side, side)``.
        features: Frozen features by encoder, each ``(n_nodes, …)``.
        attached: What the predictor attached to the spots, by name, each ``(n_nodes, …)``.
        y: Target ``(n_nodes, n_genes)``; none for blind slides.
        weight: Which entries count in the loss, bool, or how much; none for blind slides.
        counts: Molecules ``(n_nodes, n_genes)``; none for blind slides or when not asked for.
    """

    slide: Tensor
    spot: Tensor
    block: Tensor
    query: Tensor
    array_rc: Tensor
    xy_um: Tensor
    place: Tensor
    neighbours: Tensor | None = None
    pixels: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    attached: Mapping[str, Tensor] = field(default_factory=dict)
    y: Tensor | None = None
    weight: Tensor | None = None
    counts: Tensor | None = None

    def labels(self) -> tuple[Tensor, Tensor]:
        """Return target and weight in the loss of the queries, each ``(n_queries, n_genes)``.

        Raises:
            ContractError: When the batch is of blind slides.
        """
        if self.y is None or self.weight is None:
            msg = "a batch of blind slides has no target; only train slides enter a loss"
            raise ContractError(msg)
        return self.y[self.query], self.weight[self.query]

    def images(self) -> Tensor:
        """Return the pixels.

        Raises:
            ContractError: When the sampling did not ask for pixels.
        """
        if self.pixels is None:
            msg = "the batch has no pixels; give Sampling an image_size"
            raise ContractError(msg)
        return self.pixels

    def lattice(self) -> Tensor:
        """Return the neighbours ``(n_nodes, k)``.

        Raises:
            ContractError: When nodes of the batch have no neighbourhood.
        """
        if self.neighbours is None:
            msg = "the batch has no neighbours; ask for kind 'ego' with hops, or 'slide'"
            raise ContractError(msg)
        return self.neighbours

    def feature(self, name: str) -> Tensor:
        """Return the features of one encoder, of all nodes ``(n_nodes, …)``.

        Raises:
            ContractError: When the sampling did not ask for them.
        """
        if name not in self.features:
            msg = (
                f"the batch has no features {name!r}{nearest(name, self.features)}; it has "
                f"{', '.join(self.features) or 'none'}; name the encoder in Sampling.features"
            )
            raise ContractError(msg)
        return self.features[name]
