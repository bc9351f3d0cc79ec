"""Targets whose completed entries count by how sure their completer is of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from anndata import AnnData
from every_predictor import SINGLE, card, create, fitted, predict, selected
from prediction_samples import cohort, expression, stores
from sklearn.linear_model import Ridge

from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.assemble import assemble
from spared_benchmark.prediction.comparisons import compare_predictions
from spared_benchmark.prediction.entry_weights import entry_weights, takers
from spared_benchmark.prediction.predictor import masked_mse, train_mean
from spared_benchmark.prediction.protocol import run_predictors
from spared_benchmark.prediction.ridge import solve
from spared_benchmark.prediction.sampling import batches
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.study import BenchmarkSettings
from spared_benchmark.training.trials import TrialStore

TAKERS = takers()
OTHERS = sorted(set(predictors.available()) - set(TAKERS))


def told(adata, **layers):
    filled = np.where(adata.layers["measured"], adata.layers["log_tpm"], 7).astype(np.float32)
    sd = np.random.default_rng(3).uniform(0.5, 3, filled.shape).astype(np.float32)
    sd[adata.layers["measured"]] = 0
    layers = {"sevens": filled, "sevens_sd": sd, **layers}
    return AnnData(obs=adata.obs[["slide"]], var=adata.var, layers=layers)


@pytest.fixture(scope="module")
def pair():
    """The same completed values with and without weights."""
    completed = told(expression()[0])
    targets = ("sevens", "sevens_weighted")
    return [cohort(target=target, completed=completed) for target in targets]


def with_weights(assembled, change):
    slides = tuple(replace(one, weight=change(one)) for one in assembled.slides)
    return replace(assembled, slides=slides)


def test_the_share_of_the_variance_by_hand():
    values = np.array([[1, 5], [3, 5], [9, 5], [100, 5]], dtype=np.float32)
    sd = np.array([[0, 2], [9, 0], [3, 2], [1, 0]], dtype=np.float32)
    measured = np.array([[True, True], [True, False], [False, False], [False, True]])
    train = np.array([True, True, True, False])
    # The first gene is 1 and 3 where measured in train; the second is so in one spot alone.
    found = entry_weights(values, sd, measured, train)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 1], [1, 1], [1 / 10, 1 / 5], [1 / 2, 1]])


def test_what_does_not_vary_and_is_known_for_sure_counts():
    values, sure = np.full((3, 1), 2, dtype=np.float32), np.zeros((3, 1))
    measured, train = np.array([[True], [True], [False]]), np.ones(3, dtype=bool)
    np.testing.assert_array_equal(entry_weights(values, sure, measured, train), 1)
    unsure = entry_weights(values, sure + 1, measured, train)
    np.testing.assert_array_equal(unsure, [[1], [1], [0]])


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_a_weighted_target_has_the_values_of_the_plain_one(space):
    adata, colour = expression()
    patches, completed = stores(adata, colour), told(adata)
    both = [
        assemble(adata, target=name, space=space, completed=completed, patches=patches)
        for name in ("sevens", "sevens_weighted")
    ]
    assert [one.weighted for one in both] == [False, True]
    plain, weighted = (
        {
            name: np.concatenate([getattr(slide, name) for slide in one.slides])
            for name in ("y", "measured", "weight")
        }
        for one in both
    )
    np.testing.assert_array_equal(weighted["y"], plain["y"])
    np.testing.assert_array_equal(weighted["measured"], plain["measured"])
    measured = weighted["measured"]
    assert (weighted["weight"][measured] == 1).all()
    # By hand: the spread of train in this space, and the doubt at the slope of the slide's map.
    code = np.repeat(np.arange(4), 20)
    slope = adata.uns["combat"]["scale"][code] if space == "combat" else 1.0
    doubt = np.square(completed.layers["sevens_sd"] * slope)
    known = np.where(measured, adata.layers[space], np.nan)[:40]
    spread = np.nanvar(known, axis=0, dtype=np.float64)
    expected = spread / (spread + doubt)
    np.testing.assert_allclose(weighted["weight"][~measured], expected[~measured], rtol=1e-4)


def test_a_completer_that_tells_no_uncertainty_cannot_weigh():
    adata, _ = expression()
    completed = told(adata)
    del completed.layers["sevens_sd"]
    with pytest.raises(ContractError, match="needs 'sevens' and 'sevens_sd' as layers"):
        assemble(adata, target="sevens_weighted", space="log_tpm", completed=completed)
    with pytest.raises(ContractError, match="needs 'eights' and 'eights_sd' as layers"):
        assemble(adata, target="eights_weighted", space="log_tpm", completed=completed)


def test_the_gradient_of_a_weighted_error_by_hand():
    prediction = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    y = torch.tensor([[0.0, 4.0, float("nan")]])
    weight = torch.tensor([[1.0, 0.25, 0.0]])
    loss = masked_mse(prediction, y, weight)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((1 + 0.25 * 4) / 1.25)
    expected = torch.tensor([[2 / 1.25, 2 * 0.25 * -2 / 1.25, 0.0]])
    torch.testing.assert_close(prediction.grad, expected)
    assert float(masked_mse(prediction.detach(), y, torch.zeros_like(weight))) == 0


def test_entries_that_count_or_do_not_have_the_loss_they_always_had():
    torch.manual_seed(0)
    prediction, y = torch.randn(2, 64, 7)
    prediction.requires_grad_()
    weight = torch.rand(64, 7) > 0.4
    y[~weight] = float("nan")
    error = torch.where(weight, prediction - y, 0.0)
    before = error.square().sum() / weight.sum().clamp(min=1)
    (expected,) = torch.autograd.grad(before, prediction)
    now = masked_mse(prediction, y, weight)
    (found,) = torch.autograd.grad(now, prediction)
    assert torch.equal(now, before)
    assert torch.equal(found, expected)


def test_weights_reach_the_loss_of_a_network(pair):
    data = pair[1]
    predictor = create("small_cnn")
    predictor.prepare(data.of("train"))
    (batch,) = batches(predictor.resident(data.of("train")), 100)
    predictor.loss(batch)["loss"].backward()
    y, weight = batch.labels()
    assert 0 < weight.min() < 1
    with torch.no_grad():
        error = predictor.forward(batch) - y
    expected = (2 * weight * error).sum(0) / weight.sum()
    torch.testing.assert_close(predictor.head.bias.grad, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TAKERS)
def test_weights_are_relative_and_those_of_one_and_zero_are_a_mask(name, pair):
    flags = with_weights(pair[0], lambda one: one.measured)
    known = create(name).settings
    single = {key: value for key, value in SINGLE.items() if key in known}
    results = []
    for data in (
        flags,
        with_weights(flags, lambda one: one.measured.astype(np.float32)),
        pair[1],
        with_weights(pair[1], lambda one: one.weight / 4),
    ):
        predictor = fitted(name, data.of("train"), steps=3, **single)
        results.append(predict(predictor, [slide.blind() for slide in data.of("val")]))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(results[3], results[2], rtol=1e-4, atol=1e-4)
    assert np.abs(results[2] - results[0]).max() > 1e-3


@pytest.mark.parametrize("name", OTHERS)
def test_who_cannot_weigh_says_so_and_who_can(name, pair, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        selected(name, pair[1], tmp_path)
    assert f"{name} cannot be trained on 'sevens_weighted'" in str(caught.value)
    assert f"Train it on 'sevens', or take one of {', '.join(TAKERS)}" in str(caught.value)


def test_the_published_baselines_weigh():
    assert {"small_cnn", "vit_b_delta", "shufflenet", "feature_ridge", "train_mean"} <= set(TAKERS)
    assert not card("feature_trees").weighs


@pytest.mark.parametrize("width", [5, 90])
def test_a_weighted_ridge_equals_scikit_learn(width):
    rng = np.random.default_rng(0)
    inputs = rng.normal(0.3, 2, (60, width))
    y = (inputs @ rng.normal(size=(width, 3)) + 3 + rng.normal(size=(60, 3))).astype(np.float32)
    weight = rng.uniform(0, 1, (60, 3)).astype(np.float32)
    weight[rng.random((60, 3)) < 0.3] = 0
    weight[:, 2] = 0
    changed = np.where(weight > 0, y, np.float32(np.nan))
    found = solve(inputs, changed, weight, (1e-3, 0.5))
    for place, penalty in enumerate((1e-3, 0.5)):
        for gene in range(2):
            own = weight[:, gene].astype(float)
            reference = Ridge(alpha=penalty * own.sum()).fit(inputs, y[:, gene], own)
            slope, intercept = found.coefficients[place, :, gene], found.intercepts[place, gene]
            np.testing.assert_allclose(slope, reference.coef_, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(intercept, reference.intercept_, rtol=1e-4)
    np.testing.assert_array_equal(found.coefficients[:, :, 2], 0)
    overall = np.average(y.astype(float), weights=weight)
    np.testing.assert_allclose(found.intercepts[:, 2], overall, rtol=1e-6)


def test_means_of_train_are_weighted(pair):
    train = pair[1].of("train")
    y, weight = (np.concatenate([getattr(s, name) for s in train]) for name in ("y", "weight"))
    expected = (y.astype(float) * weight).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(train_mean(train), expected, rtol=1e-5)


def test_selection_looks_at_measured_entries_whatever_completed_ones_weigh(pair):
    predictor = fitted("small_cnn", pair[0].of("train"))
    first, second = (Selection(one.of("val"), predictor).metrics(predictor) for one in pair)
    assert first == second


def test_scores_and_comparisons_know_what_it_is_a_weighted_form_of(pair, tmp_path):
    adata, _ = expression()
    settings = BenchmarkSettings(seeds=(42,), sizes={"colour_ridge": "tiny"})
    done = [
        run_predictors(["colour_ridge"], one, one.target, settings, TrialStore(tmp_path))
        for one in pair
    ]
    assert [one.card["status"] for one in done] == ["fitted", "fitted"]
    predictions = [one.predictions for one in done]
    table = compare_predictions(adata, predictions, "TOY", "inductive", draws=20)
    rows = table[table["comparison"] == "target"]
    assert set(zip(rows["target"], rows["against"], strict=True)) == {("sevens_weighted", "sevens")}
    values = rows[rows["space"] == "log_tpm"]["value"]
    assert (values != 0).all()


def test_another_weight_is_another_training(pair):
    sampling = create("small_cnn").sampling
    assert pair[0].digest(sampling) != pair[1].digest(sampling)
    other = with_weights(pair[1], lambda one: one.weight * np.float32(0.5))
    assert other.digest(sampling) != pair[1].digest(sampling)
