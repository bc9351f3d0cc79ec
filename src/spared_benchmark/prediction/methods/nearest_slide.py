"""Each gene's mean on the train slide that looks most alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.prediction.frozen import OnFeatures
from spared_benchmark.prediction.predictor import State, train_mean
from spared_benchmark.prediction.standard import Standard
from spared_benchmark.prediction.types import Attached, BlindSlide, NodeBatch, Slide
from spared_benchmark.registry import Card
from spared_benchmark.study import Size

_SETTINGS: dict[str, Any] = {"feature": ""}
_EMPTY = np.zeros((0, 0))


class NearestSlide(OnFeatures):
    """Predicts one value of each gene for a whole slide.

    Looks are the mean of a slide's standardised features. What an image model gains in pooled
    error by telling slides, stains or batches apart, and by nothing within a slide, this gains
    too; it has no correlation within a slide. A train slide is not its own nearest where there are
    several.
    """

    card: ClassVar[Card] = Card(
        name="nearest_slide",
        label="Nearest slide's mean",
        summary="Each gene's mean on the train slide with the nearest mean of frozen features",
        source="control",
        year=2025,
        uses=frozenset({"genes", "image"}),
        kind="control",
        sizes={"paper": _SETTINGS, "small": _SETTINGS, "tiny": _SETTINGS},
        weighs=True,
        exemptions=frozenset({"closed_form"}),
    )

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self._standard = Standard(np.zeros(0), np.zeros(0))
        self._centroids, self._means = _EMPTY, _EMPTY.astype(np.float32)
        self._names: tuple[str, ...] = ()

    def prepare(self, train: Sequence[Slide]) -> None:
        """Take centroid and gene means of every train slide.

        A gene of which no entry of a slide counts takes its mean over train.
        """
        features = [self.features_of(slide.blind()) for slide in train]
        self._standard = Standard.of(np.concatenate(features))
        self._centroids = np.stack([self._centroid(values) for values in features])
        overall = train_mean(train)
        own = [train_mean([slide]) for slide in train]
        known = [slide.counted.any(axis=0) for slide in train]
        self._means = np.where(known, own, overall).astype(np.float32)
        self._names = tuple(slide.slide for slide in train)

    def attach(self, slide: BlindSlide) -> Attached:
        """Attach the place of the nearest train slide."""
        gaps = np.square(self._centroids - self._centroid(self.features_of(slide))).sum(axis=1)
        if slide.slide in self._names and len(self._names) > 1:
            gaps[self._names.index(slide.slide)] = np.inf
        return {"nearest": np.full(slide.n_spots, gaps.argmin(), dtype=np.int64)}

    def predict(self, batch: NodeBatch) -> Tensor:
        """Return the means of the nearest slide for every query."""
        nearest = batch.attached["nearest"][batch.query]
        return torch.from_numpy(self._means).to(nearest.device)[nearest]

    def state(self) -> State:
        """Return scales, centroids, means and names."""
        names = np.frombuffer("\n".join(self._names).encode(), dtype=np.uint8).copy()
        told: State = {"centroids": self._centroids, "means": self._means, "names": names}
        return {**self._standard.state(), **told}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take them over."""
        self._standard = Standard.from_state(state)
        self._centroids, self._means = np.array(state["centroids"]), np.array(state["means"])
        self._names = tuple(np.asarray(state["names"]).tobytes().decode().split("\n"))

    def _centroid(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        centroid: NDArray[np.float64] = self._standard(features).mean(axis=0)
        return centroid
