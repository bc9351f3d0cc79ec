"""Prediction of expression from images: one predictor per file, found by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spared_benchmark.registry import Registry

if TYPE_CHECKING:
    from spared_benchmark.prediction.predictor import Predictor

predictors: Registry[Predictor] = Registry(
    "spared_benchmark.prediction.methods", Path(__file__).parent / "methods", "predictor"
)
