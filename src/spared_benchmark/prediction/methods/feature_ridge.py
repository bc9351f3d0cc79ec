"""Ridge on all frozen features of an image network."""

from __future__ import annotations

from typing import Any, ClassVar

from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.linear import RidgePredictor
from spared_benchmark.registry import Card

_SETTINGS: dict[str, Any] = {
    "feature": "",
    "components": 0,
    "penalties": (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0),
}


class FeatureRidge(OnFeatures, RidgePredictor):
    """Ridge with intercept on standardised features; the penalty is chosen on val."""

    card: ClassVar[Card] = Card(
        name="feature_ridge",
        label="Ridge on frozen features",
        summary="Ridge on all features of a frozen image network, standardised",
        source="Hoerl and Kennard, Technometrics 1970",
        year=1970,
        uses=frozenset({"genes", "image"}),
        version=2,
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": _SETTINGS},
        weighs=True,
        exemptions=frozenset({"closed_form"}),
    )
