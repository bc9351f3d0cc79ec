from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from spared_benchmark.completion import completers
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.methods._spackle_network import SpackleNetwork, complete_centres
from spared_benchmark.completion.methods._spackle_problem import (
    SpackleProblem,
    TrainData,
    ValidationData,
)
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.visible import Selection
from spared_benchmark.errors import InputError
from spared_benchmark.study import Budget


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SpackleNetwork(genes=5, width=8, ffn=16, layers=2, dropout=0.1).eval()


@pytest.fixture
def neighbourhoods():
    generator = torch.Generator().manual_seed(1)
    expression = torch.randn(6, 4, 5, generator=generator)
    padding = torch.zeros(6, 4, dtype=torch.bool)
    padding[0, 2:] = True
    padding[3, 1:] = True
    return expression, padding


def test_it_is_torchs_post_norm_encoder_between_two_linear_maps(network, neighbourhoods):
    expression, padding = neighbourhoods
    reference = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 1, 16, 0.1, batch_first=True), 2, enable_nested_tensor=False
    ).eval()
    reference.layers[0].load_state_dict(network.layers[0].state_dict())
    reference.layers[1].load_state_dict(network.last.state_dict())
    hidden = reference(network.embed(expression), src_key_padding_mask=padding)
    torch.testing.assert_close(network(expression, padding), network.readout(hidden))


def test_the_centre_alone_equals_the_centre_of_all(network, neighbourhoods):
    expression, padding = neighbourhoods
    with torch.no_grad():
        centre = network.centre(network.embed(expression), padding)
    torch.testing.assert_close(centre, network(expression, padding)[:, 0], rtol=1e-5, atol=1e-5)


def test_padding_is_not_read_and_neighbours_are(network, neighbourhoods):
    expression, padding = neighbourhoods
    before = network(expression, padding)[:, 0]
    changed = expression.clone()
    changed[padding] = 1e3
    torch.testing.assert_close(network(changed, padding)[:, 0], before)
    changed[1, 3] += 1
    after = network(changed, padding)[:, 0]
    assert not torch.allclose(after[1], before[1], atol=1e-6)
    torch.testing.assert_close(after[2:], before[2:])


def test_centres_do_not_depend_on_the_size_of_batches(network):
    expression = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    members = torch.tensor([[i, (i + 1) % 9, -1 if i % 2 else (i + 4) % 9] for i in range(9)])
    whole = complete_centres(network, expression, members)
    torch.testing.assert_close(complete_centres(network, expression, members, 2), whole)
    alone = complete_centres(network, expression, members[4:5])
    torch.testing.assert_close(alone, whole[4:5])


class Recorder(nn.Module):
    """Returns zeros and keeps what it was given."""

    def forward(self, expression, padding):
        self.given, self.padding = expression, padding
        return torch.zeros_like(expression)


@pytest.fixture
def problem():
    complete = torch.arange(1.0, 4001.0).reshape(1000, 4)
    measured = torch.ones(1000, 4, dtype=torch.bool)
    measured[:, 3] = False
    spots = torch.arange(1000)
    members = torch.stack([spots, torch.where(spots % 2 == 0, spots + 1, -1)], dim=1)
    train = TrainData(complete, measured, members)
    judged = ValidationData(complete, members[:2], measured[:2], complete[:2])
    return SpackleProblem(Recorder(), train, judged, batch_size=500, hidden_fraction=0.3)


def test_training_hides_30_percent_of_measured_entries_of_every_slot(problem):
    problem.loss(torch.Generator().manual_seed(3))
    given, present = problem.module.given, ~problem.module.padding
    hidden = given == 0
    assert not hidden[..., 3].any()
    for slot in (0, 1):
        share = hidden[:, slot][present[:, slot]][:, :3].float().mean()
        assert abs(share - 0.3) < 0.05
    first = given.clone()
    problem.loss(torch.Generator().manual_seed(4))
    assert not torch.equal(problem.module.given, first)
    problem.loss(torch.Generator().manual_seed(3))
    assert torch.equal(problem.module.given, first)


def test_the_loss_is_the_complete_matrix_of_spots_that_exist(problem):
    loss = problem.loss(torch.Generator().manual_seed(3))["loss"]
    generator = torch.Generator().manual_seed(3)
    rows = torch.randperm(1000, generator=generator)[:500]
    members = problem.train.members[rows]
    targets = problem.train.complete[members[members >= 0]]
    torch.testing.assert_close(loss, targets.square().mean())
    assert problem.views_per_step == 500


