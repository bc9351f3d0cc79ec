"""Batches drawn from resident slides by index: one rule for spots, neighbourhoods and slides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.images import dihedral
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.types import NodeBatch


def draw(
    resident: Resident, batch_size: int, generator: torch.Generator, parts: int = 1
) -> Iterator[NodeBatch]:
    """Yield a training batch: distinct spots at random, or one section of a slide at random.

    Args:
        resident: Train slides.
        batch_size: Spots of a batch; a section is as large as it is.
        generator: Of every draw.
        parts: Micro-batches that the batch is yielded in, about equally large.

    Raises:
        ContractError: When a section would have to be divided.
    """
    if resident.sampling.kind == "slide":
        if parts > 1:
            msg = "the spots of a slide see one another and cannot be divided; give tiles or region"
            raise ContractError(msg)
        yield _augmented(_drawn_section(resident, generator), resident, generator)
        return
    order = torch.randperm(resident.n_spots, generator=generator)
    queries = order[:batch_size].to(resident.slide.device)
    for chunk in torch.tensor_split(queries, min(parts, len(queries))):
        yield _augmented(gather(resident, chunk), resident, generator)


def batches(resident: Resident, batch_size: int) -> Iterator[NodeBatch]:
    """Yield every spot exactly once as a query, not augmented."""
    rows = torch.arange(resident.n_spots, device=resident.slide.device)
    if resident.sampling.kind == "slide":
        yield from (_section(resident, rows[resident.tile == n]) for n in range(resident.n_tiles))
        return
    for start in range(0, resident.n_spots, batch_size):
        yield gather(resident, rows[start : start + batch_size])


def gather(resident: Resident, queries: Tensor) -> NodeBatch:
    """Return the batch that predicts for the resident rows ``queries``, in their order.

    An ``ego`` batch of 0 hops is a batch of ``spots``; a ``slide`` is one block in which
    everything is a query.
    """
    sampling = resident.sampling
    if sampling.kind == "slide":
        block, query = torch.zeros_like(queries), torch.ones_like(queries, dtype=torch.bool)
        return _batch(resident, queries, block, query, together=True)
    block, nodes, query = _egos(resident, queries, sampling.hops)
    return _batch(resident, nodes, block, query, together=sampling.hops > 0)


def _drawn_section(resident: Resident, generator: torch.Generator) -> NodeBatch:
    chosen = int(torch.randint(resident.n_tiles, (), generator=generator))
    core = torch.nonzero(resident.tile == chosen).flatten()
    region = resident.sampling.region
    if not region or region >= len(core):
        return _section(resident, core)
    centre = core[int(torch.randint(len(core), (), generator=generator))]
    distance = (resident.xy_um[core] - resident.xy_um[centre]).square().sum(1)
    near = torch.sort(distance, stable=True).indices[:region]
    return gather(resident, core[near.sort().values])


def _section(resident: Resident, core: Tensor) -> NodeBatch:
    """Return a section whose spots are queries, with its halo."""
    nodes = core
    for _ in range(resident.sampling.halo):
        around = resident.neighbours[nodes].long()
        wider = torch.unique(torch.cat([nodes, around[around >= 0]]))
        if len(wider) == len(nodes):
            break
        nodes = wider
    query = torch.isin(nodes, core)
    return _batch(resident, nodes, torch.zeros_like(nodes), query, together=True)


def _batch(
    resident: Resident, nodes: Tensor, block: Tensor, query: Tensor, *, together: bool
) -> NodeBatch:
    def of(values: Tensor | None) -> Tensor | None:
        return values[nodes] if values is not None else None

    return NodeBatch(
        slide=resident.slide[nodes],
        spot=nodes,
        block=block,
        query=query,
        array_rc=resident.array_rc[nodes],
        xy_um=resident.xy_um[nodes],
        place=resident.place[nodes],
        neighbours=_local(resident, block, nodes) if together else None,
        pixels=_pixels(resident, nodes),
        features={name: values[nodes] for name, values in resident.features.items()},
        attached={name: values[nodes] for name, values in resident.attached.items()},
        y=of(resident.y),
        weight=of(resident.weight),
        counts=of(resident.counts),
    )


def _pixels(resident: Resident, nodes: Tensor) -> Tensor | None:
    if resident.pixels is None:
        return None
    rows = resident.pixels[nodes.to(resident.pixels.device)]
    return rows.to(nodes.device, non_blocking=True).permute(0, 3, 1, 2)


def _augmented(batch: NodeBatch, resident: Resident, generator: torch.Generator) -> NodeBatch:
    how = resident.sampling.augment
    if how == "none" or batch.pixels is None:
        return batch
    n_views = len(batch.spot) if how == "each" else 1
    view = torch.randint(8, (n_views,), generator=generator)
    return replace(batch, pixels=dihedral(batch.pixels, view))


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
