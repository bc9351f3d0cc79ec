"""Hist2ST: its size, its graph, the likelihood of counts, and the altered copies."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import create
from prediction_samples import cohort
from slide_samples import (
    assert_checkpoints_change_nothing,
    batch_of,
    first_prediction,
    paper_parameters,
    prepared,
    small_cost,
)
from torch.distributions import NegativeBinomial

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.methods import _slide_predictor
from spared_benchmark.prediction.methods._zinb import ZinbHead, size_factors, zinb_loss
from spared_benchmark.training.seeds import isolated


@pytest.fixture(scope="module")
def data():
    return cohort()


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"positions": 64}, 73_096_133),  # published: 73.1 M
        ({}, 73_096_133 + 2 * 64 * 1024),  # with places for a Visium slide
        ({"image_size": 224, "head_width": 128}, 892_660_677),  # SpaRED: 892.7 M
    ],
)
def test_parameters_are_the_published_ones(settings, count):
    assert paper_parameters("hist2st", **settings) == count


def test_small_is_small():
    parameters, operations = small_cost("hist2st")
    assert parameters <= 1_000_000
    assert 0 < operations <= 0.1e9


@pytest.mark.parametrize(
    ("faithful", "expected"),
    [
        (False, [[2.02694, 3.72570, 3.21964, 4.24128], [1.99207, 3.58407, 3.06868, 4.18683]]),
        (True, [[-0.15714, 0.62657, -0.52378, -1.15367], [-0.16730, 0.64138, -0.48722, -1.13038]]),
    ],
)
def test_golden_tensor(faithful, expected):
    found = first_prediction("hist2st", faithful=faithful)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_the_graph_is_the_lattice_with_the_spot_itself(data):
    slide = data.of("val")[0].blind()
    around = torch.from_numpy(slide.neighbours).long()
    itself = torch.arange(slide.n_spots)
    for settings, expected in (
        ({}, torch.cat([itself[:, None], around], dim=1)),
        ({"self_loop": False}, around),
    ):
        predictor = create("hist2st", **settings)
        assert torch.equal(predictor.neighbours(batch_of(predictor, slide)), expected)


def test_the_published_graph_drops_the_neighbours_of_the_same_row(data):
    slide = cohort(rows=5, columns=5).of("val")[0].blind()
    predictor = create("hist2st", faithful=True)
    found = predictor.neighbours(batch_of(predictor, slide))
    centre = 12
    steps = slide.array_rc[found[centre]] - slide.array_rc[centre]
    assert np.abs(steps).tolist() == [[1, 1]] * 4
    assert (slide.neighbours[centre] >= 0).sum() == 6


@pytest.mark.parametrize(
    ("settings", "alike"),
    [
        ({"self_loop": False, "own_token": False}, True),
        ({"self_loop": True, "own_token": False}, False),
        ({"self_loop": False, "own_token": True}, False),
    ],
)
def test_the_published_head_sees_a_spot_by_way_of_its_neighbours_alone(data, settings, alike):
    predictor = prepared("hist2st", data, **settings)
    slide = data.of("val")[0].blind()
    lonely = replace(slide, neighbours=np.full_like(slide.neighbours, -1))
    with torch.no_grad():
        predicted = predictor.predict(batch_of(predictor, lonely))
    assert bool((predicted.std(dim=0) < 1e-6).all()) is alike


def grid():
    """Every combination of some counts, means, dispersions and log odds."""
    counts = torch.tensor([0.0, 1, 2, 7, 200])
    mean = torch.tensor([1e-3, 0.7, 30])
    dispersion = torch.tensor([1e-2, 1.5, 100])
    lost = torch.tensor([-3.0, 0, 4])
    return torch.cartesian_prod(counts, mean, dispersion, lost).T[:, :, None]


def negative_binomial(counts, mean, dispersion):
    return NegativeBinomial(
        dispersion.double(), logits=(mean / dispersion).double().log()
    ).log_prob(counts)


def test_the_loss_of_counts_is_that_of_the_mixture():
    counts, mean, dispersion, lost = grid()
    share = lost.double().sigmoid()
    kept = (1 - share).log() + negative_binomial(counts, mean, dispersion)
    expected = -torch.where(counts == 0, (share + kept.exp()).log(), kept)
    for row in range(len(counts)):
        found = zinb_loss(counts[row], mean[row], dispersion[row], lost[row])
        assert float(found) == pytest.approx(float(expected[row]), rel=1e-3, abs=1e-4)


def test_without_lost_counts_it_is_negative_binomial():
    counts, mean, dispersion, _ = grid()
    never = torch.full_like(mean, -40)
    expected = -negative_binomial(counts, mean, dispersion).mean()
    found = zinb_loss(counts, mean, dispersion, never)
    assert float(found) == pytest.approx(float(expected), rel=1e-3)


def test_the_loss_of_counts_is_finite_where_it_may_be_extreme():
    head = ZinbHead(2, 3)
    features = torch.tensor([[-1e3, 1e3], [1e3, 1e3], [0.0, 0.0]], requires_grad=True)
    counts = torch.tensor([[0.0, 0, 0], [0, 5, 1e5], [0, 1, 2]])
    factor = size_factors(counts)
    assert factor[0] == 0  # of a spot without a molecule
    mean, dispersion, lost = head(features)
    loss = zinb_loss(counts, factor * mean, dispersion, lost)
    loss.backward()
    assert loss.isfinite()
    assert features.grad.isfinite().all()


def test_size_factors_are_totals_over_the_median_total():
    counts = torch.tensor([[1, 1], [4, 0], [5, 3]])
    assert size_factors(counts).flatten().tolist() == [0.5, 1, 2]
    assert size_factors(torch.zeros(3, 2)).flatten().tolist() == [0, 0, 0]


def loss_of(predictor, data):
    with isolated(0, "altered copies"):
        return predictor.loss(batch_of(predictor, data.of("train")[0]))


def test_identical_copies_are_no_distance_away(data, monkeypatch):
    predictor = prepared("hist2st", data, copies=3)
    assert loss_of(predictor, data)["copies"] > 1e-6
    monkeypatch.setattr(_slide_predictor, "altered", lambda pixels: pixels)
    assert loss_of(predictor, data)["copies"] < 1e-9


def test_the_loss_is_the_sum_of_its_terms(data):
    predictor = prepared("hist2st", data)
    terms = loss_of(predictor, data)
    total = terms["mse"] + 0.25 * terms["counts"] + 0.5 * terms["copies"]
    torch.testing.assert_close(terms["loss"], total)
    assert set(loss_of(prepared("hist2st", data, copies=0), data)) == {"loss", "mse", "counts"}


def test_blind_slides_have_no_loss(data):
    predictor = prepared("hist2st", data)
    with pytest.raises(ContractError, match="only train slides enter a loss"):
        predictor.loss(batch_of(predictor, data.of("val")[0].blind()))


def test_trust_weighs_copies_and_gradients_flow_through_both_sides(data):
    predictor = prepared("hist2st", data, copies=2)
    loss_of(predictor, data)["copies"].backward()
    for weight in (predictor.module.trust[0].weight, predictor.head.weight):
        assert weight.grad.abs().sum() > 0


def test_patches_are_turned_together():
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    turned = _slide_predictor.turned
    assert torch.equal(turned(pixels, 0.0), pixels)
    assert torch.equal(turned(pixels, 90.0), torch.rot90(pixels, -1, (2, 3))) or torch.equal(
        turned(pixels, 90.0), torch.rot90(pixels, 1, (2, 3))
    )
    assert (turned(torch.full_like(pixels, 255), 45.0)[:, :, 0, 0] == 0).all()  # a black corner


def test_altered_patches_are_mirrored_and_grey_as_often_as_published(monkeypatch):
    torch.manual_seed(0)
    angles = []

    def turned(pixels, degrees):
        angles.append(degrees)
        return pixels

    monkeypatch.setattr(_slide_predictor, "turned", turned)
    pixels = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    copies = [_slide_predictor.altered(pixels) for _ in range(2000)]
    assert np.quantile(angles, (0, 0.5, 1)).round(-1).tolist() == [-90, 0, 90]
    grey = [bool((copy == copy[:, :1]).all()) for copy in copies]
    same = [torch.equal(copy, pixels) for copy in copies]
    assert np.mean(grey) == pytest.approx(0.1, abs=0.03)
    assert np.mean(same) == pytest.approx(0.9 * 0.8, abs=0.04)


def test_checkpoints_change_nothing():
    assert_checkpoints_change_nothing("hist2st", dropout=0.3, copies=2)


def test_with_checkpoints_no_altered_pass_is_kept(data):
    for checkpoint, passes in ((False, 1 + 3), (True, 1 + 2 * 3)):
        predictor, seen = prepared("hist2st", data, copies=3, checkpoint=checkpoint), []
        predictor.module.stem.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        loss_of(predictor, data)["loss"].backward()
        assert len(seen) == passes


def test_narrow_products_give_nearly_the_same_loss(data):
    predictor = prepared("hist2st", data, copies=0)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = loss_of(predictor, data)["loss"]
    torch.testing.assert_close(narrow, loss_of(predictor, data)["loss"], rtol=0.02, atol=0.02)