def test_validation_judges_hidden_entries_of_centres(network):
    expression = torch.randn(3, 5, generator=torch.Generator().manual_seed(5))
    members = torch.tensor([[0, 1], [2, -1]])
    completed = complete_centres(network, expression, members)
    hidden = torch.zeros(2, 5, dtype=torch.bool)
    hidden[0, 1] = hidden[1, 4] = True
    judged = ValidationData(expression, members, hidden, completed + 2.0)
    train = TrainData(expression, hidden[[0, 0, 0]], members)
    problem = SpackleProblem(network, train, judged, 8, 0.3)
    assert problem.validate()["val_mse"] == pytest.approx(4.0)
    assert problem.batch_size == 2


def fit(setting, training, **settings):
    completer = completers.create("spackle", size="tiny", **settings)
    completer.fit(setting.train(), setting.selection(), training)
    return completer


def test_it_trains_on_medians_and_completes_from_zeros(expression, masks, training, monkeypatch):
    setting = Setting(expression, masks, "log_tpm")
    completer = fit(setting, training)
    train = setting.train()
    data = completer._train_data(train, torch.device("cpu"))
    assert np.array_equal(data.complete.numpy(), median_completed(train, 4))
    assert data.members.shape == (72, 19)
    inputs = {}

    def spy(network, values, members):
        inputs["values"] = values.numpy().copy()
        return torch.zeros(members.shape[0], values.shape[1])

    monkeypatch.setattr("spared_benchmark.completion.methods.spackle.complete_centres", spy)
    hidden = masks.reported(0)
    setting.completed(completer, hidden, ("test",))
    missing = ~expression.layers["measured"][108:]
    assert (inputs["values"][missing] == 0).all()
    setting.completed(completer, hidden, ("test",), published=True)
    assert np.array_equal(inputs["values"][missing], expression.layers["median"][108:][missing])
    assert (inputs["values"][hidden[108:]] == 0).all()


def test_in_combat_the_finished_layer_is_the_training_target(expression, masks, training):
    setting = Setting(expression, masks, "combat")
    completer = completers.create("spackle", size="tiny")
    completer.bind(setting.train().genes, "hexagonal")
    data = completer._train_data(setting.train(), torch.device("cpu"))
    assert np.array_equal(data.complete.numpy(), expression.layers["combat"][:72])
    assert np.array_equal(data.measured.numpy(), expression.layers["measured"][:72])


def test_training_lowers_the_validation_error(expression, masks, training):
    budget = Budget(steps=60, batch_size=64, validate_every=20, learning_rates=(1e-2,))
    setting = Setting(expression, masks, "log_tpm")
    completer = fit(setting, replace(training, budget=budget))
    history = completer.record["trials"][0]
    assert history["best_step"] == 60
    short = fit(setting, replace(training, budget=budget.model_copy(update={"steps": 1})))
    assert history["best_value"] < 0.5 * short.record["trials"][0]["best_value"]


def test_trials_of_other_data_are_not_taken_for_its_own(expression, masks, training):
    first = fit(Setting(expression, masks, "log_tpm"), training)
    expression.layers["log_tpm"][:72] *= 1.1
    second = fit(Setting(expression, masks, "log_tpm"), training)
    assert first.record["trials"][0]["trial"] != second.record["trials"][0]["trial"]


def test_sizes_are_those_of_the_paper_and_smaller():
    sizes = completers.card("spackle").sizes
    assert sizes["paper"] == {"width": 128, "ffn": 2048}
    for size, limit in (("paper", math.inf), ("small", 1e6), ("tiny", 3e4)):
        completer = completers.create("spackle", size=size)
        completer.bind(tuple(f"g{i}" for i in range(128)), "hexagonal")
        count = sum(weight.numel() for weight in completer._network().parameters())
        assert count <= limit


def test_selection_without_hidden_entries_is_refused(expression, masks, training):
    setting = Setting(expression, masks, "log_tpm")
    selection = setting.selection()
    empty = Selection(
        selection.visible, np.zeros_like(selection.hidden), np.zeros_like(selection.truth)
    )
    with pytest.raises(InputError, match="no entry is hidden for selection"):
        completers.create("spackle", size="tiny").fit(setting.train(), empty, training)
