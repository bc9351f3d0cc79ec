"""SEPAL: graph layers against hand-computed ones, and the sanity tests of its specification."""

import numpy as np
import pytest
import torch
from every_predictor import create, fitted, predict, selected
from prediction_samples import cohort, hexagon

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.methods._local_graph import (
    GcnConv,
    GraphConv,
    LocalGraphs,
    TopNode,
    centre_node,
    nearest_spots,
    waves,
)
from spared_benchmark.prediction.sampling import gather
from spared_benchmark.training.sweep import parameter_counts

VARIANTS = [
    {"variant": variant, "faithful": faithful}
    for variant in ("visium", "st")
    for faithful in (False, True)
]
GOLDEN = [
    [1.48893, 3.24601, 4.11074, 5.19032],
    [1.25299, 3.33286, 4.19114, 5.29370],
]
every_variant = pytest.mark.parametrize("settings", VARIANTS, ids=str)

# A path 0-1-2 and a padded fourth place; node 1 is the centre.
EDGES = torch.tensor([[[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0.0]]])
NODES = torch.tensor([[[1.0], [2.0], [4.0], [100.0]]])
KNOWN = torch.tensor([[True, True, True, False]])
PATH = LocalGraphs(torch.arange(4)[None], KNOWN, EDGES, torch.tensor([1]))


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def network(size, genes, **settings):
    """A SEPAL with an untrained first stage, prepared for so many genes."""
    train = cohort(genes=genes).of("train")
    stage = predictors.create("vit_b_delta", size=size, weights="none")
    stage.prepare(train)
    sepal = predictors.create("sepal", size=size, **settings)
    sepal.take(stage)
    sepal.prepare(train)
    return sepal


def test_gcn_by_hand():
    layer = GcnConv(1, 1)
    with torch.no_grad():
        layer.linear.weight.fill_(3.0)
        layer.bias.fill_(0.5)
        out = layer(NODES, EDGES)[0, :3, 0]
    # Degrees with loops are 2, 3, 2.
    expected = [1 / 2 + 2 / 6**0.5, 1 / 6**0.5 + 2 / 3 + 4 / 6**0.5, 2 / 6**0.5 + 4 / 2]
    torch.testing.assert_close(out, 3 * torch.tensor(expected) + 0.5)


def test_graph_conv_by_hand():
    layer = GraphConv(1, 1)
    with torch.no_grad():
        layer.own.weight.fill_(10.0)
        layer.around.weight.fill_(1.0)
        layer.bias.fill_(0.5)
        out = layer(NODES, EDGES)[0, :3, 0]
    torch.testing.assert_close(out, torch.tensor([12.5, 25.5, 42.5]))


def test_pooling_keeps_the_best_node_and_never_padding():
    pool = TopNode(1)
    with torch.no_grad():
        pool.score.own.weight.fill_(0.1)
        pool.score.around.weight.zero_()
        kept = pool(NODES, PATH)
        torch.testing.assert_close(kept, torch.tensor([[4 * np.tanh(0.4)]], dtype=torch.float32))
        pool.score.own.weight.fill_(-0.1)
        kept = pool(NODES, PATH)
    torch.testing.assert_close(kept, torch.tensor([[np.tanh(-0.1)]], dtype=torch.float32))
    assert centre_node(NODES, PATH).item() == 2.0


def test_places_have_codes_of_their_own():
    steps = torch.tensor([(0, 0), (0, 2), (0, -2), (1, 1), (1, -1), (-1, 1), (-1, -1)])
    codes = waves(steps, 8)
    assert codes.shape == (7, 8)
    torch.testing.assert_close(codes[0], torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))
    # Row 1: waves of lengths 2π and 200π; then column 1.
    row = torch.tensor([1.0, 0.01])
    torch.testing.assert_close(codes[3], torch.cat([row.sin(), row.cos()]).repeat(2))
    assert len(torch.unique(codes, dim=0)) == 7


@pytest.mark.parametrize(("hops", "size", "degree"), [(1, 7, 3), (2, 19, 9)])
def test_a_graph_joins_what_lies_within_its_hops(hops, size, degree):
    predictor = network("tiny", 4, hops=hops)
    slide = cohort(rows=7, columns=7).of("val")[0]
    inner = int(np.flatnonzero((hexagon(7, 7) == (3, 7)).all(axis=1))[0])
    batch = gather(predictor.resident([slide.blind()]), torch.tensor([inner, 0]))
    graphs = LocalGraphs.of(batch, hops)
    assert graphs.known.sum(1).tolist()[0] == size
    assert (batch.spot[graphs.rows[0, graphs.centre[0]]], batch.block[graphs.rows[1, 0]]) == (
        inner,
        1,
    )
    joined = graphs.edges.sum(2)
    assert joined[0, graphs.centre[0]] == size - 1  # the centre to all
    # A corner of the outer ring to that ring's next ones, those within, and the centre.
    assert joined[0][graphs.known[0]].min() >= degree - 1
    torch.testing.assert_close(graphs.edges, graphs.edges.transpose(1, 2))
    assert not graphs.edges[~graphs.known].any()


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"variant": "visium", "faithful": True}, 967_937),
        ({"variant": "visium"}, 967_680),  # without the score of the pooling
        ({"variant": "st", "faithful": True}, 196_993),
        ({"variant": "st"}, 196_736),
    ],
    ids=str,
)
def test_parameters_of_the_paper(settings, count):
    with torch.device("meta"):
        sepal = network("paper", 128, **settings)
    assert parameter_counts(sepal.module) == (count, count)
    assert parameter_counts(sepal.stage.module)[1] == 85_897_088


