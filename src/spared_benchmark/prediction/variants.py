"""Exchanged labels and smoothed predictions, for any predictor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.prediction.assemble import Assembled
from spared_benchmark.prediction.types import BlindSlide, Slide
from spared_benchmark.training.seeds import numpy_generator


def shuffled(slides: Assembled, seed: int) -> Assembled:
    """Return the cohort with the labels of each train slide's spots exchanged at random.

    Whatever a predictor scores on it above the train mean, it has not learnt from images. Val
    slides keep their labels: selection is what it is otherwise.
    """
    parts = [_permuted(one, seed) if one.split == "train" else one for one in slides.slides]
    return replace(slides, slides=tuple(parts))


def smoothed(predicted: NDArray[np.float32], slide: BlindSlide) -> NDArray[np.float32]:
    """Return the mean of each spot's prediction and those of its lattice neighbours.

    Args:
        predicted: Of one slide ``(n_spots, n_genes)``.
        slide: Its lattice.
    """
    known = slide.neighbours >= 0
    around = np.where(known[:, :, None], predicted[slide.neighbours], 0)
    total = predicted + around.sum(axis=1, dtype=np.float32)
    mean: NDArray[np.float32] = total / (1 + known.sum(axis=1, keepdims=True)).astype(np.float32)
    return mean


def _permuted(slide: Slide, seed: int) -> Slide:
    order = numpy_generator(seed, "shuffled labels", slide.slide).permutation(slide.n_spots)
    labels: dict[str, Any] = {name: values[order] for name, values in slide.labels().items()}
    return replace(slide, **labels)
