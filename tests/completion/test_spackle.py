from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from spared_benchmark.completion import completers
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.methods._spackle_layers import Layout, linear
from spared_benchmark.completion.methods._spackle_network import (
    SpackleNetwork,
    complete_centres,
    encode,
    encode_centres,
)
from spared_benchmark.completion.methods._spackle_problem import (
    SpackleProblem,
    TrainData,
    ValidationData,
)
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.study import Budget
from spared_benchmark.training.dropout import Dropout
from spared_benchmark.training.sweep import sweep

CPU = torch.device("cpu")
NOTHING = Dropout(0.0, None, CPU)
F32 = torch.float32


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = SpackleNetwork(genes=5, width=8, ffn=16, layers=2, dropout=0.1).eval()
    # Attention starts without biases, which would hide what is done with them.
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.5)
    return made


@pytest.fixture
def neighbourhoods():
    generator = torch.Generator().manual_seed(1)
    expression = torch.randn(6, 4, 5, generator=generator)
    padding = torch.zeros(6, 4, dtype=torch.bool)
    padding[0, 2:] = True
    padding[3, 1:] = True
    return expression, padding


def encoded(weights, expression, padding):
    """Return ``(n_copies, n_neighbourhoods, n_slots, n_genes)``, 0 where nothing is."""
    packed = encode(weights, expression[~padding], Layout.packed(~padding), NOTHING, F32)
    laid_out = packed.new_zeros(packed.shape[0], *expression.shape)
    laid_out[:, ~padding] = packed
    return laid_out


def reference_of(network):
    reference = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 1, 16, 0.1, batch_first=True), 2, enable_nested_tensor=False
    ).eval()
    for own, given in zip(reference.layers, network.layers, strict=True):
        own.load_state_dict(given.state_dict())
    return reference


def test_it_is_torchs_post_norm_encoder_between_two_linear_maps(network, neighbourhoods):
    expression, padding = neighbourhoods
    hidden = reference_of(network)(network.embed(expression), src_key_padding_mask=padding)
    expected = network.readout(hidden)
    found = encoded(network.weights(), expression, padding)[0]
    torch.testing.assert_close(found[~padding], expected[~padding])


def test_copies_are_computed_as_each_alone_and_so_are_gradients(network, neighbourhoods):
    expression, padding = neighbourhoods
    torch.manual_seed(7)
    other = SpackleNetwork(genes=5, width=8, ffn=16, layers=2, dropout=0.1)
    alone = [own.weights() for own in (network, other)]
    both = {name: torch.cat([one[name] for one in alone]) for name in alone[0]}
    for weights in (*alone, both):
        for value in weights.values():
            value.requires_grad_()
    together = encoded(both, expression, padding)
    together.square().sum().backward()
    for copy, weights in enumerate(alone):
        single = encoded(weights, expression, padding)
        torch.testing.assert_close(together[copy], single[0])
        single.square().sum().backward()
        for name, value in weights.items():
            torch.testing.assert_close(
                both[name].grad[copy], value.grad[0], rtol=1e-4, atol=1e-4, msg=name
            )


def test_the_centre_alone_equals_the_centre_of_all(network, neighbourhoods):
    expression, padding = neighbourhoods
    members = torch.arange(24).view(6, 4).masked_fill(padding, -1)
    weights = network.weights()
    embedded = linear(expression.flatten(0, 1)[None], weights, "embed.")
    centres = encode_centres(weights, embedded, members, F32)
    torch.testing.assert_close(centres[0], encoded(weights, expression, padding)[0, :, 0])
    whole = complete_centres(weights, expression.flatten(0, 1), members)
    torch.testing.assert_close(whole, centres)


def test_centres_do_not_depend_on_the_size_of_batches(network):
    expression = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    members = torch.tensor([[i, (i + 1) % 9, -1 if i % 2 else (i + 4) % 9] for i in range(9)])
    weights = network.weights()
    whole = complete_centres(weights, expression, members)
    torch.testing.assert_close(complete_centres(weights, expression, members, F32, 2), whole)
    alone = complete_centres(weights, expression, members[4:5])
    torch.testing.assert_close(alone, whole[:, 4:5])


def test_a_completed_spot_depends_on_itself_and_its_neighbours_and_on_nothing_else(network):
    expression = torch.randn(9, 5, generator=torch.Generator().manual_seed(2)).requires_grad_()
    members = torch.tensor([[0, 3, -1, 7], [8, -1, -1, 2], [4, -1, -1, -1]])
    weights = network.weights()
    embedded = linear(expression[None], weights, "embed.")
    centres = encode_centres(weights, embedded, members, F32)[0]
    for row, own in enumerate(({0, 3, 7}, {8, 2}, {4})):
        (gradient,) = torch.autograd.grad(centres[row].sum(), expression, retain_graph=True)
        assert set(gradient.abs().sum(dim=1).nonzero()[:, 0].tolist()) == own


