"""BLEEP and its options: the contrast, the retrieval, and what a spot may not find."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import create, fitted, predict, selected
from prediction_samples import cohort
from torch.utils.flop_counter import FlopCounterMode

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.methods._contrastive import (
    ProjectionHead,
    one_hot_loss,
    retrieved,
    similarities,
    soft_loss,
)
from spared_benchmark.prediction.methods.bleep import MCLSTEXP
from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.sweep import parameter_counts

variants = pytest.mark.parametrize(
    "options",
    [{}, MCLSTEXP, {**MCLSTEXP, "faithful": True}],
    ids=["bleep", "mclstexp", "mclstexp-faithful"],
)


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def sides(n=5, width=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, n, width, generator=generator)


@pytest.mark.parametrize(
    ("options", "count"),
    # 24.2 M and 24.8 M of the specification.
    [({}, 24_198_208), ({"network": "densenet121", **MCLSTEXP}, 24_750_720)],
)
def test_paper_has_the_printed_number_of_parameters(options, count):
    with torch.device("meta"):
        module = predictors.create("bleep", size="paper", weights="none", **options).build(128)
    assert parameter_counts(module) == (count, count)


@pytest.mark.parametrize("options", [{}, MCLSTEXP], ids=["bleep", "mclstexp"])
def test_small_is_small(options):
    module = predictors.create("bleep", size="small", **options).build(128).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert parameter_counts(module)[0] <= 1_000_000
    assert 0 < counter.get_total_flops() <= 0.1e9


def test_head_adds_what_it_projected():
    head = ProjectionHead(4, 3).eval()
    torch.nn.init.zeros_(head.transform[1].weight)
    torch.nn.init.zeros_(head.transform[1].bias)
    features = torch.randn(2, 4)
    expected = torch.nn.functional.layer_norm(head.project(features), (3,))
    torch.testing.assert_close(head(features), expected)


def test_soft_loss_is_the_same_when_sides_change_places():
    expression, image = sides()
    here = soft_loss(expression, image, 1.0, transpose=False)
    torch.testing.assert_close(here, soft_loss(image, expression, 1.0, transpose=False))
    published = soft_loss(expression, image, 1.0, transpose=True)
    swapped = soft_loss(image, expression, 1.0, transpose=True)
    assert abs(float(published - swapped)) > 1e-3  # the fault that faithful keeps


def test_soft_loss_by_hand():
    expression, image = torch.tensor([[1.0], [0.0]]), torch.tensor([[2.0], [0.0]])
    # Similarities [[2, 0], [0, 0]]; targets: softmax of [[2.5, 0], [0, 0]] by rows.
    share = 1 / (1 + np.exp(-2.5))
    first = np.log(1 + np.exp(2.0))
    rows = first - share * 2, np.log(2)
    expected = np.mean(rows)
    assert float(soft_loss(expression, image, 1.0, transpose=False)) == pytest.approx(expected)


def test_one_hot_loss_is_least_for_pairs():
    expression, image = sides()
    far = 9 * torch.eye(5)
    assert one_hot_loss(far, far, 1.0) < 1e-6 < one_hot_loss(expression, image, 1.0)
    alike = torch.ones(4, 2)
    assert float(one_hot_loss(alike, alike, 1.0)) == pytest.approx(np.log(4))


def test_the_nearest_alone_is_returned_as_it_is():
    keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    values = torch.tensor([[1.0, 5.0], [2.0, 6.0], [4.0, 9.0]])
    counts, mean = torch.ones(3, 2, dtype=torch.bool), torch.zeros(2)
    near = similarities(2 * keys, keys)
    torch.testing.assert_close(retrieved(near, values, counts, 1, mean), values)
    weighted = retrieved(near, values, counts, 3, mean, inverse_square=True)
    torch.testing.assert_close(weighted, values, rtol=1e-4, atol=1e-4)
    everything = retrieved(near, values, counts, 3, mean)
    torch.testing.assert_close(everything, values.mean(0).expand(3, 2))


def test_weights_fall_with_the_square_of_the_distance():
    similarity = torch.tensor([[0.5, 0.0, -1.0]])  # squared distances 1, 2 and 4
    values, counts = torch.tensor([[4.0], [1.0], [8.0]]), torch.ones(3, 1, dtype=torch.bool)
    found = retrieved(similarity, values, counts, 3, torch.zeros(1), inverse_square=True)
    assert float(found) == pytest.approx((4 / 1 + 1 / 2 + 8 / 4) / (1 + 1 / 2 + 1 / 4))


def test_entries_that_do_not_count_and_spots_that_may_not_be_found():
    similarity = torch.tensor([[0.9, 0.5, 0.1], [-torch.inf, -torch.inf, -torch.inf]])
    values = torch.tensor([[1.0, 1.0], [3.0, 3.0], [7.0, 7.0]])
    counts = torch.tensor([[True, False], [True, False], [True, True]])
    found = retrieved(similarity, values, counts, 2, torch.tensor([8.0, 9.0]))
    torch.testing.assert_close(found, torch.tensor([[2.0, 9.0], [8.0, 9.0]]))


def test_all_train_spots_give_the_train_mean(slides):
    predictor = fitted("bleep", slides.of("train"), steps=2, neighbours=(1000,))
    val = slides.of("val")[0].blind()
    predicted = predict(predictor, [val])
    expected = train_mean(slides.of("train"))[None].repeat(val.n_spots, axis=0)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


@variants
def test_predictions_are_mixtures_of_train_profiles(slides, options):
    full = cohort(target="raw", missing=0)
    predicted = predict(fitted("bleep", full.of("train"), **options), full.of("val"))
    profiles = np.concatenate([slide.y for slide in full.of("train")])
    assert (predicted >= profiles.min(axis=0) - 1e-4).all()
    assert (predicted <= profiles.max(axis=0) + 1e-4).all()


def test_a_train_spot_finds_no_spot_of_its_own_slide(slides):
    first, second = slides.of("train")
    second = replace(second, y=np.full_like(second.y, 7.0), weight=np.ones_like(second.weight))
    predicted = predict(fitted("bleep", [first, second], steps=2), [first])
    np.testing.assert_allclose(predicted, 7.0, rtol=1e-6)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_of_one_slide_a_spot_finds_none_beside_it(neighbours):
    only = cohort(target="raw", missing=0, rows=8, columns=8).of("train")[0]
    predictor = fitted("bleep", [only], steps=2, neighbours=(neighbours,))
    attached = predictor.attach(only.blind())
    excluded = predictor.bank.excluded(only.blind(), 0, only.n_spots)
    for spot, beside in enumerate(attached["beside"]):
        assert set(beside[beside >= 0]) == set(np.flatnonzero(excluded[spot]))
    assert (attached["own"] == -1).all()
    # Spots around the first have an expression of their own, which it must not be given.
    around = excluded[0]
    marked = replace(only, y=np.where(around[:, None], 1000.0, only.y).astype(np.float32))
    assert (
        predict(fitted("bleep", [marked], steps=2, neighbours=(neighbours,)), [only])[0].max() < 99
    )


def test_of_one_slide_what_a_spot_expresses_does_not_come_back_to_it():
    only = cohort(target="raw", missing=0, rows=8, columns=8).of("train")[0]
    predictor = fitted("bleep", [only], steps=2, neighbours=(only.n_spots,))
    before = predict(predictor, [only])
    own, distant = 0, only.n_spots - 1
    predictor.bank.values[own] += 50.0
    after = predict(predictor, [only])
    np.testing.assert_array_equal(after[own], before[own])
    assert np.abs(after[distant] - before[distant]).max() > 1e-3


def test_only_a_faithful_train_spot_finds_itself(slides):
    train = slides.of("train")
    attached = fitted("bleep", train, steps=2, faithful=True).attach(train[0].blind())
    assert (attached["own"] == -1).all()
    assert attached["beside"].shape == (train[0].n_spots, 0)
    assert set(fitted("bleep", train, steps=2).attach(train[1].blind())["own"]) == {1}


@variants
def test_options_keep_the_invariants(slides, options):
    predictor = fitted("bleep", slides.of("train"), **options)
    val, test = slides.of("val")[0].blind(), slides.of("test")[0].blind()
    alone = predict(predictor, [val])
    np.testing.assert_allclose(
        predict(predictor, [test, val])[test.n_spots :], alone, rtol=1e-4, atol=1e-5
    )
    again = create("bleep", **options)
    again.load_state(predictor.state())
    again.module.eval()
    np.testing.assert_array_equal(predict(again, [val]), alone)


@pytest.mark.parametrize("faithful", [False, True])
def test_spots_see_other_slides_in_the_published_variant_alone(slides, faithful):
    predictor = fitted("bleep", slides.of("train"), steps=2, **MCLSTEXP, faithful=faithful)
    values, weight = (torch.from_numpy(a) for a in (predictor.bank.values, predictor.bank.weight))
    other = values.clone()
    other[20:, 0] = 50 - 9 * other[20:, 0]  # of the second slide
    weight = torch.ones_like(weight)
    with torch.no_grad():
        change = (predictor.keys(other, weight) - predictor.keys(values, weight)).abs().amax(1)
    assert (change[20:] > 1e-3).all()
    assert bool((change[:20] > 1e-5).any()) == faithful


def test_mclstexp_learns():
    data = cohort(target="raw", genes=24, missing=0, rows=6, columns=8)
    options = {**MCLSTEXP, "neighbours": (5,)}
    predicted = predict(fitted("bleep", data.of("train"), steps=200, **options), data.of("val"))
    truth = data.of("val")[0].y
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, truth.T, strict=True)]
    assert np.mean(correlation) > 0.5


def test_validation_selects_the_number_of_neighbours(slides, tmp_path):
    result = selected("bleep", slides, tmp_path, neighbours=(5, 1, 10, 40, 41))
    predictor = result.predictor
    assert [row["neighbours"] for row in result.grid] == [1, 5, 10, 40]  # the bank has 40
    assert result.best is not None
    assert result.val_mse == min(row["val_mse"] for row in result.grid)
    again = Selection(slides.of("val"), predictor).metrics(predictor)["val_mse"]
    assert again == pytest.approx(result.val_mse)
    assert selected("bleep", slides, tmp_path, faithful=True).grid == ()


def test_wrong_options_are_told(slides):
    with pytest.raises(ConfigurationError, match=r"targets 'softly' \(did you mean 'soft'"):
        create("bleep", targets="softly")
    with pytest.raises(ConfigurationError, match=r"neighbours \[0, 3\]; give at least one"):
        create("bleep", neighbours=(0, 3))
    shape = {"rows": 9, "depth": 1, "heads": 1, "head_width": 4}
    predictor = create("bleep", spots="together", transformer=shape)
    with pytest.raises(
        ConfigurationError, match=r"array place 9 of train is beyond transformer.rows 9"
    ):
        predictor.prepare(slides.of("train"))


def golden(**options):
    data = cohort(target="raw", missing=0)
    predictor = create("bleep", **options)
    with isolated(0, "network"):
        predictor.prepare(data.of("train"))
    predictor.module.eval()
    embedded = predictor.module(torch.arange(3 * 32 * 32).reshape(1, 3, 32, 32).byte())
    return embedded[0, :4].tolist(), predict(predictor, data.of("val"))[0].tolist()


@pytest.mark.parametrize(
    ("options", "embedding", "prediction"),
    [
        (
            {},
            [0.6281326, 0.3758321, 0.9072819, 0.9411210],
            [2.5369279, 4.8389926, 5.0007114, 5.1946898],
        ),
        (
            MCLSTEXP,
            [0.9113032, 0.9688407, -1.0039665, 1.2068688],
            [2.5406332, 3.9884794, 4.7564745, 5.6333537],
        ),
    ],
    ids=["bleep", "mclstexp"],
)
def test_golden(options, embedding, prediction):
    found = golden(**options)
    assert found[0] == pytest.approx(embedding, abs=1e-4)
    assert found[1] == pytest.approx(prediction, abs=1e-4)
