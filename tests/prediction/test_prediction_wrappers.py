"""Deviations are an initialisation of the bias; eight views make a prediction symmetric."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from prediction_samples import cohort

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.images import dihedral
from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.prediction.sampling import draw, gather
from spared_benchmark.training.seeds import isolated, torch_generator


def prepared(name, train):
    predictor = predictors.create(name, size="tiny")
    with isolated(0, "network"):
        predictor.prepare(train)
    return predictor


def losses(predictor, train, steps=20, rate=1e-3):
    resident = predictor.resident(train)
    optimiser = torch.optim.Adam(predictor.module.parameters(), lr=rate)
    generator = torch_generator(0)
    curve = []
    for _ in range(steps):
        loss = predictor.loss(next(draw(resident, 16, generator)))["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        curve.append(loss.item())
    return curve


@pytest.fixture(scope="module", params=["raw", "measured"])
def train(request):
    return cohort(target=request.param).of("train")


def test_train_mean_counts_what_the_loss_counts(train):
    y = np.concatenate([slide.y for slide in train])
    weight = np.concatenate([slide.weight for slide in train])
    expected = [y[weight[:, gene], gene].mean() for gene in range(y.shape[1])]
    np.testing.assert_allclose(train_mean(train), expected, rtol=1e-5)


def test_delta_with_a_zero_head_is_the_train_mean(train):
    predictor = prepared("vit_b_delta", train)
    with torch.no_grad():
        predictor.within.head.weight.zero_()
        predictor.within.head.bias.zero_()
        resident = predictor.resident(train)
        prediction = predictor.predict(gather(resident, torch.arange(10)))
    np.testing.assert_array_equal(prediction, np.tile(train_mean(train), (10, 1)))


def test_delta_and_its_control_have_the_same_losses(train):
    delta = losses(prepared("vit_b_delta", train), train)
    control = losses(prepared("vit_b_bias", train), train)
    plain = losses(prepared("vit_b", train), train)
    np.testing.assert_allclose(delta, control, rtol=1e-4)
    assert plain[0] > 2 * delta[0]  # without the mean the start is far away
    assert delta[-1] < delta[0]


def test_the_bias_takes_the_mean_once(train):
    plain, control = prepared("vit_b", train), prepared("vit_b_bias", train)
    raised = (control.within.head.bias - plain.head.bias).detach().numpy()
    np.testing.assert_allclose(raised, train_mean(train), rtol=1e-5)
    assert torch.equal(control.within.head.weight, plain.head.weight)


def test_delta_has_no_loss_on_blind_slides(train):
    predictor = prepared("vit_b_delta", train)
    resident = predictor.resident([slide.blind() for slide in train])
    with pytest.raises(ContractError, match="blind slides has no target"):
        predictor.loss(gather(resident, torch.arange(4)))


def views_of(predictor, slide):
    """Predictions for each of the eight symmetric views of a slide's patches."""
    predictor.module.eval()
    resident = predictor.resident([slide])
    with torch.no_grad():
        batch = gather(resident, torch.arange(slide.n_spots))
        turned = [dihedral(batch.pixels, torch.full((1,), view)) for view in range(8)]
        return [predictor.predict(replace(batch, pixels=pixels)) for pixels in turned], turned


def test_the_mean_of_eight_views_does_not_change_when_the_patch_is_turned(train):
    predictor = prepared("stnet", train)
    torch.nn.init.normal_(predictor.within.head.weight)
    predictions, turned = views_of(predictor, train[0].blind())
    assert all(not torch.equal(turned[0], pixels) for pixels in turned[1:])
    for prediction in predictions[1:]:
        torch.testing.assert_close(prediction, predictions[0], rtol=0, atol=1e-5)
    single, _ = views_of(predictor.within, train[0].blind())
    assert (single[1] - single[0]).abs().max() > 1e-3
    torch.testing.assert_close(sum(single) / 8, predictions[0], rtol=0, atol=1e-5)


def test_st_net_starts_at_the_train_mean_and_the_published_fork_does_not(train):
    blind = train[0].blind()
    first, _ = views_of(prepared("stnet", train), blind)
    np.testing.assert_allclose(first[0], np.tile(train_mean(train), (20, 1)), rtol=1e-5)
    faithful = predictors.create("stnet", size="tiny", faithful=True)
    faithful.prepare(train)
    assert not torch.allclose(views_of(faithful, blind)[0][0], first[0], atol=0.5)


def test_faithful_patch_models_turn_a_batch_as_one(train):
    predictor = predictors.create("vit_b", size="tiny", faithful=True)
    resident = predictor.resident(train)
    for seed in range(4):
        (batch,) = draw(resident, 12, torch.Generator().manual_seed(seed))
        plain = gather(resident, batch.spot)
        views = [dihedral(plain.pixels, torch.full((1,), view)) for view in range(8)]
        assert any(torch.equal(batch.pixels, view) for view in views)


def test_wrappers_tell_of_the_inner_loss_and_embedding(train, monkeypatch):
    monkeypatch.setattr(type(predictors.create("vit_b", size="tiny")), "loss_is_a_mean", False)
    predictor = prepared("vit_b_delta", train)
    assert not predictor.loss_is_a_mean
    batch = gather(predictor.resident(train), torch.arange(5))
    assert predictor.embedding(batch).shape == (5, predictor.head.in_features)
