"""Soft-impute on what gene mean, spot offset and neighbours leave unexplained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.closed_form import neighbour_sums
from spared_benchmark.completion.residual import Residuals
from spared_benchmark.completion.spectrum import largest_singular_value, soft_impute
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class LowRank(GridChosen):
    """Fills with the additive model plus a matrix of low nuclear norm fitted to its residual.

    The penalty is a share of the largest singular value of the visible residual, which leaves
    nothing but the additive model at a share of 1; it is reached along a path of falling shares.
    """

    card: ClassVar[Card] = Card(
        name="low_rank",
        label="Soft-impute",
        summary="Additive model plus a penalised low-rank matrix fitted to its visible residuals.",
        source="Mazumder, Hastie and Tibshirani 2010, algorithm 1",
        year=2010,
        uses=frozenset({"genes", "space"}),
    )
    defaults: ClassVar[dict[str, Any]] = {
        "penalty": (0.9, 0.75, 0.6, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08),
        "path": (0.9, 0.75, 0.6, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05),
        "hops": 2,
        "residual_weight": 6.0,
        "rounds": 200,
        "tolerance": 1e-4,
    }
    tuned: ClassVar[tuple[str, ...]] = ("penalty",)

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        setting = self.settings
        parts = Residuals.of(slide, self.gene_mean)
        table = slide.neighbours(setting["hops"])
        sums, counts = neighbour_sums(parts.values, table), neighbour_sums(parts.visible, table)
        additive = parts.smoothed(sums, counts, setting["residual_weight"])
        left = np.where(slide.visible, slide.values - additive, 0.0)
        largest = largest_singular_value(left)
        current = np.zeros_like(left)
        wanted = set(grid["penalty"])
        shares = {share for share in setting["path"] if share > min(wanted)} | wanted
        for share in sorted(shares, reverse=True):
            current = soft_impute(
                left,
                parts.visible,
                share * largest,
                current,
                rounds=setting["rounds"],
                tolerance=setting["tolerance"],
            )
            if share in wanted:
                yield {"penalty": share}, additive + current
