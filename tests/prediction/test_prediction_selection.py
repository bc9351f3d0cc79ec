"""Selection: the error of a predictor on measured entries of the val slides."""

from dataclasses import replace

import numpy as np
import pytest
from prediction_samples import cohort

from spared_benchmark.errors import InputError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.selection import Selection


@pytest.fixture
def val():
    """One val slide of two spots and two genes, for the target in which zeros count."""
    (slide,) = cohort(target="raw", rows=1, columns=2, genes=2).of("val")
    assert slide.weight.all()
    return replace(
        slide,
        y=np.array([[1, 0], [3, 5]], dtype=np.float32),
        measured=np.array([[True, False], [True, True]]),
    )


def test_missing_entries_are_not_judged_though_they_count_in_the_loss(val):
    predictor = predictors.create("train_mean")
    predictor.load_state({"mean": np.array([2, 2], dtype=np.float32)})
    # Errors 1, -1 and -3; the missing entry would add a fourth, of 2.
    assert Selection([val], predictor).metrics(predictor)["val_mse"] == pytest.approx(11 / 3)


def test_val_slides_without_a_measured_entry_are_refused(val):
    empty = replace(val, measured=np.zeros_like(val.measured))
    message = r"val slides \(c, c\): none of their 8 entries is measured .*give a val slide"
    with pytest.raises(InputError, match=message):
        Selection([empty, empty], predictors.create("train_mean"))
    Selection([empty, val], predictors.create("train_mean"))
