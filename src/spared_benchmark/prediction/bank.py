"""Train spots to compare with: exemplars come from train slides, never from beside the query."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.types import BlindSlide, Slide
from spared_benchmark.tissue.lattice import offsets

_log = logging.getLogger(__name__)

Exclusion = Literal["own_slide", "own_neighbourhood", "none"]
Metric = Literal["euclidean", "manhattan", "cosine"]
# Distances held at once, as entries of a matrix.
_ENTRIES = 1 << 22
# Columns of an array lie below, so that a row and a column are one number.
_FURTHEST = 1 << 32


@dataclass(frozen=True)
class Bank:
    """Spots of train slides with what they are found by and what they bring.

    Attributes:
        keys: What they are found by, float32 ``(n_bank, d)``.
        values: Their targets ``(n_bank, n_genes)``.
        weight: Which of them count, bool ``(n_bank, n_genes)``.
        slides: Names of the train slides.
        sizes: Spots of each; the bank lists them in this order.
        array_rc: Array row and column of every spot, int32 ``(n_bank, 2)``.
        exclude: What a query of a train slide may not find: spots of its own slide, spots of its
            neighbourhood (itself included), or nothing. Queries of other slides may find all.
        hops: Radius of that neighbourhood, steps on the lattice, whether there is a spot at each
            or not.
    """

    keys: NDArray[np.float32]
    values: NDArray[np.float32]
    weight: NDArray[np.bool_]
    slides: tuple[str, ...]
    sizes: tuple[int, ...]
    array_rc: NDArray[np.int32]
    exclude: Exclusion
    hops: int = 3

    @classmethod
    def of(
        cls,
        train: Sequence[Slide],
        keys: Sequence[NDArray[np.floating[Any]]],
        exclude: Exclusion | None = None,
        hops: int = 3,
    ) -> Bank:
        """Return the bank of all spots of ``train``.

        Args:
            train: Train slides.
            keys: What the spots of each are found by ``(n_spots, d)``.
            exclude: Own slides where there are several, the own neighbourhood where there is one,
                when not given.
            hops: Radius of the neighbourhood.

        Raises:
            ContractError: When a slide is not of train, which would leak its labels.
        """
        for slide in train:
            if slide.split != "train":
                msg = f"bank: slide {slide.slide!r} is of {slide.split!r}; only train slides enter"
                raise ContractError(msg)
        chosen: Exclusion = "own_slide" if len(train) > 1 else "own_neighbourhood"
        return cls(
            keys=np.concatenate(keys).astype(np.float32),
            values=np.concatenate([slide.y for slide in train]),
            weight=np.concatenate([slide.counted for slide in train]),
            slides=tuple(slide.slide for slide in train),
            sizes=tuple(slide.n_spots for slide in train),
            array_rc=np.concatenate([slide.array_rc for slide in train]),
            exclude=exclude or chosen,
            hops=hops,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays."""
        names = "\n".join([self.exclude, *self.slides]).encode()
        return {
            "keys": self.keys,
            "values": self.values,
            "weight": self.weight,
            "names": np.frombuffer(names, dtype=np.uint8).copy(),
            "sizes": np.array([self.hops, *self.sizes], dtype=np.int64),
            "array_rc": self.array_rc,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Bank:
        """Return the bank of which `state` told."""
        exclude, *slides = np.asarray(state["names"]).tobytes().decode().split("\n")
        hops, *sizes = (int(size) for size in state["sizes"])
        names = ("keys", "values", "weight", "array_rc")
        keys, values, weight, array_rc = (np.array(state[name]) for name in names)
        rule: Exclusion = exclude  # type: ignore[assignment]
        return cls(keys, values, weight, tuple(slides), tuple(sizes), array_rc, rule, hops)

    def nearest(
        self,
        slide: BlindSlide,
        queries: NDArray[np.floating[Any]],
        k: int,
        metric: Metric = "euclidean",
        *,
        fewer: bool = False,
        parts: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ``k`` nearest bank rows of every spot and their distances ``(n_spots, k)``.

        Of equally near ones the first rows of the bank are taken.

        Args:
            slide: Whose spots ask.
            queries: What they are compared by ``(n_spots, d)``.
            k: How many, nearest first.
            metric: Of the distance; ``cosine`` is one minus the cosine.
            fewer: Where the exclusion leaves a spot fewer, −1 at an infinite distance stands for
                the rest.
            parts: See `excluded`.

        Raises:
            ContractError: When the exclusion leaves a spot fewer than ``k`` rows, without
                ``fewer``.
        """
        prepared_keys = _prepared(self.keys, metric)
        prepared = _prepared(np.asarray(queries), metric)
        rows = np.full((len(prepared), k), -1, dtype=np.int64)
        distances = np.full((len(prepared), k), np.inf, dtype=np.float32)
        some = min(k, len(self.keys)) if fewer else k
        chunk = max(1, _ENTRIES // max(len(self.keys), 1))
        for start in range(0, len(prepared), chunk):
            stop = min(start + chunk, len(prepared))
            distance = _distance(prepared[start:stop], prepared_keys, metric)
            distance[torch.from_numpy(self.excluded(slide, start, stop, parts))] = torch.inf
            if not fewer:
                self._check_enough(slide, distance, k)
            found = _first(distance, some)
            exact = _exact(prepared[start:stop], prepared_keys[found], metric)
            exact[torch.isinf(distance.gather(1, found)).numpy()] = np.inf
            rows[start:stop, :some], distances[start:stop, :some] = found.numpy(), exact
        rows[np.isinf(distances)] = -1
        self.tell_shortage(slide, (rows >= 0).sum(axis=1), k)
        return _ordered(rows, distances)

    def excluded(
        self, slide: BlindSlide, start: int, stop: int, parts: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Return which bank rows the spots ``start`` to ``stop`` may not find.

        Spots of a part of a train slide are taken as spots of that slide, by their place on it.

        Args:
            slide: Whose spots ask.
            start: First of them.
            stop: Behind the last.
            parts: Part of the slide that each of its spots is in ``(n_spots,)``. Where a
                neighbourhood is left out, it is then that of the spot's whole part.
        """
        banned = np.zeros((stop - start, len(self.keys)), dtype=bool)
        own = self.rows_of(slide)
        if self.exclude == "none" or own is None:
            return banned
        if self.exclude == "own_slide":
            banned[:, own] = True
            return banned
        near = self.beside(slide)
        if parts is None:
            asking, site = np.nonzero(near[start:stop] >= 0)
            banned[asking, near[start + asking, site]] = True
            return banned
        for part in np.unique(parts[start:stop]):
            rows = near[parts == part]
            banned[np.ix_(parts[start:stop] == part, np.unique(rows[rows >= 0]))] = True
        return banned

    def beside(self, slide: BlindSlide) -> NDArray[np.int64]:
        """Return the bank rows within ``hops`` steps of each spot ``(n_spots, n_sites)``.

        Those of the slide that the spots lie on, each spot's own among them; −1 for sites without
        a train spot.
        """
        steps = np.concatenate([np.zeros((1, 2), np.int64), offsets(slide.lattice, self.hops)[0]])
        wanted = _site(slide.array_rc[:, None] + steps)
        own = self.rows_of(slide)
        if own is None:
            return np.full(wanted.shape, -1, dtype=np.int64)
        known = _site(self.array_rc[own])
        order = np.argsort(known)
        found = order[np.searchsorted(known, wanted, sorter=order).clip(max=len(known) - 1)]
        return np.where(known[found] == wanted, own.start + found, -1)

    def rows_of(self, slide: BlindSlide) -> slice | None:
        """Return the bank rows of the slide that the spots of ``slide`` lie on; none if unknown."""
        if slide.whole not in self.slides:
            return None
        place = self.slides.index(slide.whole)
        first = sum(self.sizes[:place])
        return slice(first, first + self.sizes[place])

    def tell_shortage(self, slide: BlindSlide, left: NDArray[np.int64], wanted: int) -> None:
        """Warn of spots to which fewer train spots are ``left`` ``(n_spots,)`` than wanted."""
        short = int((left < wanted).sum())
        if short:
            text = (
                "%d of the %d spots of slide %s are left fewer than %d train spots to compare with"
            )
            _log.warning(text, short, slide.n_spots, slide.slide, wanted)

    def _check_enough(self, slide: BlindSlide, distance: torch.Tensor, k: int) -> None:
        fewest = int(torch.isfinite(distance).sum(1).min()) if len(distance) else k
        if fewest < k:
            msg = (
                f"bank: without what {self.exclude!r} leaves out, a spot of slide {slide.slide!r} "
                f"finds {fewest} of the {k} train spots wanted ({len(self.keys)} in the bank); "
                "ask for fewer, or give more train slides"
            )
            raise ContractError(msg)


def _site(array_rc: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return a number of each place, its row and column ``(…, 2)`` in one."""
    site: NDArray[np.int64] = array_rc[..., 0].astype(np.int64) * _FURTHEST + array_rc[..., 1]
    return site


def _first(distance: torch.Tensor, k: int) -> torch.Tensor:
    """Return the columns of the ``k`` least of every row; of equal ones the first."""
    found = torch.topk(distance, k, largest=False)
    if k:
        # Which of equal distances are found is not said where they do not all fit in.
        tied = (distance <= found.values[:, -1:]).sum(1) > k
        found.indices[tied] = distance[tied].argsort(dim=1, stable=True)[:, :k]
    return found.indices


def _prepared(values: NDArray[np.floating[Any]], metric: Metric) -> torch.Tensor:
    tensor = torch.from_numpy(np.asarray(values, dtype=np.float64))
    return torch.nn.functional.normalize(tensor, dim=1) if metric == "cosine" else tensor


def _distance(queries: torch.Tensor, keys: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Return what orders the keys ``(n_queries, n_keys)``."""
    if metric == "cosine":
        return 1 - queries @ keys.T
    if metric == "manhattan":
        return torch.cdist(queries, keys, p=1)
    # By one matrix product, about the keys' mean so that few digits are lost.
    centre = keys.mean(dim=0)
    queries, keys = queries - centre, keys - centre
    squares = queries.square().sum(1, keepdim=True) + keys.square().sum(1)
    return torch.addmm(squares, queries, keys.T, alpha=-2)


def _exact(queries: torch.Tensor, found: torch.Tensor, metric: Metric) -> NDArray[np.float32]:
    """Return the distances of the keys that were found ``(n_queries, k, d)``."""
    if metric == "cosine":
        distance = 1 - (queries[:, None] * found).sum(2)
    else:
        distance = (found - queries[:, None]).norm(p=2 if metric == "euclidean" else 1, dim=2)
    nearest: NDArray[np.float32] = distance.float().numpy()
    return nearest


def _ordered(
    rows: NDArray[np.int64], distances: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return both by distance, equal ones by row."""
    order = np.lexsort((rows, distances))
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)
