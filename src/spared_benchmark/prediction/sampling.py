"""Slides resident on the device, and the batches drawn from them by index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spared_benchmark.errors import ContractError, nearest
from spared_benchmark.prediction.images import dihedral, resized
from spared_benchmark.prediction.types import BlindSlide, NodeBatch, Sampling, Slide


@dataclass(frozen=True)
class Resident:
    """All spots of some slides, one tensor per thing known of them, rows in slide order."""

    sampling: Sampling
    names: tuple[str, ...]
    slide: Tensor
    array_rc: Tensor
    xy_um: Tensor
    place: Tensor
    neighbours: Tensor
    pixels: Tensor | None
    z: Tensor | None
    y: Tensor | None
    weight: Tensor | None

    @property
    def n_spots(self) -> int:
        """Number of spots of all slides."""
        return len(self.slide)

    @classmethod
    def of(cls, slides: Sequence[BlindSlide], sampling: Sampling, device: str = "cpu") -> Resident:
        """Bring ``slides`` to ``device``; labels come along when every slide has them."""
        labelled = [slide for slide in slides if isinstance(slide, Slide)]
        known = len(labelled) == len(slides)
        codes = np.repeat(np.arange(len(slides)), [slide.n_spots for slide in slides])
        return cls(
            sampling=sampling,
            names=tuple(slide.slide for slide in slides),
            slide=torch.from_numpy(codes).to(device),
            array_rc=_joined([slide.array_rc for slide in slides], device),
            xy_um=_joined([slide.xy_um for slide in slides], device),
            place=_joined([scaled_place(slide.array_rc) for slide in slides], device),
            neighbours=_shifted(slides).to(device),
            pixels=_pixels(slides, sampling.image_size, device),
            z=_features(slides, sampling.feature, device),
            y=_joined([slide.y for slide in labelled], device) if known else None,
            weight=_joined([slide.weight for slide in labelled], device) if known else None,
        )


def scaled_place(array_rc: np.ndarray) -> np.ndarray:
    """Return array rows and columns scaled to [−1, 1] over the slide; 0 where they do not vary."""
    low, high = array_rc.min(axis=0), array_rc.max(axis=0)
    span = np.maximum(high - low, 1)
    scaled = np.where(high > low, 2 * (array_rc - low) / span - 1, 0.0)
    return scaled.astype(np.float32)


def draw(resident: Resident, batch_size: int, generator: torch.Generator) -> NodeBatch:
    """Return a training batch: distinct spots at random, or one slide at random."""
    if resident.sampling.kind == "slide":
        chosen = torch.randint(len(resident.names), (), generator=generator)
        queries = torch.nonzero(resident.slide == chosen.to(resident.slide.device)).flatten()
    else:
        order = torch.randperm(resident.n_spots, generator=generator)
        queries = order[:batch_size].to(resident.slide.device)
    batch = gather(resident, queries)
    if not resident.sampling.augment or batch.pixels is None:
        return batch
    view = torch.randint(8, (len(batch.spot),), generator=generator).to(batch.pixels.device)
    return _with_pixels(batch, dihedral(batch.pixels, view))


def batches(resident: Resident, batch_size: int) -> Iterator[NodeBatch]:
    """Yield every spot exactly once as a query, in order and not augmented."""
    rows = torch.arange(resident.n_spots, device=resident.slide.device)
    if resident.sampling.kind == "slide":
        yield from (gather(resident, rows[resident.slide == c]) for c in range(len(resident.names)))
        return
    for start in range(0, resident.n_spots, batch_size):
        yield gather(resident, rows[start : start + batch_size])


def gather(resident: Resident, queries: Tensor) -> NodeBatch:
    """Return the batch that predicts for the resident rows ``queries``, in their order.

    One rule for all kinds: an ``ego`` batch of 0 hops is a batch of ``spots``; a ``slide`` is one
    block in which everything is a query.
    """
    kind, hops = resident.sampling.kind, resident.sampling.hops
    if kind == "slide":
        block, nodes = torch.zeros_like(queries), queries
        query = torch.ones_like(queries, dtype=torch.bool)
    else:
        block, nodes, query = _egos(resident, queries, hops if kind == "ego" else 0)
    together = kind == "slide" or (kind == "ego" and hops > 0)
    pixels = resident.pixels[nodes].permute(0, 3, 1, 2) if resident.pixels is not None else None
    return NodeBatch(
        slide=resident.slide[nodes],
        spot=nodes,
        block=block,
        query=query,
        array_rc=resident.array_rc[nodes],
        xy_um=resident.xy_um[nodes],
        place=resident.place[nodes],
        neighbours=_local(resident, block, nodes) if together else None,
        pixels=pixels,
        z=resident.z[nodes] if resident.z is not None else None,
        y=resident.y[nodes] if resident.y is not None else None,
        weight=resident.weight[nodes] if resident.weight is not None else None,
    )


def _egos(resident: Resident, queries: Tensor, hops: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return block, node and query of the neighbourhoods, sorted by block, then by node."""
    block = torch.arange(len(queries), device=queries.device)
    keys = block * resident.n_spots + queries
    own = keys
    for _ in range(hops):
        nodes, blocks = keys % resident.n_spots, keys // resident.n_spots
        reached = resident.neighbours[nodes].long()
        further = blocks[:, None] * resident.n_spots + reached
        keys = torch.unique(torch.cat([keys, further[reached >= 0]]))
    nodes, blocks = keys % resident.n_spots, keys // resident.n_spots
    return blocks, nodes, keys == own[blocks]


