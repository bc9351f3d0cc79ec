"""The adaptive median filter of the SpaRED benchmark."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import Stateless
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Median(Stateless):
    """Fills with the first non-zero median of windows that grow around the spot."""

    card: ClassVar[Card] = Card(
        name="median",
        label="Adaptive median",
        summary="Fills with the first non-zero median of growing windows around the spot, zeros "
        "included, then with the slide's median of the gene.",
        source="Mejia et al. 2023 (SEPAL), as in the SpaRED benchmark (Ruiz et al. 2025)",
        year=2023,
        uses=frozenset({"space"}),
        version=2,
        exemptions=frozenset({"constant_gene"}),
    )
    defaults: ClassVar[dict[str, Any]] = {"hops": 4}
    reads_fill: ClassVar[bool] = True

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return median_completed(slide, self.settings["hops"])
