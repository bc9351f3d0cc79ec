"""Ridge on principal components of frozen features: the recipe of HEST-bench."""

from __future__ import annotations

from typing import Any, ClassVar

from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.linear import RidgePredictor
from spared_benchmark.registry import Card

_SETTINGS: dict[str, Any] = {
    "feature": "",
    "components": 256,
    "penalties": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
}


class FeaturePcaRidge(OnFeatures, RidgePredictor):
    """Standardise, at most 256 principal components, ridge.

    HEST-bench (Jaume et al. 2024) has no intercept and one small penalty for everything; here
    there is an intercept, and the penalty is chosen on val.
    """

    card: ClassVar[Card] = Card(
        name="feature_pca_ridge",
        label="Ridge on principal components of frozen features",
        summary="Ridge on at most 256 principal components of a frozen image network's features",
        source="Jaume et al., HEST-1k, NeurIPS 2024",
        year=2024,
        uses=frozenset({"genes", "image"}),
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": {**_SETTINGS, "components": 16}},
        weighs=True,
        exemptions=frozenset({"closed_form"}),
    )
