"""EGGN: its messages by hand, its graphs, and the published fault; exemplars: test_egn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from every_predictor import create, fitted, predict
from prediction_samples import cohort
from torch.utils.flop_counter import FlopCounterMode

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.methods.eggn import (
    _Bridge,
    _ExemplarPool,
    _Links,
    _mean_by,
    _Network,
    _Sage,
)
from spared_benchmark.prediction.sampling import batches, gather
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.sweep import parameter_counts

# Four windows in a row, the last without any exemplar; three examples.
NEAR = torch.tensor([[1, -1], [0, 2], [1, 3], [2, -1]])
EXEMPLARS = torch.tensor([[0, 1], [1, -1], [2, 0], [-1, -1]])
CLOSE = torch.tensor([[1, 2, -1], [0, 2, -1], [0, 1, -1]])
LINKS = _Links(NEAR, EXEMPLARS, CLOSE)


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def network(faithful=False, n_genes=2, width=4):
    with isolated(0, "network"):
        settings = {"width": width, "depth": 2, "faithful": faithful}
        return _Network(settings, 3, n_genes).eval()


def inputs(n_genes=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, d, generator=generator) for n, d in ((4, 3), (3, 3), (3, n_genes))]


@pytest.mark.parametrize("faithful", [False, True])
def test_paper_has_the_printed_number_of_parameters(faithful):
    with torch.device("meta"):
        module = predictors.create("eggn", size="paper", faithful=faithful).build(128)
    assert parameter_counts(module) == (11_089_537, 11_089_537)  # 11.09 M of the specification


def test_small_is_small():
    module = predictors.create("eggn", size="small").build(128).eval()
    n = 64
    links = _Links(
        torch.zeros(n, 6, dtype=torch.long),
        torch.arange(6 * n).reshape(n, 6),
        torch.zeros(6 * n, 3, dtype=torch.long),
    )
    tensors = [torch.zeros(n, 512), torch.zeros(6 * n, 512), torch.zeros(6 * n, 128)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*tensors, links)
    assert parameter_counts(module)[0] <= 1_000_000
    assert 0 < counter.get_total_flops() / n <= 0.1e9


def test_sage_by_hand():
    sage = _Sage(1)
    sage.around.weight.data, sage.around.bias.data = torch.tensor([[2.0]]), torch.tensor([0.5])
    sage.own.weight.data = torch.tensor([[10.0]])
    heard = sage(torch.tensor([[1.0], [2.0], [4.0], [8.0]]), NEAR)
    assert heard.flatten().tolist() == [14.5, 25.5, 50.5, 88.5]


def open_bridge(width=4):
    """Every gate half open, every linear layer the identity."""
    bridge = _Bridge(width)
    for layer in (bridge.example, bridge.window, bridge.value):
        layer.weight.data = torch.eye(width)
    for layer in (bridge.to_windows, bridge.to_examples):
        layer.weight.data = torch.eye(width)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.zeros_(bridge.gates.weight)
    torch.nn.init.zeros_(bridge.gates.bias)
    return bridge


def test_bridge_by_hand():
    windows = torch.tensor([1.0, 2.0, 4.0, 8.0])[:, None].expand(4, 4)
    examples = torch.tensor([10.0, 20.0, 40.0])[:, None].expand(3, 4)
    values = torch.tensor([100.0, 200.0, 400.0])[:, None].expand(3, 4)
    heard, answered = open_bridge()(windows, examples, values, EXEMPLARS)

    def message(window, example, value):
        return (window + example + value) / 2 / 3

    first = [message(1, 10, 100), message(1, 20, 200)]
    third = [message(4, 40, 400), message(4, 10, 100)]
    second = message(2, 20, 200)
    expected = [np.mean(first), second, np.mean(third), 0.0]
    np.testing.assert_allclose(heard[:, 0].tolist(), expected, rtol=1e-6)
    back = [np.mean([first[0], third[1]]), np.mean([first[1], second]), third[0]]
    np.testing.assert_allclose(answered[:, 3].tolist(), back, rtol=1e-6)


def test_gates_open_twelve_channels_of_the_joined_message_each():
    bridge = open_bridge(width=8)  # 24 channels, two gates a direction
    bridge.gates.bias.data = torch.tensor([40.0, -40.0, -40.0, 40.0])
    ones = torch.ones(1, 8)
    heard, answered = bridge(ones, 10 * ones, 100 * ones, torch.zeros(1, 1, dtype=torch.long))
    # Of example, value, window the first twelve: all of the example, half of the value.
    expected = [110 / 3] * 4 + [10 / 3] * 4
    np.testing.assert_allclose(heard[0].tolist(), expected, rtol=1e-5)
    # Of window, example, value the last twelve: half of the example, all of the value.
    expected = [100 / 3] * 4 + [110 / 3] * 4
    np.testing.assert_allclose(answered[0].tolist(), expected, rtol=1e-5)


def test_mean_by_group():
    values, groups = torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([2, 2, 0])
    assert _mean_by(values, groups, 4).flatten().tolist() == [5.0, 0.0, 2.0, 0.0]


def test_pool_by_hand():
    pool = _ExemplarPool(1)
    pool.window.weight.data, pool.window.bias.data = torch.tensor([[2.0]]), torch.tensor([0.0])
    windows, examples = (
        torch.tensor([[1.0], [1.0], [0.0], [3.0]]),
        torch.tensor([[2.0], [12.0], [0.0]]),
    )
    pooled = pool(windows, examples, EXEMPLARS).flatten().tolist()
    # The second of two exemplars that differ by d has a share of 1 / (1 + exp(−0.1 d)).
    first, third = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-0.2))
    mixed = [2 * (1 - first) + 12 * first, 12, 2 * third, 0]
    expected = np.array([2, 2, 0, 6]) + 0.1 * np.array(mixed)
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_what_examples_express_reaches_their_value_unless_faithful():
    for faithful in (False, True):
        module = network(faithful)
        seen, features, expression = inputs()
        module.example.weight.data[:, 3:] = 0  # the way by the embedding is closed
        with torch.no_grad():
            here = module(seen, features, expression, LINKS)
            there = module(seen, features, torch.zeros_like(expression), LINKS)
        assert torch.equal(here, there) == faithful


def test_more_genes_than_channels_are_no_trouble():
    assert network(faithful=True, n_genes=9)(*inputs(9), LINKS).shape == (4, 9)


def test_permuting_windows_and_examples_with_their_links_permutes_outputs():
    module, (seen, features, expression) = network(), inputs()
    order, among = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])

    def moved(table, by):  # where each row went
        place = torch.cat([torch.argsort(by), torch.tensor([-1])])
        return place[table]

    links = _Links(
        moved(NEAR, order)[order], moved(EXEMPLARS, among)[order], moved(CLOSE, among)[among]
    )
    with torch.no_grad():
        here = module(seen, features, expression, LINKS)
        there = module(seen[order], features[among], expression[among], links)
    torch.testing.assert_close(there, here[order])


def test_examples_are_linked_to_the_closest_of_them(slides):
    predictor = fitted("eggn", slides.of("train"), steps=1)
    attached = predictor.attach(slides.of("val")[0].blind())
    rows, close = attached["exemplars"], attached["close"]
    points = torch.cat(predictor.shown(torch.device("cpu")), dim=1).numpy()
    distinct = np.unique(rows)
    for spot, slot in ((0, 0), (7, 2)):
        own = rows[spot, slot]
        others = distinct[distinct != own]
        nearest = others[np.argsort(np.linalg.norm(points[others] - points[own], axis=1))[:3]]
        np.testing.assert_array_equal(close[spot, slot], nearest)


def test_doubles_do_not_keep_an_example_linked_to_itself(slides):
    first, second = slides.of("train")
    alike = [one.take(np.zeros(20, dtype=int)) for one in (first, second)]
    alike = [replace(one, neighbours=first.neighbours) for one in alike]
    predictor = create("eggn", exemplars=6)
    predictor.prepare(alike)
    attached = predictor.attach(first.blind())
    own, close = attached["exemplars"][:, :, None], attached["close"]
    assert (close >= 0).all()
    assert not (own == close).any()


def test_few_examples_have_fewer_links(slides):
    first, second = slides.of("train")
    predictor = create("eggn")
    predictor.prepare([first, second.take(np.arange(2))])
    attached = predictor.attach(first.blind())
    assert set(attached["exemplars"][0]) == {20, 21, -1}
    assert sorted(attached["close"][0].flatten().tolist()) == [-1] * 7 + [20, 21]


def test_another_slide_changes_nothing_and_there_is_a_graph_for_each(slides):
    predictor = fitted("eggn", slides.of("train"))
    val, test = slides.of("val")[0].blind(), slides.of("test")[0].blind()
    both = predictor.resident([val, test])
    assert [len(batch.spot) for batch in batches(both, 4)] == [val.n_spots, test.n_spots]
    alone = predict(predictor, [val])
    np.testing.assert_allclose(predict(predictor, [val, test])[: val.n_spots], alone, atol=1e-6)


def test_neighbours_are_heard_and_the_published_code_leaves_one_out(slides):
    val = slides.of("val")[0].blind()
    inner = int(np.flatnonzero((val.neighbours >= 0).all(axis=1))[0])
    cut = val.neighbours.copy()
    cut[inner, 5] = -1
    for faithful in (False, True):
        predictor = fitted("eggn", slides.of("train"), faithful=faithful)
        here, there = (
            predict(predictor, [replace(val, neighbours=n)]) for n in (val.neighbours, cut)
        )
        assert np.array_equal(here[inner], there[inner]) == faithful


def moved(predictor, spot, by=5.0):
    """The predictor with another label of one spot in its bank."""
    values = predictor.bank.values.copy()
    values[spot] += by
    predictor._bank, predictor._on = replace(predictor.bank, values=values), {}
    return predictor


@pytest.mark.parametrize("faithful", [False, True])
def test_of_a_single_train_slide_no_label_comes_back_to_its_spot(faithful):
    data = cohort(splits={"a": "train", "c": "val"}, rows=10, columns=12, target="measured")
    (only,) = data.of("train")
    predictor = fitted("eggn", [only], faithful=faithful)
    graph = predictor.attach(only.blind())["graph"]
    assert np.bincount(graph).tolist() == [30, 30, 30, 30]
    here = predict(predictor, [only])
    seen = []
    for spot in range(0, only.n_spots, 7):
        there = predict(moved(predictor, spot), [only])
        moved(predictor, spot, by=-5.0)
        other = (np.abs(here - there) > 1e-5).any(axis=1)
        assert not other[spot]
        assert not other[graph == graph[spot]].any()
        seen.append(other.any())
    assert np.mean(seen) > 0.5  # labels are exemplars elsewhere
    # In regions, of which some lie across quarters, as on the whole slide.
    resident = predictor.resident([only])
    nodes = torch.arange(40, 80)
    assert len(set(graph[40:80])) == 4
    with torch.no_grad():
        first = predictor.predict(gather(resident, nodes))
        for spot in (41, 58, 66):
            again = moved(predictor, spot).resident([only])
            second = predictor.predict(gather(again, nodes))
            torch.testing.assert_close(second[spot - 40], first[spot - 40], rtol=0, atol=1e-5)
            moved(predictor, spot, by=-5.0)


def test_regions_hold_only_examples_of_their_spots(slides):
    predictor = create("eggn", region=5)
    predictor.prepare(slides.of("train"))
    resident = predictor.resident(slides.of("train"))
    with torch.no_grad():
        predicted = predictor.predict(gather(resident, torch.arange(5)))
    assert predicted.shape == (5, 4)
    assert torch.isfinite(predicted).all()
    trained = fitted("eggn", slides.of("train"), region=5)
    assert np.isfinite(predict(trained, slides.of("val"))).all()


def test_width_must_be_a_multiple_of_four(slides):
    with pytest.raises(ConfigurationError, match="width 18; it must be a multiple of 4"):
        create("eggn", width=18).prepare(slides.of("train"))


def golden():
    data = cohort(target="raw", missing=0)
    predictor = create("eggn")
    with isolated(0, "network"):
        predictor.prepare(data.of("train"))
    predictor.module.eval()
    return predict(predictor, data.of("val"))[[0, 7]].tolist()


def test_golden():
    expected = [[2.669023, 4.15571, 4.761395, 5.94834], [2.663591, 4.16488, 4.762817, 5.950132]]
    np.testing.assert_allclose(golden(), expected, atol=1e-4)
