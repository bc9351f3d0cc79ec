"""Ridge on the frozen features of an image network."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.linear import RidgePredictor
from spared_benchmark.prediction.types import NodeBatch, Sampling
from spared_benchmark.registry import Card

_SETTINGS: dict[str, Any] = {
    "feature": "",
    "components": 256,
    "penalties": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
}


class FeatureRidge(RidgePredictor):
    """Standardise, at most 256 principal components, ridge with intercept.

    The recipe of HEST-bench (Jaume et al. 2024), with an intercept and a penalty chosen on val.
    """

    card: ClassVar[Card] = Card(
        name="feature_ridge",
        label="Ridge on frozen features",
        summary="Ridge on principal components of a frozen image network's features",
        source="Jaume et al., HEST-1k, NeurIPS 2024",
        year=2024,
        uses=frozenset({"genes", "image"}),
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": {**_SETTINGS, "components": 16}},
        exemptions=frozenset({"closed_form"}),
    )

    @property
    def sampling(self) -> Sampling:
        """Features, no pixels.

        Raises:
            ConfigurationError: When no encoder was named.
        """
        if not self.settings["feature"]:
            msg = (
                "feature_ridge works on frozen features and no encoder is named; give one under "
                "benchmark.features.feature_ridge"
            )
            raise ConfigurationError(msg)
        return Sampling(features=(self.settings["feature"],))

    def inputs(self, batch: NodeBatch) -> Tensor:
        """Return the features of the queries, ``(n_queries, d)``."""
        return batch.feature(self.settings["feature"])[batch.query]
