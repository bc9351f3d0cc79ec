"""DeepSpot: sets have no order, what is pooled is what should be, and targets are standardised."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import create, fitted, predict
from prediction_samples import cohort

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.sampling import gather
from spared_benchmark.training.sweep import parameter_counts

GOLDEN = [
    [2.77939, 4.33641, 4.90906, 6.18111],
    [2.83292, 4.19124, 4.93954, 6.16406],
]


def with_tiles(slide, tiles=4, seed=0):
    """The slide with features of sub-tiles beside those of spots."""
    rng = np.random.default_rng(seed)
    colours = slide.features["colours"]
    values = colours[:, None] + rng.normal(0, 0.05, (slide.n_spots, tiles, 3))
    return replace(slide, features={**slide.features, "tiles": values.astype(np.float32)})


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


@pytest.fixture(scope="module")
def tiled(slides):
    """A predictor of spots and tiles, and a val slide."""
    train = [with_tiles(slide) for slide in slides.of("train")]
    predictor = fitted("deepspot", train, feature="", features=("colours", "tiles"))
    return predictor, with_tiles(slides.of("val")[0].blind(), seed=1)


def built(size, inputs, genes=128):
    train = cohort(genes=genes).of("train")
    wide = [
        replace(slide, features={"wide": np.zeros((slide.n_spots, inputs), np.float32)})
        for slide in train
    ]
    predictor = predictors.create("deepspot", size=size, feature="wide")
    predictor.prepare(wide)
    return predictor


def test_parameters_of_the_paper():
    # 10 layers of 1536 to 512 and 10 of 3 x 512 to 128, with biases.
    with torch.device("meta"):
        assert parameter_counts(built("paper", 1536).build(128)) == (9_836_800, 9_836_800)
    assert parameter_counts(built("small", 1536).module)[0] <= 1_000_000


def test_order_of_tiles_and_of_neighbours_changes_nothing(tiled):
    predictor, val = tiled
    expected = predict(predictor, [val])
    turned = replace(val, features={**val.features, "tiles": val.features["tiles"][:, ::-1].copy()})
    np.testing.assert_allclose(predict(predictor, [turned]), expected, atol=1e-5)
    turned = replace(val, neighbours=val.neighbours[:, ::-1].copy())
    np.testing.assert_array_equal(predict(predictor, [turned]), expected)


@pytest.mark.parametrize("part", ["spot", "tiles", "neighbour"])
def test_spot_tiles_and_neighbours_are_seen_and_nothing_else(tiled, part):
    predictor, val = tiled
    spot = 7
    changed = {name: values.copy() for name, values in val.features.items()}
    if part == "tiles":
        changed["tiles"][spot] += 3
    else:
        changed["colours"][spot if part == "spot" else val.neighbours[spot].max()] += 3
    before = predict(predictor, [val])
    after = predict(predictor, [replace(val, features=changed)])
    assert not np.allclose(after[spot], before[spot], atol=1e-3)
    source = val.neighbours[spot].max() if part == "neighbour" else spot
    reached = {spot} if part == "tiles" else {source, *val.neighbours[source].tolist()}
    others = [row for row in range(val.n_spots) if row not in reached]
    np.testing.assert_allclose(after[others], before[others], atol=1e-5)


def test_pooling_by_hand(tiled):
    predictor, val = tiled
    module = predictor.module

    def phi(features):
        layers = zip(module.phi.weight, module.phi.bias.T, strict=True)
        each = [torch.relu(features @ weight + bias) for weight, bias in layers]
        return torch.stack(each).sort(dim=0).values[1]  # the median of three

    spots, tiles = (torch.from_numpy(val.features[name]).float() for name in ("colours", "tiles"))
    around = [row for row in val.neighbours[7] if row >= 0]
    parts = [phi(spots[7]), phi(tiles[7]).sum(0), phi(spots[around]).max(dim=0).values]
    each = torch.cat(parts) @ module.head.weight + module.head.bias.T
    expected = module.mean + module.scale * each.mean(dim=0)
    resident = predictor.resident([val])
    with torch.no_grad():
        found = predictor.predict(gather(resident, torch.tensor([7])))[0]
    torch.testing.assert_close(found, expected.detach())


def test_one_encoder_of_tiles_speaks_for_the_spot_too(slides):
    train = [with_tiles(slide) for slide in slides.of("train")]
    predictor = fitted("deepspot", train, steps=0, feature="tiles")
    resident = predictor.resident([train[0].blind()])
    batch = gather(resident, torch.tensor([3]))
    mean = torch.from_numpy(train[0].features["tiles"]).mean(dim=1)
    torch.testing.assert_close(predictor.spots_of(batch), mean[batch.spot])


def test_targets_are_standardised_over_entries_that_count(slides):
    train = slides.of("train")
    module = fitted("deepspot", train, steps=0).module
    for gene in range(4):
        values = np.concatenate([s.y[s.weight[:, gene], gene] for s in train])
        np.testing.assert_allclose(module.mean[gene], values.mean(), rtol=1e-5)
        np.testing.assert_allclose(module.scale[gene], values.std(), rtol=1e-5)


@pytest.mark.parametrize("loss", ["cosine", "mse_cosine"])
def test_other_losses_learn(slides, loss):
    train = slides.of("train")
    predictor = fitted("deepspot", train, steps=150, loss=loss)
    predicted = predict(predictor, [slide.blind() for slide in train])
    y, weight = (np.concatenate([getattr(s, name) for s in train]) for name in ("y", "weight"))
    correlation = [np.corrcoef(predicted[w, g], y[w, g])[0, 1] for g, w in enumerate(weight.T)]
    assert min(correlation) > 0.5


def test_dropout_is_of_training_alone(slides):
    train = slides.of("train")
    predictor = fitted("deepspot", train, steps=0, dropout=0.5)
    batch = gather(predictor.resident(train), torch.arange(5))
    predictor.module.train()
    assert not torch.equal(predictor.forward(batch), predictor.forward(batch))
    predictor.module.eval()
    assert torch.equal(predictor.forward(batch), predictor.forward(batch))


def test_settings_are_checked(slides):
    with pytest.raises(ConfigurationError, match="encoders none"):
        _ = predictors.create("deepspot").sampling
    with pytest.raises(ConfigurationError, match=r"encoders.*'a', 'b', 'c'"):
        _ = predictors.create("deepspot", features=("a", "b", "c")).sampling
    with pytest.raises(ConfigurationError, match=r"loss 'cosin' \(did you mean 'cosine'"):
        create("deepspot", loss="cosin")
    train = [
        replace(slide, features={**slide.features, "two": slide.features["colours"][:, :2]})
        for slide in slides.of("train")
    ]
    predictor = create("deepspot", feature="", features=("colours", "two"))
    with pytest.raises(ConfigurationError, match="gives 3 features of a spot and 'two' 2 of a"):
        predictor.prepare(train)


def test_golden(slides):
    predictor = fitted("deepspot", slides.of("train"), steps=0)
    predicted = predict(predictor, [slides.of("val")[0].blind()])[:2]
    np.testing.assert_allclose(predicted, GOLDEN, atol=1e-4)
