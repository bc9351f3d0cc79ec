"""Missing entries are zeros, as they are in the raw matrix."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import Stateless
from spared_benchmark.completion.visible import Visible
from spared_benchmark.registry import Card


class Zero(Stateless):
    """Fills with 0."""

    card: ClassVar[Card] = Card(
        name="zero",
        label="Zero",
        summary="Leaves missing entries at zero, the value of the raw matrix.",
        source="raw data",
        year=2024,
        kind="control",
        exemptions=frozenset({"constant_gene"}),
    )

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return slide.values