def _local(resident: Resident, block: Tensor, nodes: Tensor) -> Tensor:
    """Return the neighbours of each node as rows of the batch, −1 outside its block."""
    keys = block * resident.n_spots + nodes
    ordered, order = torch.sort(keys)
    reached = resident.neighbours[nodes].long()
    wanted = block[:, None] * resident.n_spots + reached
    place = torch.searchsorted(ordered, wanted).clamp(max=len(keys) - 1)
    found = (ordered[place] == wanted) & (reached >= 0)
    return torch.where(found, order[place], -1)


def _with_pixels(batch: NodeBatch, pixels: Tensor) -> NodeBatch:
    return NodeBatch(**{**vars(batch), "pixels": pixels})


def _joined(arrays: Sequence[np.ndarray], device: str) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays)).to(device)


def _shifted(slides: Sequence[BlindSlide]) -> Tensor:
    starts = np.cumsum([0, *(slide.n_spots for slide in slides)])
    tables = [
        np.where(slide.neighbours >= 0, slide.neighbours + start, -1)
        for slide, start in zip(slides, starts[:-1], strict=True)
    ]
    return torch.from_numpy(np.concatenate(tables).astype(np.int32))


def _pixels(slides: Sequence[BlindSlide], side: int | None, device: str) -> Tensor | None:
    if side is None:
        return None
    parts = []
    for slide in slides:
        if slide.patches is None:
            msg = f"slide {slide.slide!r} has no patches, and the predictor works on pixels"
            raise ContractError(msg)
        parts.append(resized(slide.patches, slide.n_spots, side, device))
    return torch.cat(parts)


def _features(slides: Sequence[BlindSlide], name: str | None, device: str) -> Tensor | None:
    if name is None:
        return None
    for slide in slides:
        if name not in slide.features:
            known = ", ".join(slide.features) or "none"
            msg = (
                f"slide {slide.slide!r} has no features {name!r}{nearest(name, slide.features)}; "
                f"present: {known}; name the encoder under 'encoders' and 'features'"
            )
            raise ContractError(msg)
    arrays = [np.asarray(slide.features[name], dtype=np.float32) for slide in slides]
    return _joined(arrays, device)
