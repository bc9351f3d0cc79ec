from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from spared_benchmark.completion import completers
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.methods._released_neighbours import nearest_spots
from spared_benchmark.completion.methods._released_problem import (
    ReleasedProblem,
    complete_in_batches,
)
from spared_benchmark.completion.methods._spackle_layers import Layout
from spared_benchmark.completion.methods._spackle_network import SpackleNetwork, encode
from spared_benchmark.completion.methods._spackle_problem import TrainData, ValidationData
from spared_benchmark.completion.setting import Setting
from spared_benchmark.training.dropout import Dropout

CPU = torch.device("cpu")
NOTHING = Dropout(0.0, None, CPU)
GENES, SPOTS, SLOTS = 6, 8, 19


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SpackleNetwork(genes=GENES, width=GENES, ffn=16, layers=2, dropout=0.1).eval()


@pytest.fixture
def batch():
    return torch.randn(SPOTS, SLOTS, GENES, generator=torch.Generator().manual_seed(1))


def released(network, batch):
    """Return what the problem's sets give ``(n_spots, n_slots, n_genes)``."""
    everyone = torch.ones(SLOTS, SPOTS, dtype=torch.bool)
    packed = batch.transpose(0, 1).reshape(-1, GENES)
    layout = Layout.packed(everyone)
    completed = encode(network.weights(), packed, layout, NOTHING, torch.float32)
    return completed.view(SLOTS, SPOTS, GENES).transpose(0, 1)


def test_it_is_torchs_encoder_fed_with_the_batch_where_the_sequence_belongs(network, batch):
    reference = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(GENES, 1, 16, 0.1), 2, enable_nested_tensor=False
    ).eval()
    for own, given in zip(reference.layers, network.layers, strict=True):
        own.load_state_dict(given.state_dict())
    expected = network.readout(reference(network.embed(batch)))
    torch.testing.assert_close(released(network, batch), expected)


def test_all_neighbours_replaced_change_the_centre_by_exactly_nothing(network, batch):
    changed = batch.clone()
    changed[:, 1:] += 3
    assert torch.equal(released(network, changed)[:, 0], released(network, batch)[:, 0])


def test_another_spot_of_the_batch_replaced_changes_the_centre(network, batch):
    changed = batch.clone()
    changed[5] += 3
    difference = (released(network, changed) - released(network, batch))[0, 0].abs().max()
    assert difference > 0.01


def test_gradients_reach_the_batch_and_never_the_neighbours(network, batch):
    batch.requires_grad_()
    (gradient,) = torch.autograd.grad(released(network, batch)[2, 0].sum(), batch)
    assert (gradient[:, 0].abs().sum(dim=1) > 0).all()
    assert not gradient[:, 1:].any()


def test_the_corrected_one_does_the_opposite(network, batch):
    def corrected(given):
        layout = Layout.packed(torch.ones(SPOTS, SLOTS, dtype=torch.bool))
        packed = given.reshape(-1, GENES)
        completed = encode(network.weights(), packed, layout, NOTHING, torch.float32)
        return completed.view(SPOTS, SLOTS, GENES)[:, 0]

    before, neighbours, others = corrected(batch), batch.clone(), batch.clone()
    neighbours[:, 1:] += 3
    others[1:] += 3
    assert ((corrected(neighbours) - before).abs().amax(dim=1) > 0.01).all()
    assert torch.equal(corrected(others)[0], before[0])


def test_completion_leaves_neighbours_out_and_is_the_same(network, batch):
    centres = complete_in_batches(network.weights(), batch[:, 0], SPOTS, torch.float32)
    torch.testing.assert_close(centres[0], released(network, batch)[:, 0])


def test_completion_depends_on_the_size_and_order_of_batches(network, batch):
    def complete(centres, size):
        return complete_in_batches(network.weights(), centres, size, torch.float32)[0]

    centres = batch[:, 0]
    whole = complete(centres, 4)
    assert (complete(centres, 8) - whole).abs().max() > 1e-3
    assert (complete(centres.flip(0), 4).flip(0) - whole).abs().max() < 1e-5
    rolled = complete(centres.roll(1, dims=0), 4).roll(-1, dims=0)
    assert (rolled - whole).abs().max() > 1e-3
    assert complete_in_batches(network.weights(), centres, 3, torch.float32).shape[1] == 8


