"""Validation: the one place that holds the truth of the val slides during training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spared_benchmark.errors import InputError
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.sampling import batches
from spared_benchmark.prediction.types import Slide

# A prediction is cut into batches only to bound memory.
PREDICT_BATCH = 512


class Selection:
    """Scores predictors on blind val slides, on measured entries only.

    Args:
        val: The slides, with their truth.
        like: Says what is wanted of them and what is attached to each; every predictor that is
            scored must want and attach the same.
        device: Where predictors are.

    Raises:
        InputError: When no entry of the val slides is measured.
    """

    def __init__(self, val: Sequence[Slide], like: Predictor, device: str = "cpu") -> None:
        if not any(slide.measured.any() for slide in val):
            names = ", ".join(slide.slide for slide in val) or "none"
            entries = sum(slide.measured.size for slide in val)
            msg = (
                f"val slides ({names}): none of their {entries} entries is measured (has a count "
                "above 0), so there is nothing to select on; give a val slide in which the "
                "cohort's genes are measured"
            )
            raise InputError(msg)
        self._resident = like.resident([slide.blind() for slide in val], device)
        self._truth = _stacked([slide.y for slide in val], device)
        self._measured = _stacked([slide.measured for slide in val], device)

    def metrics(self, predictor: Predictor) -> dict[str, float]:
        """Return ``val_mse`` over all measured entries, and ``val_pcc_gene``.

        The correlation is per gene within slide, averaged over genes, then over slides; NaN when
        undefined everywhere.
        """
        predicted = predict_all(predictor, self._resident)
        error = torch.where(self._measured, predicted - self._truth, 0.0)
        mse = error.square().sum(dtype=torch.float64) / self._measured.sum()
        slides = [self._resident.slide == code for code in range(len(self._resident.names))]
        by_slide = [
            _gene_correlation(predicted[rows], self._truth[rows], self._measured[rows])
            for rows in slides
        ]
        defined = [value for value in by_slide if math.isfinite(value)]
        pcc = sum(defined) / len(defined) if defined else math.nan
        return {"val_mse": float(mse), "val_pcc_gene": pcc}

    def predicted(self, predictor: Predictor) -> np.ndarray:
        """Return the predictions for the val spots in slide order, ``(n_spots, n_genes)``."""
        values: np.ndarray = predict_all(predictor, self._resident).cpu().numpy()
        return values


def predict_all(predictor: Predictor, resident: Resident) -> Tensor:
    """Return predictions for every resident spot, float32 ``(n_spots, n_genes)``."""
    rows, parts = [], []
    with torch.no_grad():
        for batch in batches(resident, PREDICT_BATCH):
            rows.append(batch.spot[batch.query])
            parts.append(predictor.predict(batch).float())
    predicted = torch.cat(parts)
    return torch.empty_like(predicted).index_copy_(0, torch.cat(rows), predicted)


def _stacked(arrays: Sequence[np.ndarray], device: str) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays)).to(device)


def _gene_correlation(predicted: Tensor, truth: Tensor, measured: Tensor) -> float:
    count = measured.sum(0).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        kept = torch.where(measured, values.double(), 0.0)
        return torch.where(measured, kept - kept.sum(0) / count, 0.0)

    first, second = centred(predicted), centred(truth)
    power = first.square().sum(0) * second.square().sum(0)
    # Rounding leaves a constant prediction a little variance; that is no correlation.
    defined = first.square().sum(0) > 1e-10 * count
    defined &= second.square().sum(0) > 1e-10 * count
    if not defined.any():
        return math.nan
    values = (first * second).sum(0)[defined] / power[defined].sqrt()
    return float(values.mean())
