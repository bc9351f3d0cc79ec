"""Two halves of the molecules: one is seen, the other is the truth (Batson et al. 2019).

Each molecule of every filtered gene goes to half A or half B by the toss of a coin. If counts
are Poisson, the halves are independent given the tissue. Both have depths of their own, so that
nothing of B is left in A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.errors import ContractError

_PARTS = ("data", "indices", "indptr")
_DEPTHS = ("library_size", "tpm_denominator")


@dataclass(frozen=True, eq=False)
class Halves:
    """The molecules of val and test slides, split in two; train slides are not split.

    Attributes:
        first: Counts of half A of the chosen genes ``(n_spots, n_genes)``, sparse; 0 on train
            slides. Half B holds the other molecules.
        library_size: UMI over all filtered genes in A and in B ``(2, n_spots)``; NaN on train
            slides.
        tpm_denominator: Sum of count / length over all filtered genes ``(2, n_spots)``; NaN on
            train slides.
    """

    first: sparse.csr_matrix
    library_size: NDArray[np.float64]
    tpm_denominator: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays to store."""
        stored = {name: getattr(self.first, name) for name in _PARTS}
        return {**stored, **{name: getattr(self, name) for name in _DEPTHS}}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Halves:
        """Return what `arrays` gave."""
        first = sparse.csr_matrix(tuple(stored[name] for name in _PARTS), shape=shape)
        return cls(first, *(stored[name] for name in _DEPTHS))


@dataclass(frozen=True, eq=False)
class Molecules:
    """The molecules of val and test slides over all filtered genes.

    Attributes:
        chosen: Counts of the chosen genes, sparse ``(n_spots, n_genes)``; 0 on train slides.
        context: Counts of the further genes that are known one by one, sparse; perhaps none.
        chosen_length: ``(n_genes,)``, base pairs.
        context_length: ``(n_context,)``, base pairs.
        library_size: UMI over all filtered genes ``(n_spots,)``.
        tpm_denominator: Sum of count / length over all filtered genes ``(n_spots,)``.
        scored: Spots of val and test slides ``(n_spots,)``.
    """

    chosen: sparse.csr_matrix
    context: sparse.csr_matrix
    chosen_length: NDArray[np.float64]
    context_length: NDArray[np.float64]
    library_size: NDArray[np.float64]
    tpm_denominator: NDArray[np.float64]
    scored: NDArray[np.bool_]

    @classmethod
    def of(cls, expression: anndata.AnnData, context: anndata.AnnData | None) -> Molecules:
        """Take the molecules of a cohort.

        Args:
            expression: Counts of the chosen genes and the depths over all filtered genes.
            context: Counts of the next-ranked filtered genes of the same spots. Without it all
                other genes are known by their sums alone.

        Raises:
            ContractError: When the context is of other spots.
        """
        scored = np.isin(np.asarray(expression.obs["split"], dtype=np.str_), ("val", "test"))
        other = expression[:, :0] if context is None else context
        if not expression.obs_names.equals(other.obs_names):
            msg = (
                f"the context has {other.n_obs} spots, the expression {expression.n_obs}, or their "
                "names differ; give the context that was made with this expression"
            )
            raise ContractError(msg)
        return cls(
            chosen=_scored_counts(expression, scored),
            context=_scored_counts(other, scored),
            chosen_length=expression.var["gene_length"].to_numpy(dtype=np.float64),
            context_length=other.var["gene_length"].to_numpy(dtype=np.float64),
            library_size=expression.obs["library_size"].to_numpy(dtype=np.float64),
            tpm_denominator=expression.obs["tpm_denominator"].to_numpy(dtype=np.float64),
            scored=scored,
        )

    @property
    def whole(self) -> bool:
        """Whether all are whole numbers: values that are no counts have no molecules."""
        parts = (self.chosen.data, self.context.data, self.library_size)
        return all(bool(np.array_equal(part, np.floor(part))) for part in parts)

    def split(self, generator: np.random.Generator) -> Halves:
        """Toss a coin for every molecule.

        Chosen and context genes are split one by one. Of the genes beyond the context only the
        sums are known: their molecules are split exactly, as one count; their part of the TPM
        denominator goes to A in the proportion of these molecules, which is its expectation
        given that split.
        """
        first, others = _half(self.chosen, generator), _half(self.context, generator)
        known = _sums(self.chosen) + _sums(self.context)
        rest = np.rint(np.maximum(self.library_size - known, 0)).astype(np.int64)
        rest_first = generator.binomial(np.where(self.scored, rest, 0), 0.5)
        exposure = self.chosen @ (1 / self.chosen_length) + self.context @ (1 / self.context_length)
        left = np.maximum(self.tpm_denominator - exposure, 0)
        share = np.divide(rest_first, rest, out=np.full(rest.size, 0.5), where=rest > 0)
        library = _sums(first) + _sums(others) + rest_first
        denominator = first @ (1 / self.chosen_length) + others @ (1 / self.context_length)
        denominator += left * share
        return Halves(
            first,
            self._both(library, self.library_size),
            self._both(denominator, self.tpm_denominator),
        )

    def _both(self, first: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self.scored, np.stack([first, total - first]), np.nan)


def hidden(molecules: Molecules, halves: Halves) -> NDArray[np.bool_]:
    """Return the entries with no molecule in A and at least one in B ``(n_spots, n_genes)``."""
    counted, absent = molecules.chosen.toarray() > 0, halves.first.toarray() == 0
    found: NDArray[np.bool_] = counted & absent
    return found


def _scored_counts(table: anndata.AnnData, scored: NDArray[np.bool_]) -> sparse.csr_matrix:
    if table.n_vars == 0:
        return sparse.csr_matrix(table.shape, dtype=np.float64)
    counts = sparse.csr_matrix(table.layers["counts"]).astype(np.float64)
    kept = sparse.csr_matrix(sparse.diags_array(scored.astype(np.float64)) @ counts)
    kept.eliminate_zeros()
    return kept


def _half(counts: sparse.csr_matrix, generator: np.random.Generator) -> sparse.csr_matrix:
    drawn = generator.binomial(counts.data.astype(np.int64), 0.5)
    smallest = np.promote_types(np.uint16, np.min_scalar_type(int(drawn.max(initial=0))))
    parts = (drawn.astype(smallest), counts.indices, counts.indptr)
    half = sparse.csr_matrix(parts, shape=counts.shape, copy=True)
    half.eliminate_zeros()
    return half


def _sums(counts: sparse.csr_matrix) -> NDArray[np.float64]:
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