def test_in_bfloat16_the_loss_and_its_gradient_agree_within_a_percent(network, neighbourhoods):
    expression, padding = neighbourhoods
    losses, gradients = [], []
    for products in (F32, torch.bfloat16):
        weights = {name: value.requires_grad_() for name, value in network.weights().items()}
        layout = Layout.packed(~padding)
        found = encode(weights, expression[~padding], layout, NOTHING, products)
        assert found.dtype == F32
        loss = (found - 5).square().mean()
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([value.grad.flatten() for value in weights.values()]))
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


@pytest.fixture
def problem():
    complete = torch.arange(1.0, 4001.0).reshape(1000, 4)
    measured = torch.ones(1000, 4, dtype=torch.bool)
    measured[:, 3] = False
    spots = torch.arange(1000)
    members = torch.stack([spots, torch.where(spots % 2 == 0, spots + 1, -1)], dim=1)
    train = TrainData(complete, measured, members, hide=torch.full((4,), 0.3))
    judged = ValidationData(complete, members[:2], measured[:2], complete[:2])
    network = SpackleNetwork(genes=4, width=8, ffn=16, layers=2, dropout=0.0)
    return SpackleProblem(network, train, judged, batch_size=500)


def test_training_hides_30_percent_of_measured_entries_of_every_slot(problem):
    batch = problem.draw(torch.Generator().manual_seed(3))
    present, hidden = batch.members >= 0, batch.hidden
    assert not hidden[..., 3].any()
    assert not hidden[~present].any()
    for slot in (0, 1):
        share = hidden[:, slot][present[:, slot]][:, :3].float().mean()
        assert abs(share - 0.3) < 0.05
    assert not torch.equal(problem.draw(torch.Generator().manual_seed(4)).hidden, hidden)
    assert torch.equal(problem.draw(torch.Generator().manual_seed(3)).hidden, hidden)


@pytest.mark.parametrize("loss_over", ["complete", "measured"])
def test_the_loss_is_the_mean_over_spots_that_exist(problem, monkeypatch, loss_over):
    given = []

    def zeros(weights, expression, layout, drop, products):
        given.append(expression)
        return torch.zeros(1, *expression.shape)

    monkeypatch.setattr("spared_benchmark.completion.methods._spackle_problem.encode", zeros)
    problem.loss_over = loss_over
    loss = problem.loss(torch.Generator().manual_seed(3))["loss"]
    batch = problem.draw(torch.Generator().manual_seed(3))
    targets = problem.train.complete[batch.members[batch.members >= 0]]
    expected = targets if loss_over == "complete" else targets[:, :3]
    torch.testing.assert_close(loss, expected.square().mean())
    hidden = batch.hidden[batch.members >= 0]
    assert torch.equal(torch.cat(given), targets.masked_fill(hidden, 0.0))
    assert len(given) == 1
    assert problem.views_per_step == 500


def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(problem, monkeypatch):
    def terms():
        batch = problem.draw(torch.Generator().manual_seed(3))
        weights = {name: v.requires_grad_() for name, v in problem.module.weights().items()}
        parts = [part["loss"] for part in problem.parts(weights, batch, [5])]
        loss = torch.stack(parts).sum()
        loss.backward()
        return len(parts), loss, torch.cat([value.grad.flatten() for value in weights.values()])

    problem.train = replace(problem.train, complete=problem.train.complete / 1000)
    whole = terms()
    monkeypatch.setattr("spared_benchmark.completion.methods._spackle_problem._SPOTS_AT_ONCE", 100)
    split = terms()
    assert (whole[0], split[0]) == (1, 10)
    torch.testing.assert_close(split[1], whole[1])
    torch.testing.assert_close(split[2], whole[2], rtol=1e-3, atol=1e-6)


def test_a_copys_dropout_does_not_depend_on_how_many_train_beside_it(problem, monkeypatch):
    monkeypatch.setattr("spared_benchmark.completion.methods._spackle_problem._SPOTS_AT_ONCE", 100)
    problem.network.dropout = 0.5
    batch = problem.draw(torch.Generator().manual_seed(3))

    def first_copy(copies):
        weights = {
            n: v.repeat(copies, 1, 1)[:, : v.shape[1]] if v.ndim == 3 else v.repeat(copies, 1)
            for n, v in problem.module.weights().items()
        }
        noise = [5, *range(100, 99 + copies)]
        return [float(part["loss"][0]) for part in problem.parts(weights, batch, noise)]

    assert first_copy(10) == pytest.approx(first_copy(1), rel=1e-4)


