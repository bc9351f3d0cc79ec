"""Which measured entries are hidden: drawn once per cohort, shared by every completer.

The reported masks hide entries of val and test slides under every regime; the selection masks, by
which a completer chooses what to keep, hide other entries of val slides, at random. Train slides
are never touched: hiding there is each method's own affair.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.atomic import atomic_path, digest_of
from spared_benchmark.completion.regimes import (
    blocks,
    entries,
    gene_region,
    low_values,
    molecular,
    spots,
)
from spared_benchmark.completion.regimes.ground import Ground
from spared_benchmark.completion.regimes.molecular import Halves, Molecules
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.study import HALF, HEADLINE, CompletionSettings, Regime

_VERSION = 2
_SELECTION = "selection"
# Streams of the seed, one for each regime and one for selection: what else is drawn, and how
# often, never shifts a mask. Shares of one regime have one stream, so larger contain smaller ones.
_STREAMS: dict[str, int] = {
    "entries": 1,
    _SELECTION: 2,
    "spots": 3,
    "blocks": 4,
    "gene_region": 5,
    "low_values": 6,
    "molecular": 7,
}
_DRAW: dict[Regime, Callable[[Ground, float, np.random.Generator], NDArray[np.bool_]]] = {
    "entries": entries.hidden,
    "spots": spots.hidden,
    "blocks": blocks.hidden,
    "gene_region": gene_region.hidden,
    "low_values": low_values.hidden,
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Masks:
    """Hidden entries of a cohort, packed to one bit each.

    Attributes:
        spots_and_genes: Digest of the names of the spots and genes that the masks belong to.
        shape: ``(n_spots, n_genes)``.
        regimes: What was drawn: the hidden shares of each regime.
        assays: How often each share of each regime was drawn.
        packed: Bits by ``<regime>.<fraction>.<assay>`` and ``selection``.
        halves: The molecules that are seen and withheld in each assay of ``molecular``.
    """

    spots_and_genes: str
    shape: tuple[int, int]
    regimes: Mapping[Regime, tuple[float, ...]]
    assays: int
    packed: Mapping[str, NDArray[np.uint8]]
    halves: Mapping[int, Halves] = field(default_factory=dict)

    @classmethod
    def draw(
        cls,
        expression: anndata.AnnData,
        settings: CompletionSettings,
        context: anndata.AnnData | None = None,
    ) -> Masks:
        """Draw every assay of every regime, independently of one another.

        A cohort whose counts are not whole numbers has no molecules to split: ``molecular`` is
        then left out, and said so in the log.

        Args:
            expression: All slides of the cohort.
            settings: Regimes, assays and seed.
            context: See `Molecules.of`; ``molecular`` alone looks at it.

        Raises:
            ContractError: When the context is of other spots.
        """
        ground = Ground.of(expression)
        regimes = dict(settings.regimes)
        packed = {
            _key(regime, fraction, assay): np.packbits(
                _DRAW[regime](ground, fraction, _generator(settings, regime, assay))
            )
            for regime, fractions in regimes.items()
            if regime in _DRAW
            for fraction in fractions
            for assay in range(settings.assays)
        }
        packed[_SELECTION] = np.packbits(_selection(ground, settings))
        halves: dict[int, Halves] = {}
        if "molecular" in regimes:
            molecules = Molecules.of(expression, context)
            if not molecules.whole:
                del regimes["molecular"]
                _log.warning(
                    "%s: counts are not whole; molecular is left out", expression.uns["cohort"]
                )
            for assay in range(settings.assays if molecules.whole else 0):
                halves[assay] = molecules.split(_generator(settings, "molecular", assay))
                hidden = molecular.hidden(molecules, halves[assay])
                packed[_key("molecular", HALF, assay)] = np.packbits(hidden)
        shape = (int(ground.measured.shape[0]), int(ground.measured.shape[1]))
        return cls(_names_digest(expression), shape, regimes, settings.assays, packed, halves)

    def reported(
        self, assay: int, regime: Regime = HEADLINE[0], fraction: float = HEADLINE[1]
    ) -> NDArray[np.bool_]:
        """Return the entries hidden in an assay ``(n_spots, n_genes)``: val and test slides.

        Raises:
            ContractError: When this was not drawn.
        """
        if not 0 <= assay < self.assays:
            msg = f"masks hold the assays 0 to {self.assays - 1}; asked for {assay}"
            raise ContractError(msg)
        if fraction not in self.regimes.get(regime, ()):
            held = "; ".join(f"{name} {list(shares)}" for name, shares in self.regimes.items())
            msg = (
                f"masks hold no {regime} at {fraction:g}; they hold {held}. Add it to "
                "completion.regimes and draw the masks again"
            )
            raise ContractError(msg)
        return self._unpacked(_key(regime, fraction, assay))

    def selection(self) -> NDArray[np.bool_]:
        """Return the entries hidden for selection ``(n_spots, n_genes)``: val slides only."""
        return self._unpacked(_SELECTION)

    def check(self, expression: anndata.AnnData) -> None:
        """Refuse the expression of another cohort, or of other spots or genes.

        Raises:
            ContractError: When names of spots or genes are not those of the masks.
        """
        found = _names_digest(expression)
        if found != self.spots_and_genes:
            msg = (
                f"masks belong to other spots or genes (digest {self.spots_and_genes}, shape "
                f"{self.shape}); the expression has {found}, {tuple(expression.shape)}. Draw the "
                "masks again from this expression"
            )
            raise ContractError(msg)

    def save(self, path: Path) -> None:
        """Write one ``.npz`` file, atomically."""
        about = {
            "version": _VERSION,
            "spots_and_genes": self.spots_and_genes,
            "shape": self.shape,
            "regimes": {regime: list(shares) for regime, shares in self.regimes.items()},
            "assays": self.assays,
        }
        content: dict[str, Any] = {**self.packed, "about": np.array(json.dumps(about))}
        for assay, half in self.halves.items():
            content |= {f"half.{assay}.{name}": array for name, array in half.arrays().items()}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **content)

    @classmethod
    def load(cls, path: Path) -> Masks:
        """Read what `save` wrote.

        Raises:
            InputError: When the file is no file of masks of this version.
        """
        with np.load(path, allow_pickle=False) as file:
            if "about" not in file:
                msg = f"{path}: no masks in this file (no 'about'); draw the masks again"
                raise InputError(msg)
            about = json.loads(str(file["about"]))
            if about["version"] != _VERSION:
                msg = (
                    f"{path}: masks of version {about['version']}; this code reads {_VERSION}. "
                    "Draw the masks again"
                )
                raise InputError(msg)
            stored = {name: file[name] for name in file.files if name != "about"}
        shape = (int(about["shape"][0]), int(about["shape"][1]))
        regimes: dict[Regime, tuple[float, ...]] = {
            regime: tuple(about["regimes"][regime])
            for regime in get_args(Regime)
            if regime in about["regimes"]
        }
        assays = int(about["assays"])
        packed = {name: array for name, array in stored.items() if not name.startswith("half.")}
        halves = {
            assay: Halves.of_arrays(_below(stored, f"half.{assay}."), shape)
            for assay in range(assays if "molecular" in regimes else 0)
        }
        return cls(about["spots_and_genes"], shape, regimes, assays, packed, halves)

    def _unpacked(self, key: str) -> NDArray[np.bool_]:
        size = self.shape[0] * self.shape[1]
        return np.unpackbits(self.packed[key], count=size).astype(bool).reshape(self.shape)


def _generator(settings: CompletionSettings, stream: str, *assay: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, _STREAMS[stream], *assay])


def _selection(ground: Ground, settings: CompletionSettings) -> NDArray[np.bool_]:
    """Return the entries of val slides by which completers choose ``(n_spots, n_genes)``."""
    drawn = _generator(settings, _SELECTION).random(ground.measured.shape)
    on_val = (ground.split == "val")[:, None]
    chosen: NDArray[np.bool_] = ground.measured & on_val & (drawn < HEADLINE[1])
    return chosen


def _key(regime: Regime, fraction: float, assay: int) -> str:
    return f"{regime}.{fraction:g}.{assay}"


def _below(stored: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array
        for name, array in stored.items()
        if name.startswith(prefix)
    }


def _names_digest(expression: anndata.AnnData) -> str:
    return digest_of([list(expression.obs_names), list(expression.var_names)])
