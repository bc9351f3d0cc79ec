"""What is particular to each predictor on frozen features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import EXTRA, create, predict
from prediction_samples import cohort
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.prediction.types import BlindSlide, Slide

ON_FEATURES = sorted(name for name in EXTRA if not predictors.card(name).trained)


def slide(name, features, y=None, weight=None, split="train"):
    """A column of spots with these features ``(n, d)``."""
    n = len(features)
    places = np.column_stack([np.arange(n), np.arange(n) % 2]).astype(np.int32)
    above, below = np.arange(n) - 1, np.where(np.arange(n) + 1 < n, np.arange(n) + 1, -1)
    shown = {
        "slide": name,
        "subject": name,
        "split": split,
        "array_rc": places,
        "xy_um": places.astype(np.float32),
        "neighbours": np.stack([above, below, *[np.full(n, -1)] * 4], axis=1).astype(np.int32),
        "lattice": "hexagonal",
        "features": {"colours": np.asarray(features, dtype=np.float32)},
    }
    if y is None:
        return BlindSlide(**shown)
    y = np.asarray(y, dtype=np.float32)
    counts = np.ones(y.shape, dtype=bool) if weight is None else np.asarray(weight, dtype=bool)
    return Slide(**shown, y=y, measured=counts, weight=counts)


def test_the_predictors_on_features_are_these():
    assert [
        *("feature_knn", "feature_pca_ridge", "feature_ridge", "feature_trees", "nearest_slide")
    ] == ON_FEATURES


@pytest.mark.parametrize("name", ON_FEATURES)
def test_an_encoder_must_be_named_and_be_there(name):
    with pytest.raises(ConfigurationError, match=rf"{name} works on .*benchmark.features.{name}"):
        _ = predictors.create(name).sampling
    train = [slide("a", np.eye(3), np.ones((3, 2)))]
    with pytest.raises(ContractError, match=r"no features 'colour' .did you mean 'colours'"):
        create(name, feature="colour").prepare(train)


def test_feature_ridge_is_a_ridge_on_all_standardised_features():
    slides = cohort(target="raw")
    train, val = slides.of("train"), slides.of("val")
    predictor = create("feature_ridge", penalties=(0.1,))
    predictor.prepare(train)
    features = np.concatenate([one.features["colours"] for one in train])
    y = np.concatenate([one.y for one in train])
    reference = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * len(y))).fit(features, y)
    expected = reference.predict(val[0].features["colours"])
    np.testing.assert_allclose(predict(predictor, [val[0].blind()]), expected, rtol=1e-4)


def test_the_penalties_must_be_positive():
    with pytest.raises(ConfigurationError, match=r"feature_ridge: penalties \[0.0, 1.0\]"):
        create("feature_ridge", penalties=(0.0, 1.0))


def test_pca_ridge_leaves_out_what_varies_least():
    # Three inputs say the same, with all of the variance of the first axis; y follows the fourth.
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(2, 200, 1))
    features = np.hstack([shared, shared, shared, own])
    train = [slide("a", features, own)]
    one, two = (create("feature_pca_ridge", components=number) for number in (1, 2))
    errors = []
    for predictor in (one, two):
        predictor.prepare(train)
        errors.append(np.square(predict(predictor, [train[0].blind()]) - own).mean())
    assert errors[0] > 0.9 * own.var()
    assert errors[1] < 1e-3


class TestKnn:
    """Bank of two slides on one line: a at 0, 1, 2, 3 and b at 10, 11."""

    train = (
        slide("a", [[0], [1], [2], [3]], [[0, 5], [1, 5], [2, 5], [3, 5]]),
        slide("b", [[10], [11]], [[10, 7], [11, 7]], [[1, 0], [1, 1]]),
    )

    def fitted(self, train=train, **settings):
        predictor = create("feature_knn", **settings)
        predictor.prepare(train)
        return predictor

    def test_mean_of_the_nearest_spots_whose_entry_counts(self):
        predictor = self.fitted(neighbours=(2, 3))
        asked = slide("v", [[0.4], [10.1]], split="val")
        expected = [[0.5, 5], [10.5, 7]]
        np.testing.assert_allclose(predict(predictor, [asked]), expected)
        predictor.choose({"neighbours": 3})
        np.testing.assert_allclose(predict(predictor, [asked])[0], [1, 5])
        # The third neighbour of the second is spot 3 of a; of gene 1 two of the three count.
        np.testing.assert_allclose(predict(predictor, [asked])[1], [8, 6])

    def test_the_train_mean_where_no_neighbour_counts(self):
        predictor = self.fitted(neighbours=(1,))
        predicted = predict(predictor, [slide("v", [[10.2]], split="val")])
        np.testing.assert_allclose(predicted, [[10, (4 * 5 + 7) / 5]])

    def test_a_train_slide_finds_nothing_of_itself(self):
        predictor = self.fitted(neighbours=(1, 6))
        np.testing.assert_allclose(predict(predictor, [self.train[0].blind()])[:, 0], 10)
        # Of six asked for, two are left: those of b.
        predictor.choose({"neighbours": 6})
        np.testing.assert_allclose(predict(predictor, [self.train[0].blind()])[:, 0], 10.5)

    def test_of_one_train_slide_the_neighbourhood_is_not_found(self):
        features = np.arange(60)[:, None]
        only = slide("a", features, features)
        predictor = self.fitted([only], neighbours=(1, 2, 50))
        # Three steps along the column are left out, so the nearest are the fourth ones.
        np.testing.assert_allclose(
            np.abs(predict(predictor, [only.blind()]).ravel() - np.arange(60)), 4
        )
        predictor.choose({"neighbours": 50})
        assert np.isfinite(predict(predictor, [only.blind()])).all()

    def test_numbers_above_the_bank_are_no_candidates(self):
        asked = {"neighbours": (1, 6, 7, 200)}
        assert self.fitted(**asked).candidates() == [{"neighbours": 1}, {"neighbours": 6}]
        assert self.fitted(neighbours=(50,)).candidates() == [{"neighbours": 6}]

    @pytest.mark.parametrize("numbers", [(), (0, 1)])
    def test_numbers_must_be_positive(self, numbers):
        with pytest.raises(ConfigurationError, match="feature_knn: neighbours"):
            create("feature_knn", neighbours=numbers)

    def test_a_tiny_train_slide_leaves_itself_nothing_but_the_mean(self):
        only = slide("a", [[0], [1]], [[1.0], [3.0]])
        predictor = self.fitted([only])
        np.testing.assert_allclose(predict(predictor, [only.blind()]), 2)
        asked = slide("v", [[0.1]], split="val")
        np.testing.assert_allclose(predict(predictor, [asked]), 1)


class TestNearestSlide:
    train = (
        slide("a", [[0.0], [2.0]], [[1, 4], [3, 4]], [[1, 0], [1, 0]]),
        slide("b", [[9.0], [11.0]], [[10, 7], [20, 9]]),
    )

    @pytest.fixture
    def predictor(self):
        predictor = create("nearest_slide")
        predictor.prepare(self.train)
        return predictor

    def test_gene_means_of_the_slide_with_the_nearest_centroid(self, predictor):
        near_b = slide("v", [[2.0], [12.0]], split="val")  # one spot is like a, the mean like b
        np.testing.assert_allclose(predict(predictor, [near_b]), [[15, 8], [15, 8]])
        # Gene 1 counts nowhere on a: its mean over train.
        near_a = slide("w", [[1.0]], split="val")
        np.testing.assert_allclose(predict(predictor, [near_a]), [[2, 8]])

    def test_a_train_slide_is_not_its_own(self, predictor):
        predicted = predict(predictor, [self.train[0].blind()])
        np.testing.assert_allclose(predicted, [[15, 8], [15, 8]])

    def test_the_only_train_slide_is_the_nearest(self):
        predictor = create("nearest_slide")
        predictor.prepare(self.train[1:])
        expected = np.tile(train_mean(self.train[1:]), (2, 1))
        np.testing.assert_allclose(predict(predictor, [self.train[1].blind()]), expected)


class TestTrees:
    def test_equal_scikit_learn_on_all_components(self):
        slides = cohort(target="raw")
        train, val = slides.of("train"), slides.of("val")
        predictor = create("feature_trees", components=0)
        torch.manual_seed(3)
        predictor.prepare(train)
        torch.manual_seed(3)
        forest = RandomForestRegressor(
            10, min_samples_leaf=5, max_features=1 / 3, random_state=int(torch.randint(2**31, ()))
        )
        scaler = StandardScaler().fit(np.concatenate([one.features["colours"] for one in train]))
        seen = [scaler.transform(one.features["colours"].astype(float)) for one in (*train, *val)]
        forest.fit(np.concatenate(seen[:2]), np.concatenate([one.y for one in train]))
        expected = forest.predict(seen[2])
        np.testing.assert_allclose(predict(predictor, [val[0].blind()]), expected, rtol=1e-5)

    def test_entries_that_do_not_count_change_nothing(self):
        train = cohort(target="measured").of("train")
        poisoned = [replace(one, y=np.where(one.weight, one.y, np.float32(1e6))) for one in train]
        results = []
        for slides in (train, poisoned):
            torch.manual_seed(0)
            predictor = create("feature_trees")
            predictor.prepare(slides)
            results.append(predict(predictor, [train[0].blind()]))
        np.testing.assert_array_equal(*results)

    def test_before_it_is_prepared_it_says_so(self):
        with pytest.raises(ContractError, match="call prepare or load_state first"):
            predict(create("feature_trees"), [slide("v", [[0.0]], split="val")])
