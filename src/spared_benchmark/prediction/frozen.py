"""The base of predictors that see a spot through the features of one frozen encoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.types import BlindSlide, NodeBatch, Sampling


class OnFeatures(Predictor):
    """Takes the features of the encoder that its setting ``feature`` names, and no pixels."""

    @property
    def feature(self) -> str:
        """Name of the encoder.

        Raises:
            ConfigurationError: When none was named.
        """
        if not self.settings["feature"]:
            name = self.card.name
            msg = (
                f"{name} works on frozen features and no encoder is named; give one under "
                f"benchmark.features.{name}"
            )
            raise ConfigurationError(msg)
        return str(self.settings["feature"])

    @property
    def sampling(self) -> Sampling:
        """Features, no pixels.

        Raises:
            ConfigurationError: When no encoder was named.
        """
        return Sampling(features=(self.feature,))

    def inputs(self, batch: NodeBatch) -> Tensor:
        """Return the features of the queries, ``(n_queries, d)``.

        Raises:
            ConfigurationError: When the encoder gives those of several sub-tiles.
        """
        features = batch.feature(self.feature)[batch.query]
        if features.ndim > 2:
            msg = (
                f"{self.card.name} takes one vector per spot; encoder {self.feature!r} gives "
                f"{features.shape[1]} sub-tiles each; name an encoder with tiles: 1"
            )
            raise ConfigurationError(msg)
        return features

    def features_of(self, slide: BlindSlide) -> NDArray[np.float32]:
        """Return the features of a slide's spots, ``(n_spots, d)``.

        Raises:
            ContractError: When the slide has none of this encoder.
        """
        resident = Resident.of([slide], self.sampling)
        values: NDArray[np.float32] = resident.features[self.feature].numpy()
        return values
