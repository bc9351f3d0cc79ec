"""Hidden entries of one assay with what completers gave them: which to show, and how good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.correlation import correlation
from spared_benchmark.reporting import tables
from spared_benchmark.reporting.figures.completing import ranks

_LEAST = 20  # hidden spots of a gene below which its correlation is mostly chance


@dataclass(frozen=True, eq=False)
class Examples:
    """What was hidden in one assay of a cohort, and what completers gave it.

    Attributes:
        expression: All slides of the cohort.
        hidden: The hidden entries ``(n_spots, n_genes)``.
        completed: By completer, values of the hidden entries ``(n_hidden,)`` in the order of
            ``hidden``, row after row.

    Raises:
        ContractError: When an array is not of the hidden entries.
    """

    expression: AnnData
    hidden: NDArray[np.bool_]
    completed: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        if self.hidden.shape != self.expression.shape:
            msg = f"hidden has shape {self.hidden.shape}, the expression {self.expression.shape}"
            raise ContractError(msg)
        count = int(self.hidden.sum())
        for name, values in self.completed.items():
            if values.shape != (count,):
                msg = (
                    f"{name} completed {values.shape} values; the mask hides {count} entries. "
                    "Complete the cohort again under these masks"
                )
                raise ContractError(msg)

    @cached_property
    def truth(self) -> NDArray[np.float32]:
        """Measured values, NaN where nothing was measured ``(n_spots, n_genes)``."""
        measured = np.asarray(self.expression.layers["measured"], dtype=bool)
        values = np.asarray(self.expression.layers["log_tpm"], dtype=np.float32)
        return np.where(measured, values, np.float32(np.nan))

    @cached_property
    def split(self) -> str:
        """The split to show: test, or val where there is no test slide."""
        return "test" if (self.expression.obs["split"] == "test").any() else "val"

    @cached_property
    def slide(self) -> str:
        """The slide to show: of that split, the one with the most hidden entries."""
        obs = self.expression.obs
        counts = pd.Series(self.hidden.sum(axis=1), index=obs["slide"].astype(str).to_numpy())
        return str(counts[self.of_split].groupby(level=0, sort=False).sum().idxmax())

    @cached_property
    def of_split(self) -> NDArray[np.bool_]:
        """Spots of the split to show ``(n_spots,)``."""
        return np.asarray(self.expression.obs["split"] == self.split, dtype=bool)

    @cached_property
    def of_slide(self) -> NDArray[np.bool_]:
        """Spots of the slide to show ``(n_spots,)``."""
        return np.asarray(self.expression.obs["slide"].astype(str) == self.slide, dtype=bool)

    def values(self, name: str) -> NDArray[np.float32]:
        """Return a completer's values, NaN where nothing was hidden ``(n_spots, n_genes)``."""
        values = np.full(self.hidden.shape, np.nan, dtype=np.float32)
        values[self.hidden] = self.completed[name]
        return values

    def by_gene(self, name: str) -> pd.DataFrame:
        """Return how well each gene of the slide was completed.

        Returns:
            Columns ``mse``, ``pcc`` and ``n`` (hidden spots), index positions of the genes.
        """
        hidden = self.hidden[self.of_slide]
        truth, completed = self.truth[self.of_slide], self.values(name)[self.of_slide]
        squares = np.where(hidden, (completed - truth) ** 2, 0.0).sum(axis=0)
        count = hidden.sum(axis=0)
        return pd.DataFrame(
            {
                "mse": np.where(count > 0, squares / np.maximum(count, 1), np.nan),
                "pcc": correlation(truth, completed, hidden, axis=0),
                "n": count,
            }
        )

    def best_and_worst(self, name: str) -> list[int]:
        """Return the genes that a completer recovered best and worst on the slide, by PCC.

        Among genes with enough hidden spots; of the two with the most where fewer than two have
        enough. One gene where there is but one.
        """
        found = self.by_gene(name)
        known = found[(found["n"] >= _LEAST) & found["pcc"].notna()]
        if len(known) < 2:
            known = found.nlargest(2, "n").fillna({"pcc": 0.0})
        ordered = known["pcc"].sort_values(ascending=False, kind="stable").index
        return list(dict.fromkeys([int(ordered[0]), int(ordered[-1])]))


def chosen(
    scores: pd.DataFrame, available: Sequence[str], always: Sequence[str], count: int
) -> list[str]:
    """Return the completers to show, the best first.

    Args:
        scores: Tidy completion scores of one cohort.
        available: Completers of which there are values.
        always: Those shown wherever they are available.
        count: How many in all.
    """
    methods, others = ranks.ranked(ranks.scored(scores))
    known = [name for name in (*methods, *others) if name in available]
    known += [name for name in available if name not in known]
    kept = [name for name in always if name in known][:count]
    best = [name for name in known if name in methods and name not in kept]
    picked = {*kept, *best[: count - len(kept)]}
    return [name for name in known if name in picked]


def score(
    scores: pd.DataFrame, completer: str, metric: str, split: str, assay: int = 0
) -> float | None:
    """Return a pooled score of one assay of the headline, None where it is not in the table."""
    rows = tables.headline(scores[scores["space"] == ranks.SPACE])
    found = rows[
        (rows["completer"] == completer)
        & (rows["metric"] == metric)
        & (rows["split"] == split)
        & (rows["slide"] == "")
        & (rows["assay"] == assay)
    ]["value"]
    return None if found.empty else float(found.iloc[0])