def test_validation_judges_hidden_entries_of_centres(network):
    expression = torch.randn(3, 5, generator=torch.Generator().manual_seed(5))
    members = torch.tensor([[0, 1], [2, -1]])
    completed = complete_centres(network.weights(), expression, members)[0]
    hidden = torch.zeros(2, 5, dtype=torch.bool)
    hidden[0, 1] = hidden[1, 4] = True
    judged = ValidationData(expression, members, hidden, completed + 2.0)
    train = TrainData(expression, hidden[[0, 0, 0]], members, torch.full((5,), 0.3))
    problem = SpackleProblem(network, train, judged, 8)
    assert problem.validate()["val_mse"] == pytest.approx(4.0)
    assert problem.batch_size == 2
    twice = {name: value.expand(2, *value.shape[1:]) for name, value in network.weights().items()}
    assert problem.validations(twice)["val_mse"].tolist() == pytest.approx([4.0, 4.0])


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

    def spy(weights, values, members, products):
        inputs["values"] = values.numpy().copy()
        return torch.zeros(1, members.shape[0], values.shape[1])

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
    assert sizes["paper"] == {"width": 128, "ffn": 2048, "precision": "auto"}
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


@pytest.mark.parametrize(
    ("lattice", "hops", "slots"),
    [("hexagonal", hops, 1 + k) for hops, k in enumerate((0, 6, 18, 36))]
    + [
        (lattice, hops, 1 + k)
        for lattice in ("square", "diamond")
        for hops, k in enumerate((0, 4, 12, 24))
    ],
)
def test_neighbourhoods_are_those_of_the_lattice(expression, masks, lattice, hops, slots):
    train = replace(Setting(expression, masks, "log_tpm").train(), lattice=lattice)
    completer = completers.create("spackle", size="tiny", hops=hops)
    assert completer._members(train, CPU).shape == (72, slots)


def test_without_hops_other_spots_change_nothing(expression, masks, training):
    completer = fit(Setting(expression, masks, "log_tpm"), training, hops=0)
    test = Setting(expression, masks, "log_tpm")
    given = Visible.of(
        expression, "log_tpm", expression.layers["measured"], rows=test.split == "test"
    )
    np.testing.assert_allclose(
        completer.complete(given)[:3], completer.complete(given.rows(np.arange(3))), rtol=1e-5
    )


@pytest.mark.parametrize(("spot", "size"), [(14, 19), (0, 7)])
def test_a_changed_spot_changes_its_neighbourhood_and_nothing_else(
    expression, masks, training, spot, size
):
    setting = Setting(expression, masks, "log_tpm")
    completer = fit(setting, training)
    hidden = masks.reported(0)
    rows = setting.split == "test"
    given = Visible.of(expression, "log_tpm", setting.measured & ~hidden, rows=rows)
    values = given.values.copy()
    values[spot] += given.visible[spot]
    before = completer._complete(given)
    after = completer._complete(replace(given, values=values))
    changed = set(np.flatnonzero(np.abs(after - before).max(axis=1) > 1e-6).tolist())
    around = given.neighbours(2)[spot]
    assert changed == {spot, *around[around >= 0].tolist()}
    assert len(changed) == size


def test_the_published_rule_hides_30_percent_of_all_entries(expression, masks):
    train = Setting(expression, masks, "log_tpm").train()
    visible = train.visible.copy()
    visible[:, 0], visible[:, 1] = np.arange(72) % 2 == 0, np.arange(72) % 8 == 0
    values = np.where(visible, 1, 0).astype(np.float32)
    sparse = replace(train, visible=visible, values=values)
    rule = completers.create("spackle", size="tiny", hiding="published")._hiding(sparse)
    np.testing.assert_allclose(rule[:2], [0.6, 1.0])
    assert (completers.create("spackle", size="tiny")._hiding(sparse) == np.float32(0.3)).all()


def test_an_unknown_rule_is_refused_with_what_is_allowed():
    with pytest.raises(ConfigurationError, match=r"hiding is 'publised'.*'published'"):
        completers.create("spackle", hiding="publised")


def test_all_rates_at_once_are_the_trials_of_one_after_the_other(expression, masks, training):
    rates = (1e-4, 1e-3, 1e-2)
    budget = Budget(steps=12, batch_size=40, validate_every=4, learning_rates=rates)
    setting, training = Setting(expression, masks, "log_tpm"), replace(training, budget=budget)
    together = fit(setting, training, dropout=0.0).record["trials"]
    completer = completers.create("spackle", size="tiny", dropout=0.0)
    completer.bind(setting.train().genes, "hexagonal")
    train = completer._train_data(setting.train(), CPU)
    judged = completer._validation_data(setting.selection(), CPU)

    def make(seed):
        return completer._problem(completer._network(), train, judged, 40)

    alone = sweep(make, training).trials
    assert [trial["learning_rate"] for trial in together] == list(rates)
    for one, other in zip(together, alone, strict=True):
        assert one["best_step"] == other.best_step
        assert one["best_value"] == pytest.approx(other.best_value, rel=1e-4)


def test_the_type_of_products_is_kept_with_the_weights(expression, masks, training):
    completer = fit(Setting(expression, masks, "log_tpm"), training, precision="auto")
    assert completer.settings["precision"] in {"float32", "bfloat16"}
