"""What holds for every predictor: all that are registered, and the smallest of each family.

Numbers are those of the specification's list. A closed form need not overfit.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import FAITHFUL, NAMES, SINGLE, card, create, fitted, predict, selected
from prediction_samples import cohort

from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.prediction.sampling import gather
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.prediction.types import Patches

every_predictor = pytest.mark.parametrize("name", NAMES)
# Faithful variants must meet 1, 3, 4, 7 and 9.
every_variant = pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {}) for name in NAMES), *((name, {"faithful": True}) for name in FAITHFUL)],
    ids=[*NAMES, *(f"{name}-faithful" for name in FAITHFUL)],
)
# Controls that see images and say the same of every spot of a slide.
ONE_VALUE_A_SLIDE = ("nearest_slide",)


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


@every_variant
def test_1_labels_of_val_and_test_change_no_prediction(name, settings, slides, tmp_path):
    # One candidate and one step, so that val has nothing to decide.
    known = create(name, **settings).settings
    single = {key: value for key, value in SINGLE.items() if key in known}
    poisoned = tuple(
        one if one.split == "train" else replace(one, y=9 - one.y, measured=~one.measured)
        for one in slides.slides
    )
    results = []
    for part, data in (("clean", slides), ("poisoned", replace(slides, slides=poisoned))):
        fit = selected(name, data, tmp_path / part, steps=1, **single, **settings)
        others = [one.blind() for one in data.slides if one.split != "train"]
        results.append((fit.val_mse, predict(fit.predictor, others)))
    assert results[0][0] != results[1][0]  # the selection does see them
    np.testing.assert_array_equal(results[0][1], results[1][1])


@every_predictor
def test_2_deterministic_and_independent_of_the_batch(name, slides):
    predictor = fitted(name, slides.of("train"))
    val, test = slides.of("val")[0].blind(), slides.of("test")[0].blind()
    alone = predict(predictor, [val])
    np.testing.assert_array_equal(alone, predict(predictor, [val]))
    beside = predict(predictor, [test, val])[test.n_spots :]
    np.testing.assert_allclose(beside, alone, rtol=1e-4, atol=1e-5)
    if predictor.sampling.kind == "slide":
        return
    resident = predictor.resident([val])
    with torch.no_grad():
        few = predictor.predict(gather(resident, torch.tensor([3, 17])))
    np.testing.assert_allclose(few, alone[[3, 17]], rtol=1e-4, atol=1e-5)


@every_variant
def test_3_permuting_spots_permutes_predictions(name, settings, slides):
    predictor = fitted(name, slides.of("train"), **settings)
    val = slides.of("val")[0].blind()
    order = np.random.default_rng(0).permutation(val.n_spots)
    expected = predict(predictor, [val])[order]
    permuted = predict(predictor, [val.take(order)])
    np.testing.assert_allclose(permuted, expected, rtol=1e-4, atol=1e-5)


@every_variant
def test_4_state_is_everything_that_prediction_needs(name, settings, slides):
    predictor = fitted(name, slides.of("train"), **settings)
    again = create(name, **settings)
    again.load_state({key: value.copy() for key, value in predictor.state().items()})
    if again.trained:
        again.module.eval()
    val = [slide.blind() for slide in slides.of("val")]
    np.testing.assert_array_equal(predict(again, val), predict(predictor, val))


@every_predictor
def test_5_and_8_eight_spots_are_learnt_by_heart(name):
    if card(name).exemptions & {"closed_form", "retrieval"}:
        pytest.skip("a closed form or a retrieval")
    full = cohort(target="raw", missing=0).of("train")[0]
    # Each is there several times: batch norm estimates the variance of eight too differently in
    # training and in use.
    rows = np.tile(np.arange(8), 6)
    few = replace(full.take(rows), neighbours=np.full((len(rows), 6), -1, dtype=np.int32))
    predictor = fitted(name, [few], steps=400, batch=len(rows))
    predicted = predict(predictor, [few.blind()])
    variance = few.y.var(axis=0).mean()
    assert np.square(predicted - few.y).mean() < 0.05 * variance
    assert np.abs(predicted.mean(axis=0) - few.y.mean(axis=0)).max() < 0.2


@every_predictor
def test_6_constant_images_give_constant_predictions(name, slides):
    if "space" in card(name).uses:
        pytest.skip("it knows where a spot lies")
    predictor = fitted(name, slides.of("train"))
    val = slides.of("val")[0].blind()
    grey = Patches(np.full((val.n_spots, 20, 20, 3), 130, dtype=np.uint8), val.patches.rows)
    features = {"colours": np.full((val.n_spots, 3), 0.5, dtype=np.float32)}
    predicted = predict(predictor, [replace(val, patches=grey, features=features)])
    np.testing.assert_allclose(predicted, predicted[:1].repeat(val.n_spots, axis=0), atol=1e-5)


@every_variant
def test_7_single_spots_are_no_trouble(name, settings, slides):
    def single(slide):
        return slide.take(np.arange(1))

    first, second = slides.of("train")
    predictor = fitted(name, [first, single(second)], steps=3, **settings)
    lonely = replace(first.blind(), neighbours=np.full_like(first.neighbours, -1))
    assert np.isfinite(predict(predictor, [lonely])).all()
    assert np.isfinite(predict(predictor, [single(slides.of("val")[0]).blind()])).all()


@every_variant
@pytest.mark.parametrize("genes", [1, 3])
def test_9_any_number_of_genes_and_constant_genes(name, settings, genes):
    data = cohort(target="measured", genes=genes)
    train = data.of("train")
    for slide in train:
        slide.y[:, 0] = np.where(slide.measured[:, 0], 2.0, 0.0)
        slide.weight[:, -1] &= genes == 1  # of three, the last gene never counts
    predictor = fitted(name, train, steps=60, **settings)
    predicted = predict(predictor, [slide.blind() for slide in data.of("val")])
    assert predicted.shape == (20, genes)
    assert np.isfinite(predicted).all()
    if "closed_form" in card(name).exemptions:
        np.testing.assert_allclose(predicted[:, 0], 2.0, rtol=1e-5)
    assert train_mean(train)[0] == 2.0


@every_predictor
def test_10_shuffled_labels_teach_nothing(name):
    data = cohort(target="raw", genes=48, missing=0, rows=6, columns=8)
    rng = np.random.default_rng(1)
    shuffled = [
        replace(slide, y=rng.permuted(slide.y, axis=0).astype(np.float32))
        for slide in data.of("train")
    ]

    def correlation(train):
        predictor = fitted(name, train, steps=140)
        return Selection(data.of("val"), predictor).metrics(predictor)["val_pcc_gene"]

    value = correlation(shuffled)
    assert np.isnan(value) or abs(value) < 0.3
    if "image" in card(name).uses and name not in ONE_VALUE_A_SLIDE:
        assert correlation(data.of("train")) > 0.5  # the same fit learns from true labels
