"""The spots that all predictions of a cohort hold, and what a bootstrap draws of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.bootstrap import Units, spatial_blocks

_FEWEST_SUBJECTS = 3


@dataclass(frozen=True)
class Spots:
    """The spots of all predictions of a cohort.

    Attributes:
        rows: Their rows in the expression ``(n_spots,)``.
        split: Split of each, ``slide`` and ``subject`` likewise.
        block: Spatial block of each.
    """

    rows: NDArray[np.int64]
    split: NDArray[np.str_]
    slide: NDArray[np.str_]
    subject: NDArray[np.str_]
    block: NDArray[np.int64]

    @property
    def reported(self) -> str:
        """The split that is reported: val where there is no test slide."""
        return "test" if (self.split == "test").any() else "val"

    def units(self) -> dict[str, Units]:
        """Return what is drawn of the reported split; subjects where there are enough."""
        kept = self.split == self.reported
        drawn = {"blocks": Units.of(self.block[kept], self.slide[kept])}
        subject = self.subject[kept]
        if len(np.unique(subject)) >= _FEWEST_SUBJECTS:
            drawn["subjects"] = Units.of(subject, np.zeros(len(subject)))
        return drawn


def common_spots(expression: AnnData, predictions: Sequence[AnnData]) -> Spots:
    """Return the spots of ``predictions``, in the order of the first.

    Raises:
        ContractError: When they are not of the same spots and genes, or not of ``expression``'s.
    """
    names = predictions[0].obs_names
    for adata in predictions:
        what = f"predictions for target {adata.uns.get('target')!r}"
        if not adata.var_names.equals(expression.var_names):
            msg = f"{what}: their genes are not those of the expression; predict again"
            raise ContractError(msg)
        if len(adata.obs_names) != len(names) or not adata.obs_names.isin(names).all():
            msg = (
                f"{what}: {adata.n_obs} spots, and those for target "
                f"{predictions[0].uns.get('target')!r} are {len(names)} others; differences need "
                "the same spots; predict again"
            )
            raise ContractError(msg)
    rows = expression.obs_names.get_indexer(names)
    if (rows < 0).any():
        strange = names[int(np.flatnonzero(rows < 0)[0])]
        msg = f"predictions: spot {strange!r} is not in the expression; predict again"
        raise ContractError(msg)
    obs = expression.obs.iloc[rows]
    slide = predictions[0].obs["slide"].astype(str).to_numpy()
    block = spatial_blocks(obs["array_row"], obs["array_col"], slide, expression.uns["lattice"])
    split = predictions[0].obs["split"].astype(str).to_numpy()
    subject = obs["subject"].astype(str).to_numpy()
    return Spots(np.asarray(rows, dtype=np.int64), split, slide, subject, block)
