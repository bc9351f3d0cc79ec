"""One drawing of one regime: what is seen of a cohort, and what is to be recovered."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.regimes.molecular import Halves
from spared_benchmark.evaluation.floor import one_count
from spared_benchmark.study import HALF, Regime


@dataclass(frozen=True, eq=False)
class Assay:
    """What is seen and what is scored, the same for every completer.

    Attributes:
        regime: How entries were hidden.
        fraction: Share of measured entries hidden, nominally; of molecules in ``molecular``.
        number: Of the drawing.
        hidden: The entries that are scored ``(n_spots, n_genes)``.
        visible: The entries that are seen ``(n_spots, n_genes)``.
        values: What is seen at visible entries, float32 ``(n_spots, n_genes)``.
        truth: What hidden entries are compared with, float32 ``(n_spots, n_genes)``.
        library_size: UMI that belong to what is seen ``(n_spots,)``.
        seen_depth: TPM denominator of what is seen ``(n_spots,)``.
        depth: TPM denominator of the truth ``(n_spots,)``.
    """

    regime: Regime
    fraction: float
    number: int
    hidden: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    values: NDArray[np.float32]
    truth: NDArray[np.float32]
    library_size: NDArray[np.float64]
    seen_depth: NDArray[np.float64]
    depth: NDArray[np.float64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Entries whose value is known to whoever scores ``(n_spots, n_genes)``."""
        return self.visible | self.hidden


def of_entries(
    expression: anndata.AnnData,
    space: str,
    hidden: NDArray[np.bool_],
    drawing: tuple[Regime, float, int],
) -> Assay:
    """Return the assay in which measured entries are hidden and all else stays as it is.

    Args:
        expression: All slides of the cohort.
        space: The layer that holds the values.
        hidden: Withheld entries ``(n_spots, n_genes)``.
        drawing: Regime, fraction and number.
    """
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    values = np.asarray(expression.layers[space], dtype=np.float32)
    depth = expression.obs["tpm_denominator"].to_numpy(dtype=np.float64)
    return Assay(
        *drawing,
        hidden=hidden,
        visible=measured & ~hidden,
        values=values,
        truth=values,
        library_size=expression.obs["library_size"].to_numpy(dtype=np.float64),
        seen_depth=depth,
        depth=depth,
    )


def of_molecules(
    expression: anndata.AnnData, halves: Halves, hidden: NDArray[np.bool_], number: int
) -> Assay:
    """Return the assay in which one half of the molecules is seen and the other is the truth.

    Values of both halves are log2(TPM+1) with that half's own denominator.

    Args:
        expression: All slides of the cohort.
        halves: Of its molecules; train slides hold none and are neither seen nor scored.
        hidden: Entries with no molecule in the first half and some in the second.
        number: Of the drawing.
    """
    lengths = expression.var["gene_length"].to_numpy(dtype=np.float64)
    first = halves.first.toarray().astype(np.float64)
    second = np.asarray(expression.layers["counts"], dtype=np.float64) - first
    seen_depth, depth = halves.tpm_denominator
    return Assay(
        regime="molecular",
        fraction=HALF,
        number=number,
        hidden=hidden,
        visible=first > 0,
        values=_log_tpm(first, lengths, seen_depth, first > 0),
        truth=_log_tpm(second, lengths, depth, hidden),
        library_size=halves.library_size[0],
        seen_depth=seen_depth,
        depth=depth,
    )


def _log_tpm(
    counts: NDArray[np.float64],
    lengths: NDArray[np.float64],
    denominators: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> NDArray[np.float32]:
    worth = np.where(kept, one_count(lengths, denominators), 0.0)
    return np.log2(1 + counts * worth).astype(np.float32)
