"""stLearn's spatial smoothing by morphology and expression, of visible residuals only."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from spared_benchmark.completion.choice import Candidates, Grid, GridChosen
from spared_benchmark.completion.methods._sme_weights import correlations, strongest, weighted_sum
from spared_benchmark.completion.residual import Residuals, principal_scores
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Sme(GridChosen):
    """Fills with base plus the neighbours' residual, weighted by how alike the spots are.

    Neighbours are the spots within two lattice steps, the spot itself left out; the weight is the
    correlation of the two spots' principal components, taken of visible values with the base at
    all other entries. Of the positive weights the largest ``neighbours`` are kept. The weight of
    morphology is 1, as a completer is given no image. ``shrinkage`` is λ in median kept weights.
    """

    card: ClassVar[Card] = Card(
        name="sme",
        label="stSME, mask-aware",
        summary="Slide gene mean plus spot offset plus the residual of the lattice neighbours, "
        "weighted by likeness of expression, over visible entries only.",
        source="stLearn: Pham et al. 2023, without morphology, in the form of normalised "
        "convolution (Knutsson and Westin 1993)",
        year=2023,
        uses=frozenset({"genes", "space"}),
        version=2,
    )
    defaults: ClassVar[dict[str, Any]] = {
        "neighbours": (2, 6, 12, 18),
        "shrinkage": (0.1, 0.5, 2.0, 6.0),
        "hops": 2,
        "components": 50,
    }
    tuned: ClassVar[tuple[str, ...]] = ("neighbours", "shrinkage")

    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        parts = Residuals.of(slide, self.gene_mean)
        table = slide.neighbours(self.settings["hops"])
        scores = principal_scores(parts.base + parts.values, self.settings["components"])
        likeness = np.maximum(correlations(scores, table), 0.0)
        for neighbours in grid["neighbours"]:
            kept, weights = strongest(table, likeness, int(neighbours))
            sums = weighted_sum(parts.values, kept, weights)
            counts = weighted_sum(parts.visible, kept, weights)
            unit = float(np.median(weights[weights > 0])) if (weights > 0).any() else 1.0
            for shrinkage in grid["shrinkage"]:
                choice = {"neighbours": neighbours, "shrinkage": shrinkage}
                yield choice, parts.smoothed(sums, counts, shrinkage * unit)
