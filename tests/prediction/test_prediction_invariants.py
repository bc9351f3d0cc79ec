"""What holds for every registered predictor; a closed form need not overfit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from prediction_samples import cohort

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.prediction.sampling import Resident, draw, gather
from spared_benchmark.prediction.selection import Selection, predict_all
from spared_benchmark.prediction.types import Patches
from spared_benchmark.training.seeds import isolated, torch_generator

NAMES = predictors.available()
EXTRA = {"feature_ridge": {"feature": "colours"}}
pytestmark = pytest.mark.parametrize("name", NAMES)


def fitted(name, train, blind=(), steps=12, rate=1e-2, batch=16):
    """Fit on train slides alone, without any selection."""
    predictor = predictors.create(name, size="tiny", **EXTRA.get(name, {}))
    with isolated(0, "network"):
        predictor.prepare(train)
        for slide in [*train, *blind]:
            predictor.attach(slide.blind())
        if predictor.trained:
            resident = Resident.of(train, predictor.sampling)
            optimiser = torch.optim.Adam(predictor.module.parameters(), lr=rate)
            generator = torch_generator(0)
            predictor.module.train()
            for _ in range(steps):
                loss = predictor.loss(draw(resident, batch, generator))["loss"]
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            predictor.module.eval()
    return predictor


def predict(predictor, slides):
    return predict_all(predictor, Resident.of(slides, predictor.sampling)).numpy()


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


@pytest.fixture
def predictor(name, slides):
    return fitted(name, slides.of("train"), slides.of("val"))


def test_1_labels_of_val_and_test_change_no_prediction(name, slides):
    results = []
    for poison in (False, True):
        others = [*slides.of("val"), *slides.of("test")]
        if poison:
            others = [replace(slide, y=np.full_like(slide.y, np.nan)) for slide in others]
        predictor = fitted(name, slides.of("train"), others)
        results.append(predict(predictor, [slide.blind() for slide in others]))
    np.testing.assert_array_equal(*results)


def test_2_deterministic_and_independent_of_the_batch(predictor, slides):
    val, test = slides.of("val")[0].blind(), slides.of("test")[0].blind()
    alone = predict(predictor, [val])
    np.testing.assert_array_equal(alone, predict(predictor, [val]))
    beside = predict(predictor, [test, val])[test.n_spots :]
    np.testing.assert_allclose(beside, alone, rtol=1e-4, atol=1e-5)
    if predictor.sampling.kind == "slide":
        return
    resident = Resident.of([val], predictor.sampling)
    with torch.no_grad():
        few = predictor.predict(gather(resident, torch.tensor([3, 17])))
    np.testing.assert_allclose(few, alone[[3, 17]], rtol=1e-4, atol=1e-5)


def test_3_permuting_spots_permutes_predictions(predictor, slides):
    val = slides.of("val")[0].blind()
    order = np.random.default_rng(0).permutation(val.n_spots)
    place = np.append(np.argsort(order), -1)
    permuted = replace(
        val,
        array_rc=val.array_rc[order],
        xy_um=val.xy_um[order],
        neighbours=place[val.neighbours[order]].astype(np.int32),
        patches=Patches(val.patches.array, val.patches.rows[order]),
        features={key: value[order] for key, value in val.features.items()},
    )
    expected = predict(predictor, [val])[order]
    np.testing.assert_allclose(predict(predictor, [permuted]), expected, rtol=1e-4, atol=1e-5)


def test_4_state_is_everything_that_prediction_needs(name, predictor, slides):
    again = predictors.create(name, size="tiny", **EXTRA.get(name, {}))
    again.load_state({key: value.copy() for key, value in predictor.state().items()})
    if again.trained:
        again.module.eval()
    val = [slide.blind() for slide in slides.of("val")]
    for slide in val:
        again.attach(slide)
    np.testing.assert_array_equal(predict(again, val), predict(predictor, val))


def test_5_and_8_eight_spots_are_learnt_by_heart(name, slides):
    if "closed_form" in predictors.card(name).exemptions:
        pytest.skip("a closed form")
    full = cohort(target="raw", missing=0).of("train")[0]
    few = replace(
        full,
        **{key: getattr(full, key)[:8] for key in ("array_rc", "xy_um", "y", "measured", "weight")},
        neighbours=np.full((8, 6), -1, dtype=np.int32),
        patches=Patches(full.patches.array, full.patches.rows[:8]),
        features={key: value[:8] for key, value in full.features.items()},
    )
    predictor = fitted(name, [few], steps=600, batch=8)
    predicted = predict(predictor, [few.blind()])
    variance = few.y.var(axis=0).mean()
    assert np.square(predicted - few.y).mean() < 0.05 * variance
    assert np.abs(predicted.mean(axis=0) - few.y.mean(axis=0)).max() < 0.2


def test_6_constant_images_give_constant_predictions(name, predictor, slides):
    if "space" in predictors.card(name).uses:
        pytest.skip("it knows where a spot lies")
    val = slides.of("val")[0].blind()
    grey = Patches(np.full((val.n_spots, 20, 20, 3), 130, dtype=np.uint8), val.patches.rows)
    features = {"colours": np.full((val.n_spots, 3), 0.5, dtype=np.float32)}
    predicted = predict(predictor, [replace(val, patches=grey, features=features)])
    np.testing.assert_allclose(predicted, predicted[:1].repeat(val.n_spots, axis=0), atol=1e-5)


def test_7_single_spots_are_no_trouble(name, slides):
    def single(slide):
        labels = {key: getattr(slide, key)[:1] for key in ("y", "measured", "weight")}
        return replace(
            slide,
            **labels,
            array_rc=slide.array_rc[:1],
            xy_um=slide.xy_um[:1],
            neighbours=np.full((1, 6), -1, dtype=np.int32),
            patches=Patches(slide.patches.array, slide.patches.rows[:1]),
            features={key: value[:1] for key, value in slide.features.items()},
        )

    first, second = slides.of("train")
    predictor = fitted(name, [first, single(second)], steps=3)
    lonely = replace(first.blind(), neighbours=np.full_like(first.neighbours, -1))
    assert np.isfinite(predict(predictor, [lonely])).all()
    assert np.isfinite(predict(predictor, [single(slides.of("val")[0]).blind()])).all()


@pytest.mark.parametrize("genes", [1, 3])
def test_9_any_number_of_genes_and_constant_genes(name, genes):
    data = cohort(target="measured", genes=genes)
    train = data.of("train")
    for slide in train:
        slide.y[:, 0] = np.where(slide.measured[:, 0], 2.0, 0.0)
        slide.weight[:, -1] &= genes == 1  # of three, the last gene never counts
    predictor = fitted(name, train, steps=60)
    predicted = predict(predictor, [slide.blind() for slide in data.of("val")])
    assert predicted.shape == (20, genes)
    assert np.isfinite(predicted).all()
    if "closed_form" in predictors.card(name).exemptions:
        np.testing.assert_allclose(predicted[:, 0], 2.0, rtol=1e-5)
    assert train_mean(train)[0] == 2.0


def test_10_shuffled_labels_teach_nothing(name):
    data = cohort(target="raw", genes=48, missing=0, rows=6, columns=8)
    rng = np.random.default_rng(1)
    shuffled = [
        replace(slide, y=rng.permuted(slide.y, axis=0).astype(np.float32))
        for slide in data.of("train")
    ]

    def correlation(train):
        predictor = fitted(name, train, steps=200)
        return Selection(data.of("val"), predictor.sampling).metrics(predictor)["val_pcc_gene"]

    value = correlation(shuffled)
    assert np.isnan(value) or abs(value) < 0.3
    if "image" in predictors.card(name).uses:
        assert correlation(data.of("train")) > 0.5  # the same fit learns from true labels
