"""The low-rank core of ALRA, fitted to visible entries only."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.closed_form import slide_means
from spared_benchmark.completion.spectrum import hard_impute
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Alra(GridChosen):
    """Fills with the slide gene mean plus the matrix of a given rank nearest to visible values.

    Absent entries are replaced by the current low-rank matrix and the decomposition is repeated,
    from the result of the next lower rank of ``path`` on.
    The published thresholds, which tell absent from small, are left out: every entry that is
    judged was detected.
    """

    card: ClassVar[Card] = Card(
        name="alra",
        label="ALRA, mask-aware",
        summary="Slide gene mean plus a matrix of low rank fitted to visible entries by repeated "
        "singular value decomposition.",
        source="Linderman et al. 2022; hard-impute: Mazumder, Hastie and Tibshirani 2010",
        year=2022,
        uses=frozenset({"genes"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "rank": (1, 2, 3, 5, 8, 12, 20),
        "path": (1, 2, 3, 5, 8, 12, 20),
        "mean_weight": 5.0,
        "rounds": 100,
        "tolerance": 1e-4,
    }
    tuned: ClassVar[tuple[str, ...]] = ("rank",)

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        means = slide_means(slide, self.gene_mean, self.settings["mean_weight"])
        values = np.where(slide.visible, slide.values - means, 0.0)
        visible = slide.visible.astype(np.float64)
        largest = min(values.shape) - 1  # at full rank nothing is ever filled
        wanted = set(grid["rank"])
        ranks = {rank for rank in self.settings["path"] if rank < max(wanted)} | wanted
        current = np.zeros_like(values)
        for rank in sorted(ranks):
            current = hard_impute(
                values,
                visible,
                min(int(rank), largest),
                current,
                rounds=self.settings["rounds"],
                tolerance=self.settings["tolerance"],
            )
            if rank in wanted:
                yield {"rank": rank}, means + current