def test_small_is_small_with_its_first_stage():
    sepal = network("small", 128)
    both = sepal.module, sepal.stage.module
    assert sum(parameter_counts(module)[1] for module in both) <= 1_000_000


@every_variant
def test_a_correction_of_zero_is_the_first_stage(slides, settings):
    predictor = fitted("sepal", slides.of("train"), **settings)
    with torch.no_grad():
        for value in predictor.module.head.parameters():
            value.zero_()
    val = [slides.of("val")[0].blind()]
    np.testing.assert_array_equal(predict(predictor, val), predict(predictor.stage, val))


def test_the_published_correction_is_bounded_and_ours_is_not(slides):
    found = {}
    for faithful in (False, True):
        predictor = fitted("sepal", slides.of("train"), steps=0, faithful=faithful)
        with torch.no_grad():
            predictor.module.head.bias.fill_(-5.0)
        resident = predictor.resident([slides.of("val")[0].blind()])
        with torch.no_grad():
            found[faithful] = predictor.correction(gather(resident, torch.arange(20)))
    assert found[True].min() >= -1
    assert found[False].max() < -1


@every_variant
def test_a_far_disconnected_spot_changes_nothing(slides, settings):
    predictor = fitted("sepal", slides.of("train"), **settings)
    val = slides.of("val")[0].blind()
    far = val.take(np.append(np.arange(val.n_spots), 0))
    far.neighbours[far.neighbours == val.n_spots] = 0  # neighbours stay those of the first
    far.neighbours[-1] = -1
    far.array_rc[-1] = 70, 100
    far.xy_um[-1] = 9e3
    expected = predict(predictor, [val])
    np.testing.assert_allclose(predict(predictor, [far])[:-1], expected, atol=1e-5)


def test_published_graphs_reach_further_at_a_border(slides):
    val = slides.of("val")[0].blind()  # four rows of five, 3·row² + column² apart
    near = nearest_spots(val, 6)
    inner = (val.neighbours >= 0).all(axis=1)
    np.testing.assert_array_equal(np.sort(near[inner]), np.sort(val.neighbours[inner]))
    # The corner: two at 4, two at 12 and two at 16, 3 · rows² + columns² away.
    assert [tuple(place) for place in val.array_rc[near[0]]] == [
        *((0, 2), (1, 1), (1, 3), (2, 0), (0, 4)),
        (2, 2),
    ]
    few = val.take(np.arange(3))
    assert np.sort(nearest_spots(few, 6)[0]).tolist() == [-1, -1, -1, -1, 1, 2]
    order = np.random.default_rng(0).permutation(val.n_spots)
    moved = nearest_spots(val.take(order), 6)
    np.testing.assert_array_equal(order[moved], near[order])
    apart = {}
    for faithful in (False, True):
        predictor = fitted("sepal", slides.of("train"), faithful=faithful)
        there = val.take(np.delete(np.arange(20), 4))  # (0, 8), no lattice neighbour of (0, 4)
        here = predict(predictor, [val])[np.delete(np.arange(20), 4)]
        apart[faithful] = np.abs(predict(predictor, [there]) - here).max(axis=1) > 1e-6
    assert apart[True].sum() > apart[False].sum() == (val.neighbours[4] >= 0).sum()


@pytest.mark.parametrize("settings", [one for one in VARIANTS if not one["faithful"]], ids=str)
def test_only_the_neighbourhood_is_seen(slides, settings):
    predictor = fitted("sepal", slides.of("train"), **settings)
    val = slides.of("val")[0].blind()
    near = {7, *val.neighbours[7][val.neighbours[7] >= 0].tolist()}
    rows = np.array(sorted(near))[::-1].copy()  # the others of the graph in another order
    alone = predict(predictor, [val.take(rows)])[rows == 7]
    np.testing.assert_allclose(alone, predict(predictor, [val])[7:8], atol=1e-5)
    assert not np.allclose(predict(predictor, [val.take(np.array([7]))]), alone)


@every_variant
def test_a_spot_without_neighbours_is_no_trouble(slides, settings):
    predictor = fitted("sepal", slides.of("train"), **settings)
    val = slides.of("val")[0].blind()
    assert np.isfinite(predict(predictor, [val.take(np.array([7]))])).all()


def test_unknown_variants_are_refused():
    with pytest.raises(ConfigurationError, match=r"variant 'visum' \(did you mean 'visium'"):
        create("sepal", variant="visum")


def test_train_spots_can_be_shown_by_stages_fitted_without_them(slides, tmp_path):
    apart = selected("sepal", slides, tmp_path)
    plain = selected("sepal", slides, tmp_path, out_of_fold=False)
    assert plain.first.best == apart.first.best
    weights = [fit.predictor.module.entry.weight.detach() for fit in (plain, apart)]
    assert not torch.allclose(*weights)  # the second stage was shown other inputs
    assert [create("sepal", faithful=of).out_of_fold for of in (False, True)] == [True, False]


def test_golden(slides):
    predictor = fitted("sepal", slides.of("train"), steps=0)
    predicted = predict(predictor, [slides.of("val")[0].blind()])[:2]
    np.testing.assert_allclose(predicted, GOLDEN, atol=1e-4)
