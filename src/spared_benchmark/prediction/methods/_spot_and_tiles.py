"""The base of networks that see frozen features of a spot's patch and of the tiles around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.predictor import NetworkPredictor, State
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.types import NodeBatch, Sampling, Slide
from spared_benchmark.study import Size

_SHAPE = "feature_shape"


class OnSpotAndTiles(NetworkPredictor):
    """Takes features of two encoders: one sees the patch as a whole, the other tiles of a window.

    Settings:

    * ``features``: the encoder of spots, then that of tiles (one whose setting ``tiles`` is above
      1, so that its features are ``(n_spots, n_tiles, d)``);
    * ``feature``: one encoder for both. Of tiles, their mean stands for the spot; of a patch as a
      whole, the patch is the only tile.
    """

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self._shape = (0, 0, 0)

    @property
    def encoders(self) -> tuple[str, str]:
        """Names of the encoder of spots and of that of tiles.

        Raises:
            ConfigurationError: When none was named, or more than two.
        """
        named = tuple(self.settings["features"]) or (self.settings["feature"],)
        if len(named) > 2 or not all(named):
            name = self.card.name
            msg = (
                f"{name} works on frozen features of spots and of tiles; found encoders "
                f"{list(filter(None, named)) or 'none'}; give one for both, or two, under "
                f"benchmark.features.{name}"
            )
            raise ConfigurationError(msg)
        return named[0], named[-1]

    @property
    def sampling(self) -> Sampling:
        """Features of both encoders, no pixels."""
        return Sampling(features=tuple(dict.fromkeys(self.encoders)))

    @property
    def widths(self) -> tuple[int, int]:
        """Features of a spot and of a tile, known after ``prepare`` or ``load_state``."""
        return self._shape[:2]

    @property
    def n_tiles(self) -> int:
        """Tiles of a spot, known after ``prepare`` or ``load_state``."""
        return self._shape[2]

    def spots_of(self, batch: NodeBatch) -> Tensor:
        """Return the features of all nodes ``(n_nodes, d)``."""
        values = batch.feature(self.encoders[0])
        return values.mean(dim=1) if values.ndim > 2 else values

    def tiles_of(self, batch: NodeBatch) -> Tensor:
        """Return the features of the queries' tiles ``(n_queries, n_tiles, d)``."""
        values = batch.feature(self.encoders[1])[batch.query]
        return values if values.ndim > 2 else values[:, None]

    def prepare(self, train: Sequence[Slide]) -> None:
        """Build the network for the features and genes of ``train``."""
        wanted = Sampling(features=self.sampling.features)
        known = Resident.of([train[0].blind()], wanted).features
        spots, tiles = (known[name] for name in self.encoders)
        n_tiles = tiles.shape[1] if tiles.ndim > 2 else 1
        self._shape = (spots.shape[-1], tiles.shape[-1], n_tiles)
        super().prepare(train)

    def state(self) -> State:
        """Return the weights and the shape of the features."""
        return {_SHAPE: np.array(self._shape), **super().state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over."""
        spots, tiles, n_tiles = (int(size) for size in state[_SHAPE])
        self._shape = (spots, tiles, n_tiles)
        super().load_state({name: state[name] for name in state if name != _SHAPE})
