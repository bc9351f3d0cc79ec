"""Each gene's mean on the slide that is completed."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import MeanBased, slide_means
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class SlideGeneMean(MeanBased):
    """Fills with the mean of the slide's visible values, shrunk to the train mean.

    Its error minus the noise floor is the reducible error that other completers are measured by.
    """

    card: ClassVar[Card] = Card(
        name="slide_gene_mean",
        label="Slide gene mean",
        summary="Fills with the gene's visible mean on the slide, shrunk to its train mean.",
        source="shrunken mean (James and Stein 1961)",
        year=1961,
        kind="control",
    )
    defaults: ClassVar[dict[str, Any]] = {"mean_weight": 5.0}

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return slide_means(slide, self.gene_mean, self.settings["mean_weight"])
