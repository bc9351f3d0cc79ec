"""TRIPLEX: the convolution without a grid, the streams, sections with a halo, the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import create, fitted, predict
from prediction_samples import cohort, hexagon

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.methods._place_code import PlaceCode, cells_around
from spared_benchmark.prediction.predictor import masked_mse
from spared_benchmark.prediction.sampling import batches, draw, gather
from spared_benchmark.training.seeds import torch_generator
from spared_benchmark.training.sweep import parameter_counts

GOLDEN = [
    [2.37964, 4.54398, 4.27764, 6.43995],
    [2.80082, 4.81972, 4.01261, 6.83345],
]


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def with_tiles(slide, tiles=9, seed=0):
    """The slide with features of tiles around each spot beside those of spots."""
    rng = np.random.default_rng(seed)
    colours = slide.features["colours"]
    values = colours[:, None] + rng.normal(0, 0.05, (slide.n_spots, tiles, 3))
    return replace(slide, features={**slide.features, "tiles": values.astype(np.float32)})


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
def test_the_code_of_place_is_a_convolution_over_the_grid(lattice):
    array = hexagon(5, 6) if lattice == "hexagonal" else np.argwhere(np.ones((5, 6), dtype=bool))
    cell = np.column_stack([array[:, 0], array[:, 1] // (2 if lattice == "hexagonal" else 1)])
    kept = np.random.default_rng(0).permutation(30)[:23]  # holes, and no order
    array, cell = array[kept] + 4, cell[kept]
    code = PlaceCode(3)
    tokens = torch.randn(23, 3, generator=torch.Generator().manual_seed(0))
    grid = torch.zeros(3, 5, 6)
    grid[:, cell[:, 0], cell[:, 1]] = tokens.T
    weight = code.weight.T.reshape(3, 1, 3, 3)
    dense = torch.nn.functional.conv2d(grid[None], weight, code.bias, padding=1, groups=3)[0]
    expected = tokens + dense[:, cell[:, 0], cell[:, 1]].T
    found = code(tokens, torch.from_numpy(cells_around(array)))
    torch.testing.assert_close(found, expected)


def test_parameters():
    def built(size):
        train = [
            replace(
                slide,
                features={
                    "spots": np.zeros((slide.n_spots, 1024), np.float32),
                    "tiles": np.zeros((slide.n_spots, 25, 1024), np.float32),
                },
            )
            for slide in cohort(genes=128).of("train")
        ]
        settings = {"weights": "none", "features": ("spots", "tiles")}
        predictor = predictors.create("triplex", size=size, **settings)
        with torch.device("meta"):
            predictor.prepare(train)
        return parameter_counts(predictor.module)[0]

    assert built("paper") == pytest.approx(29e6, rel=0.03)  # "about 29 M"
    assert built("small") <= 1_000_000


def test_sections_with_a_wide_halo_predict_what_the_whole_slide_does(slides):
    predictor = fitted("triplex", slides.of("train"))
    val = slides.of("val")[0].blind()
    expected = predict(predictor, [val])
    predictor.settings |= {"tiles": 2, "halo": 20}
    resident = predictor.resident([val])
    sections = list(batches(resident, 512))
    assert len(sections) > 1
    assert all(len(one.spot) == val.n_spots for one in sections)  # all are seen
    assert sum(int(one.query.sum()) for one in sections) == val.n_spots  # each is predicted once
    np.testing.assert_allclose(predict(predictor, [val]), expected, rtol=1e-4, atol=1e-5)
    predictor.settings |= {"halo": 0}
    assert not np.allclose(predict(predictor, [val]), expected, atol=1e-3)


@pytest.mark.parametrize("stream", ["target", "neighbours", "slide"])
def test_what_each_stream_sees(slides, stream):
    train = [with_tiles(slide) for slide in slides.of("train")]
    predictor = fitted("triplex", train, feature="", features=("colours", "tiles"))
    val = with_tiles(slides.of("val")[0].blind(), seed=1)
    changed = {name: values.copy() for name, values in val.features.items()}
    patches, other = val.patches, 11
    if stream == "target":
        array = patches.array.copy()
        array[patches.rows[other]] = 255 - array[patches.rows[other]]
        patches = replace(patches, array=array)
    else:
        changed["tiles" if stream == "neighbours" else "colours"][other] += 2
    before = predict(predictor, [val])
    after = predict(predictor, [replace(val, patches=patches, features=changed)])
    moved = np.abs(after - before).max(axis=1) > 1e-4
    assert moved[other]
    # The slide's token of every spot attends to that of every other.
    assert moved.all() if stream == "slide" else moved.sum() == 1


def test_places_of_tiles_matter(slides):
    train = [with_tiles(slide) for slide in slides.of("train")]
    predictor = fitted("triplex", train, feature="", features=("colours", "tiles"))
    tokens = predictor.module.neighbours
    tiles = torch.from_numpy(train[0].features["tiles"])
    assert tokens.steps.shape == (9, 9)
    assert len(tokens.steps.unique()) == 25  # steps of -2 to 2 in both directions
    assert (tokens.steps.diagonal() == tokens.steps[0, 0]).all()
    turned = tiles.flip(1)
    with torch.no_grad():
        mean = tokens(tiles).mean(dim=1)
        assert not torch.allclose(tokens(tiles.roll(1, 1)).mean(dim=1), mean, atol=1e-4)
        for bias in tokens.bias:
            bias.zero_()
        torch.testing.assert_close(tokens(turned).mean(dim=1), tokens(tiles).mean(dim=1))


def test_the_loss_has_all_heads_and_gradients_reach_both_sides(slides):
    train = slides.of("train")
    predictor = fitted("triplex", train, steps=2)
    (batch,) = draw(predictor.resident(train), 0, torch_generator(0))
    y, weight = batch.labels()
    terms = predictor.loss(batch)
    fusion, streams = predictor.outputs(batch)
    expected = masked_mse(fusion, y, weight)
    torch.testing.assert_close(terms["fusion_mse"], expected.detach())
    for stream in streams:
        expected = expected + 0.7 * masked_mse(stream, y, weight)
        expected = expected + 0.3 * masked_mse(stream, fusion, weight)
    torch.testing.assert_close(terms["loss"], expected)
    apart = masked_mse(streams[0], fusion, weight)
    apart.backward()
    assert predictor.head.weight.grad.abs().max() > 0
    assert predictor.module.heads[0].weight.grad.abs().max() > 0


def test_faithful_is_cut_off_at_zero(slides):
    for faithful in (False, True):
        predictor = fitted("triplex", slides.of("train"), steps=0, faithful=faithful)
        with torch.no_grad():
            predictor.head.bias.fill_(-9.0)
        predicted = predict(predictor, [slides.of("val")[0].blind()])
        assert (predicted.min() >= 0) == faithful


def test_slides_of_any_extent_follow_one_another(slides):
    predictor = fitted("triplex", slides.of("train"), steps=3)
    wide = cohort(rows=3, columns=9).of("val")[0].blind()
    alone = predict(predictor, [wide])
    both = predict(predictor, [slides.of("val")[0].blind(), wide])
    np.testing.assert_allclose(both[20:], alone, rtol=1e-4, atol=1e-5)


def test_the_image_network_can_be_frozen(slides):
    predictor = fitted("triplex", slides.of("train"), steps=0, trainable=False)
    encoder = predictor.module.target.encoder
    assert parameter_counts(encoder)[0] == 0
    assert parameter_counts(predictor.module)[0] > 0


def test_tiles_that_form_no_square_are_refused(slides):
    train = [with_tiles(slide, tiles=6) for slide in slides.of("train")]
    with pytest.raises(ConfigurationError, match="'tiles' gives 6 tiles; no square"):
        create("triplex", feature="", features=("colours", "tiles")).prepare(train)


def test_golden(slides):
    predictor = fitted("triplex", slides.of("train"), steps=0)
    batch = gather(predictor.resident([slides.of("val")[0].blind()]), torch.arange(20))
    with torch.no_grad():
        predicted = predictor.predict(batch)[:2]
    np.testing.assert_allclose(predicted, GOLDEN, atol=1e-4)