def test_validation_drops_an_incomplete_batch_unless_it_is_the_only_one(network, batch):
    centres, weights = batch[:, 0], network.weights()
    train = TrainData(
        centres,
        torch.ones(8, GENES, dtype=torch.bool),
        torch.arange(8)[:, None],
        torch.zeros(GENES),
    )
    hidden = torch.zeros(8, GENES, dtype=torch.bool)
    hidden[1, 2] = hidden[7, 3] = True
    for size, counted in ((3, [1]), (8, [1, 7])):
        completed = complete_in_batches(weights, centres, size, torch.float32)[0]
        truth = completed.clone()
        truth[1] += 1
        truth[7] += 3
        judged = ValidationData(centres, train.members, hidden, truth)
        problem = ReleasedProblem(network, train, judged, size)
        expected = np.mean([{1: 1.0, 7: 9.0}[spot] for spot in counted])
        assert problem.validate()["val_mse"] == pytest.approx(expected, rel=1e-4)


def test_neighbours_are_the_nearest_spots_whatever_their_slide(expression, masks):
    train = Setting(expression, masks, "log_tpm").train()
    table = nearest_spots(train, 18)
    assert table.shape == (72, 18)
    assert not (table == np.arange(72)[:, None]).any()
    # The two train slides have the same lattice: a spot's nearest is its twin on the other.
    assert np.array_equal(table[:, 0], (np.arange(72) + 36) % 72)
    across = train.slide[table] != train.slide[:, None]
    assert 0.4 < across.mean() < 0.6
    one = train.one_slide(0)
    lattice = one.neighbours(2)
    inside = np.flatnonzero((lattice >= 0).all(axis=1))
    assert inside.size > 0
    assert (np.sort(nearest_spots(one, 18)[inside]) == np.sort(lattice[inside])).all()
    assert nearest_spots(one.rows(np.arange(5)), 18).shape == (5, 4)
    assert nearest_spots(one.rows(np.arange(1)), 18).shape == (1, 0)


def test_it_hides_by_the_published_rule_and_judges_with_medians(expression, masks, training):
    setting = Setting(expression, masks, "log_tpm")
    completer = completers.create("spackle_as_released", size="tiny")
    completer.fit(setting.train(), setting.selection(), training)
    train = completer._train_data(setting.train(), CPU)
    share = setting.train().visible.mean(axis=0)
    np.testing.assert_allclose(train.hide.numpy(), np.minimum(0.3 / share, 1), rtol=1e-6)
    assert completer.network.embed.weight.shape == (GENES + 1, GENES + 1)
    selection = setting.selection()
    given = completer._validation_data(selection, CPU).expression.numpy()
    assert (given[selection.hidden] == 0).all()
    missing = ~selection.hidden & ~selection.visible.visible
    assert np.array_equal(given[missing], median_completed(selection.visible, 4)[missing])
    assert completer._validation_data(selection, CPU).hidden.shape[0] == 36


def test_in_combat_it_is_judged_on_the_finished_layer(expression, masks):
    selection = Setting(expression, masks, "combat").selection()
    completer = completers.create("spackle_as_released", size="tiny")
    given = completer._judged_input(selection)
    assert (given[selection.hidden] == 0).all()
    others = ~selection.hidden
    assert np.array_equal(given[others], expression.layers["combat"][72:108][others])


def test_slides_completed_together_see_each_other(expression, masks, training):
    setting = Setting(expression, masks, "log_tpm")
    completer = completers.create("spackle_as_released", size="tiny")
    completer.fit(setting.train(), setting.selection(), training)
    both = replace(setting.train(), fill=None)
    alone = completer.complete(both.one_slide(0))
    together = completer.complete(both)[both.slide == 0]
    assert np.abs(alone - together).max() > 1e-4


def test_it_is_marked_and_never_ranked():
    card = completers.card("spackle_as_released")
    assert card.kind == "control"
    assert "number matching only" in card.label
    assert card.sizes["paper"]["ffn"] == 2048
