"""Exchanged labels and smoothed predictions."""

import numpy as np
import pytest
from prediction_samples import cohort

from spared_benchmark.prediction.names import method_of
from spared_benchmark.prediction.protocol import run_predictors
from spared_benchmark.prediction.variants import shuffled, smoothed
from spared_benchmark.study import BenchmarkSettings
from spared_benchmark.training.trials import TrialStore


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def test_labels_are_exchanged_between_the_spots_of_each_train_slide(slides):
    mixed = shuffled(slides, 42)
    for before, after in zip(slides.slides, mixed.slides, strict=True):
        if before.split != "train":
            assert after is before
            continue
        assert not np.array_equal(before.y, after.y)
        # Whole spots change places: values, what is measured and counts together.
        rows = [np.flatnonzero((before.y == row).all(axis=1))[0] for row in after.y]
        assert sorted(rows) == list(range(before.n_spots))
        np.testing.assert_array_equal(after.measured, before.measured[rows])
        np.testing.assert_array_equal(after.counts, before.counts[rows])
        np.testing.assert_array_equal(after.features["colours"], before.features["colours"])
    again, other = shuffled(slides, 42), shuffled(slides, 43)
    np.testing.assert_array_equal(again.slides[0].y, mixed.slides[0].y)
    assert not np.array_equal(other.slides[0].y, mixed.slides[0].y)


def test_smoothing_is_the_mean_of_a_spot_and_its_neighbours(slides):
    slide = slides.of("val")[0].blind()
    predicted = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    result = smoothed(predicted, slide)
    for spot in range(20):
        near = [spot, *(n for n in slide.neighbours[spot] if n >= 0)]
        np.testing.assert_allclose(result[spot], predicted[near].mean(axis=0), rtol=1e-5)
    constant = np.full_like(predicted, 3.0)
    np.testing.assert_allclose(smoothed(constant, slide), constant)


def test_variants_have_layers_and_kinds_of_their_own(slides, tmp_path):
    settings = BenchmarkSettings(
        sizes={"colour_ridge": "tiny", "small_cnn": "tiny"}, smoothed=("colour_ridge",)
    )
    names = ["colour_ridge", "colour_ridge_shuffled"]
    result = run_predictors(names, slides, "measured", settings, TrialStore(tmp_path))
    assert list(result.predictions.layers) == [
        "colour_ridge.42",
        "colour_ridge_smoothed.42",
        "colour_ridge_shuffled.42",
    ]
    assert result.predictions.uns["kinds"] == dict.fromkeys(
        ["colour_ridge", "colour_ridge_smoothed", "colour_ridge_shuffled"], "control"
    )
    plain, mixed = (result.predictions.layers[f"{name}.42"] for name in names)
    assert not np.allclose(plain, mixed)


def test_names_know_what_they_are_about():
    names = ["vit_b", "vit_b_shuffled", "vit_b_smoothed", "vit_b_shuffled_smoothed"]
    assert {method_of(name) for name in names} == {"vit_b"}
