"""HisToGene: its size, its attention, and what it knows of places."""

import logging
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

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.methods._slide_transformer import Shape, SlideTransformer, mask_of
from spared_benchmark.prediction.predictor import train_mean
from spared_benchmark.prediction.sampling import batches


@pytest.fixture(scope="module")
def data():
    return cohort()


def with_places(predictor):
    """The predictor with tables as training leaves them."""
    for table in (predictor.module.place.row, predictor.module.place.column):
        torch.nn.init.normal_(table.weight)
    return predictor


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 221_711_488),  # SpaRED: 221.7 M
        ({"image_size": 112, "positions": 64}, 105_974_912),  # 106.0 M
        ({"image_size": 112, "positions": 64, "depth": 4}, 72_387_712),  # 72.4 M
    ],
)
def test_parameters_are_the_published_ones(settings, count):
    assert paper_parameters("histogene", **settings) == count


def test_small_is_small():
    parameters, operations = small_cost("histogene")
    assert parameters <= 1_000_000
    assert 0 < operations <= 0.1e9


@pytest.mark.parametrize(
    ("faithful", "expected"),
    [
        (False, [[3.35154, 3.16218, 3.08330, 5.73022], [2.16309, 3.54403, 3.35318, 5.72003]]),
        (True, [[0.50216, 0.00519, -0.91416, -0.39834], [-0.24587, 0.04324, -0.89827, -0.53317]]),
    ],
)
def test_golden_tensor(faithful, expected):
    found = first_prediction("histogene", faithful=faithful)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def naive(attention, tokens):
    """Attention as it is written: scores of all pairs, their softmax, a mean."""
    parts = attention.split(attention.norm(tokens)).unflatten(1, (3, attention.heads, -1))
    query, key, value = parts.permute(1, 2, 0, 3)
    scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    seen = scores.softmax(dim=-1) @ value
    return attention.out(seen.transpose(0, 1).flatten(1))


def test_fused_and_naive_attention_agree():
    torch.manual_seed(0)
    transformer = SlideTransformer(Shape(32, 1, 4, 16, hidden=32, dropout=0.1)).eval()
    tokens = torch.randn(50, 32)
    attention = transformer.layers[0].attention
    fused, plain = attention(tokens, None), naive(attention, tokens)
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-5)


def test_spots_of_two_blocks_do_not_see_one_another():
    torch.manual_seed(0)
    transformer = SlideTransformer(Shape(16, 2, 2, 8, hidden=16, dropout=0)).eval()
    tokens, block = torch.randn(9, 16), torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 0])
    together = transformer(tokens, mask_of(block))
    for number in (0, 1):
        own = block == number
        assert mask_of(block[own]) is None
        torch.testing.assert_close(together[own], transformer(tokens[own]), rtol=1e-4, atol=1e-5)


def test_without_places_patches_alone_may_be_permuted(data):
    predictor = prepared("histogene", data)  # its tables start at 0
    batch = batch_of(predictor, data.of("val")[0].blind())
    order = torch.randperm(len(batch.spot))
    moved = replace(batch, pixels=batch.pixels[order])
    with torch.no_grad():
        expected, found = predictor.predict(batch)[order], predictor.predict(moved)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        with_places(predictor)
        assert (predictor.predict(moved) - predictor.predict(batch)[order]).abs().max() > 0.01


def test_a_slide_moved_along_the_array_is_another_slide(data):
    predictor = with_places(prepared("histogene", data))
    batch = batch_of(predictor, data.of("val")[0].blind())
    moved = replace(batch, array_rc=batch.array_rc + 3)
    with torch.no_grad():
        assert (predictor.predict(moved) - predictor.predict(batch)).abs().max() > 0.01


def test_places_of_no_train_spot_add_nothing_unless_faithful(data):
    honest, faithful = (prepared("histogene", data, faithful=f) for f in (False, True))
    away = torch.tensor([[100, 100]])
    assert not honest.module.place(away).any()
    assert faithful.module.place(away).abs().max() > 0.1


def test_places_that_are_not_known_are_told_of(data, caplog):
    predictor = prepared("histogene", data)
    slide = data.of("val")[0].blind()
    with caplog.at_level(logging.INFO):
        predictor.attach(slide)
        assert not caplog.records
        predictor.attach(replace(slide, array_rc=slide.array_rc + np.array([2, 0])))
    assert "50.0 % of the spots of c lie in rows or columns of no train spot" in caplog.text
    with pytest.raises(ConfigurationError, match=r"slide 'c' go from 100 to 109.*'positions'"):
        create("histogene", positions=105).attach(replace(slide, array_rc=slide.array_rc + 100))


def test_checkpoints_change_nothing():
    assert_checkpoints_change_nothing("histogene", dropout=0.3)


def test_tiles_halo_and_region_are_passed_on():
    sampling = create("histogene", tiles=3, halo=2, region=64).sampling
    assert (sampling.kind, sampling.tiles, sampling.halo, sampling.region) == ("slide", 3, 2, 64)


def test_spots_of_the_halo_are_seen_and_not_predicted(data):
    predictor = prepared("histogene", data, tiles=2, halo=1)
    slide = data.of("val")[0].blind()
    cut = list(batches(predictor.resident([slide]), 512))
    with torch.no_grad():
        rows = [len(predictor.predict(batch)) for batch in cut]
    assert sum(rows) == slide.n_spots < sum(len(batch.spot) for batch in cut)


def test_faithful_takes_raw_pixels_and_starts_anywhere(data):
    honest, faithful = (prepared("histogene", data, faithful=f) for f in (False, True))
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(faithful.scaled(pixels), pixels.float())
    assert torch.equal(honest.scaled(pixels), normalised(pixels))
    assert (honest.sampling.augment, faithful.sampling.augment) == ("each", "none")
    mean = torch.from_numpy(train_mean(data.of("train")))
    assert (honest.head.bias - mean).abs().max() < 0.5
    assert faithful.head.bias.abs().max() < 0.5
