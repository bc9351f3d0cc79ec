"""Which measured entries are hidden: drawn once per cohort, shared by every completer.

The reported masks hide entries of val and test slides; the selection masks, by which a completer
chooses what to keep, hide other entries of val slides. Train slides are never touched: hiding
there is each method's own affair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.atomic import atomic_path, digest_of
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.study import CompletionSettings

REGIME = "entries"
_VERSION = 1
_SELECTION = "selection"
# Streams of the seed, so that more assays never shift the selection masks.
_REPORTED_STREAM, _SELECTION_STREAM = 1, 2


@dataclass(frozen=True, eq=False)
class Masks:
    """Hidden entries of a cohort, packed to one bit each.

    Attributes:
        spots_and_genes: Digest of the names of the spots and genes that the masks belong to.
        shape: ``(n_spots, n_genes)``.
        hidden_fraction: Probability with which a measured entry was hidden.
        assays: How many reported masks there are.
        packed: Bits by ``<regime>.<fraction>.<assay>`` and ``selection``.
    """

    spots_and_genes: str
    shape: tuple[int, int]
    hidden_fraction: float
    assays: int
    packed: Mapping[str, NDArray[np.uint8]]

    @classmethod
    def draw(cls, expression: anndata.AnnData, settings: CompletionSettings) -> Masks:
        """Hide each measured entry with the same probability, independently for every assay."""
        split = np.asarray(expression.obs["split"], dtype=np.str_)
        measured = np.asarray(expression.layers["measured"], dtype=bool)
        scored = measured & np.isin(split, ["val", "test"])[:, None]
        choosing = measured & (split == "val")[:, None]
        fraction = settings.hidden_fraction

        def hidden(eligible: NDArray[np.bool_], *stream: int) -> NDArray[np.uint8]:
            generator = np.random.default_rng([settings.seed, *stream])
            return np.packbits(eligible & (generator.random(eligible.shape) < fraction))

        packed = {
            _key(fraction, assay): hidden(scored, _REPORTED_STREAM, assay)
            for assay in range(settings.assays)
        }
        packed[_SELECTION] = hidden(choosing, _SELECTION_STREAM)
        shape = (int(measured.shape[0]), int(measured.shape[1]))
        return cls(_names_digest(expression), shape, fraction, settings.assays, packed)

    def reported(self, assay: int) -> NDArray[np.bool_]:
        """Return the entries hidden in an assay ``(n_spots, n_genes)``: val and test slides.

        Raises:
            ContractError: When there is no such assay.
        """
        if not 0 <= assay < self.assays:
            msg = f"masks hold the assays 0 to {self.assays - 1}; asked for {assay}"
            raise ContractError(msg)
        return self._unpacked(_key(self.hidden_fraction, assay))

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
            "hidden_fraction": self.hidden_fraction,
            "assays": self.assays,
        }
        content: dict[str, Any] = {**self.packed, "about": np.array(json.dumps(about))}
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
            packed = {name: file[name] for name in file.files if name != "about"}
        if about["version"] != _VERSION:
            msg = f"{path}: masks of version {about['version']}; this code reads {_VERSION}"
            raise InputError(msg)
        shape = (int(about["shape"][0]), int(about["shape"][1]))
        fraction, assays = float(about["hidden_fraction"]), int(about["assays"])
        return cls(about["spots_and_genes"], shape, fraction, assays, packed)

    def _unpacked(self, key: str) -> NDArray[np.bool_]:
        size = self.shape[0] * self.shape[1]
        return np.unpackbits(self.packed[key], count=size).astype(bool).reshape(self.shape)


def _key(fraction: float, assay: int) -> str:
    return f"{REGIME}.{fraction:g}.{assay}"


def _names_digest(expression: anndata.AnnData) -> str:
    return digest_of([list(expression.obs_names), list(expression.var_names)])
