"""STFlow: its prior, its frames, and what turning a slide must not change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import fitted, predict
from prediction_samples import cohort, hexagon

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.methods._frames import surroundings
from spared_benchmark.prediction.methods._slide_rows import in_batch
from spared_benchmark.prediction.methods.stflow import noise_at
from spared_benchmark.prediction.sampling import draw, gather
from spared_benchmark.training.seeds import torch_generator
from spared_benchmark.training.sweep import parameter_counts

GOLDEN = [
    [2.39806, 2.84350, 5.58782, 6.63598],
    [2.62389, 2.79085, 5.57774, 6.58144],
]


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def places(rows, columns):
    """Places of a hexagonal grid, µm."""
    array = hexagon(rows, columns)
    return np.column_stack([array[:, 1] * 50, array[:, 0] * 50 * 3**0.5]).astype(np.float32)


def turned(xy, degrees, mirrored=False):
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((xy @ matrix.T + 700) * (1, -1 if mirrored else 1)).astype(np.float32)


def test_the_spot_itself_and_all_that_lie_equally_near():
    near = surroundings(places(9, 9), 8)
    middle = 4 * 9 + 4
    rows = near.rows[middle][near.rows[middle] >= 0]
    # Six neighbours, and all six of the next ring, of which two were asked for.
    assert (rows[0], len(rows)) == (middle, 13)
    distance = np.linalg.norm(near.offset[middle][near.rows[middle] >= 0], axis=1)
    np.testing.assert_allclose(distance, [0] + 6 * [1] + 6 * [3**0.5], rtol=1e-4)
    assert (near.rows[0] >= 0).sum() >= 9  # a corner finds as many, further away
    alone = surroundings(np.zeros((1, 2)), 8)
    assert (alone.rows[0, 0], alone.rows[0, 1:].max(), alone.offset.max()) == (0, -1, 0)


@pytest.mark.parametrize("degrees", [0, 17, 90, 143])
@pytest.mark.parametrize("mirrored", [False, True])
def test_frames_turn_with_the_slide(degrees, mirrored):
    xy = places(6, 9)
    before, after = surroundings(xy, 6), surroundings(turned(xy, degrees, mirrored), 6)
    for spot in range(len(xy)):
        offsets = []
        for one in (before, after):
            kept = one.rows[spot] >= 0
            order = np.argsort(one.rows[spot][kept])
            offsets.append(one.offset[spot][kept][order])
        signs = np.sign((offsets[0] * offsets[1]).sum(axis=0))  # the axes have no sign
        np.testing.assert_allclose(offsets[0], offsets[1] * signs, atol=1e-3)


def test_a_square_slide_has_frames_that_rounding_does_not_choose():
    row, column = np.divmod(np.arange(49), 7)
    xy = np.column_stack([column, row]) * 100.0
    near = surroundings(xy + np.random.default_rng(0).normal(0, 1e-4, xy.shape), 4)
    middle = near.offset[24][near.rows[24] >= 0]
    np.testing.assert_allclose(np.sort(np.abs(middle), axis=1)[1:], 4 * [[0, 1]], atol=1e-4)


def test_rows_of_a_slide_as_rows_of_a_batch():
    table = torch.tensor([[7, 9, -1], [9, 3, 8], [3, 7, 2]])
    found = in_batch(table, torch.tensor([7, 9, 3]))
    assert found.tolist() == [[0, 1, -1], [1, 2, -1], [2, 0, -1]]


def test_noise_has_the_prior_and_belongs_to_its_place():
    array = hexagon(40, 40)
    noise = noise_at(array, (2, 64))
    counts = np.rint(np.expm1(noise.astype(np.float64)))
    p = 1 / (1 + np.exp(-0.1))
    assert abs((counts == 0).mean() - (0.5 + 0.5 * (1 - p))) < 0.005
    assert abs(counts.mean() - 0.5 * p / (1 - p)) < 0.01  # e^0.1, halved
    assert abs((counts >= 3).mean() - 0.5 * p**3) < 0.005
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(noise_at(array[[5, 900]], (2, 64)), noise[[5, 900]])


@pytest.mark.parametrize("faithful", [False, True])
def test_turning_or_mirroring_the_slide_changes_nothing(slides, faithful):
    predictor = fitted("stflow", slides.of("train"), faithful=faithful)
    val = slides.of("val")[0].blind()
    expected = predict(predictor, [val])
    for degrees, mirrored in ((90, False), (33, False), (0, True), (121, True)):
        other = replace(val, xy_um=turned(val.xy_um, degrees, mirrored))
        np.testing.assert_allclose(predict(predictor, [other]), expected, atol=2e-3)
    stretched = replace(val, xy_um=val.xy_um * np.float32([1, 3]))
    assert not np.allclose(predict(predictor, [stretched]), expected, atol=1e-2)


def test_attention_is_over_the_nearest_by_hand(slides):
    predictor = fitted("stflow", slides.of("train"))
    layer, near = predictor.module.layers[0], torch.tensor([[0, 2, -1], [1, -1, -1], [2, 1, 0]])
    generator = torch.Generator().manual_seed(0)
    tokens, mixture, edges = (
        torch.randn(shape, generator=generator) for shape in ((3, 32), (3, 4), (3, 3, 32))
    )
    with torch.no_grad():
        found = layer(tokens, mixture, near, edges)
        query, key, value = layer.query_key_value(layer.before(tokens)).chunk(3, dim=1)
        for spot in range(3):
            logits, values = [], []
            for place, other in enumerate(near[spot].tolist()):
                if other >= 0:
                    told = layer.by_query(query[spot]) + layer.by_key(key[other])
                    told += layer.by_expression(mixture[other] - mixture[spot])
                    told += layer.by_place(edges[spot, place])
                    logits.append(layer.logits(torch.nn.functional.silu(told)))
                    values.append(value[other].reshape(2, 16))
            share = torch.stack(logits).softmax(dim=0)
            seen = (share[:, :, None] * torch.stack(values)).sum(dim=0).flatten()
            expected = tokens[spot] + layer.out(seen)
            expected += layer.perceptron(layer.between(expected))
            torch.testing.assert_close(found[spot], expected)


def test_a_region_is_seen_alone_and_learnt_from(slides):
    predictor = fitted("stflow", slides.of("train"), steps=30, region=9)
    resident = predictor.resident(slides.of("train"))
    (batch,) = draw(resident, 4, torch_generator(0))
    assert len(batch.spot) == 9
    near = in_batch(batch.attached["near"], batch.attached["row"])
    assert near.max() < 9
    assert (near[:, 0] == torch.arange(9)).all()
    assert torch.isfinite(predictor.loss(batch)["loss"])


def test_the_last_step_goes_all_the_way_and_samples_are_averaged(slides):
    predictor = fitted("stflow", slides.of("train"), samples=2, steps=1)
    predictor.settings["steps"] = 1
    val = predictor.resident([slides.of("val")[0].blind()])
    batch = gather(val, torch.arange(20))
    with torch.no_grad():
        told = [
            predictor._told(batch, batch.attached["noise"][:, one], torch.tensor(0.0))
            for one in (0, 1)
        ]
        torch.testing.assert_close(predictor.predict(batch), (told[0] + told[1]) / 2)
    assert not torch.allclose(*told)


def test_faithful_is_cut_off_at_zero(slides):
    for faithful in (False, True):
        predictor = fitted("stflow", slides.of("train"), steps=0, faithful=faithful)
        with torch.no_grad():
            for head in (*predictor.module.early, predictor.head):
                head.bias.fill_(-4.0)
        predicted = predict(predictor, [slides.of("val")[0].blind()])
        assert (predicted.min() >= 0) == faithful


@pytest.mark.parametrize(("size", "low", "high"), [("paper", 1e6, 2e6), ("small", 1e5, 1e6)])
def test_parameters(size, low, high):
    train = [
        replace(slide, features={"wide": np.zeros((slide.n_spots, 1024), np.float32)})
        for slide in cohort(genes=128).of("train")
    ]
    predictor = predictors.create("stflow", size=size, feature="wide")
    with torch.device("meta"):
        predictor.prepare(train)
    assert low <= parameter_counts(predictor.module)[0] <= high


def test_golden(slides):
    predictor = fitted("stflow", slides.of("train"), steps=0)
    predicted = predict(predictor, [slides.of("val")[0].blind()])[:2]
    np.testing.assert_allclose(predicted, GOLDEN, atol=1e-4)
