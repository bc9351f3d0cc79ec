"""What every completer must do, whatever it is: one test file for all that are registered."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from given_slides import in_gene_order, large_slide, scattered, seen, withheld

from spared_benchmark.completion import completers
from spared_benchmark.completion.cost import measured
from spared_benchmark.completion.protocol import describe, restored
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.visible import Selection
from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.model import Model
from spared_benchmark.training.trials import TrialStore

NAMES = completers.available()
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def setting(expression, masks):
    return Setting(expression, masks, "log_tpm")


@pytest.fixture
def fit(name, setting, training):
    """Fit anew on what the setting holds now, with nothing kept of an earlier fit."""
    stores = (TrialStore(training.trials.root / str(number)) for number in count())

    def fit(train=None, selection=None, settings=None, **changes):
        completer = completers.create(name, size="tiny", **(settings or {}))
        own = replace(training, trials=next(stores), **changes)
        completer.fit(train or setting.train(), selection or setting.selection(), own)
        return completer

    return fit


@pytest.fixture
def fitted(fit):
    return fit()


@pytest.fixture
def hidden(masks):
    return masks.reported(0)


def test_visible_entries_come_back_bit_identical(fitted, expression, hidden):
    given = seen(expression, hidden)
    completed = fitted.complete(given)
    assert completed.dtype == np.float32
    assert completed.shape == given.values.shape
    assert np.isfinite(completed).all()
    assert np.array_equal(completed[given.visible], given.values[given.visible])
    assert np.array_equal(given.values, seen(expression, hidden).values)  # nothing written back


@pytest.mark.parametrize("content", [np.nan, 0.0, 1e9, "noise"])
def test_hidden_values_change_nothing(fitted, expression, hidden, content):
    before = fitted.complete(seen(expression, hidden))
    noise = np.random.default_rng(3).normal(8, 3, hidden.sum())
    expression.layers["log_tpm"][hidden] = noise if content == "noise" else content
    expression.layers["median"][hidden] = noise if content == "noise" else content
    assert np.array_equal(fitted.complete(seen(expression, hidden)), before)


def skip_where_its_card_says_so(completer, exemption):
    if exemption in completer.card.exemptions:
        pytest.skip("its card says that this cannot hold")


@pytest.mark.parametrize(("changed", "other"), [("C", "D"), ("D", "C")])
def test_slides_do_not_see_each_other(fitted, expression, hidden, changed, other):
    skip_where_its_card_says_so(fitted, "slide_isolation")
    before = fitted.complete(seen(expression, hidden, ("C", "D")))
    of_changed = (expression.obs["slide"] == changed).to_numpy()
    expression.layers["log_tpm"][of_changed] += 3
    given = seen(expression, hidden, ("C", "D"))
    own = given.slide == "ABCD".index(other)
    assert own.sum() == 36
    assert np.array_equal(fitted.complete(given)[own], before[own])


def test_order_of_spots_does_not_matter(fitted, expression, hidden):
    skip_where_its_card_says_so(fitted, "spot_order")
    given = seen(expression, hidden, ("C", "D"))
    order = np.random.default_rng(1).permutation(given.n_spots)
    shuffled = fitted.complete(given.rows(order))
    np.testing.assert_allclose(shuffled, fitted.complete(given)[order], **TOLERANCE)


def test_order_of_genes_does_not_matter(setting, fit, hidden):
    given, own = seen(setting.expression, hidden), setting.selection()
    before = fit().complete(given)
    if not np.array_equal(fit(seed=43).complete(given), before):
        pytest.skip("its fit draws numbers gene by gene")
    order = [3, 0, 6, 2, 5, 1, 4]
    visible = in_gene_order(own.visible, order)
    selection = Selection(visible, own.hidden[:, order], own.truth[:, order])
    after = fit(in_gene_order(setting.train(), order), selection)
    completed = after.complete(in_gene_order(given, order))
    np.testing.assert_allclose(completed, before[:, order], atol=1e-4)


def test_what_is_completed_together_does_not_matter(fitted, expression, hidden):
    skip_where_its_card_says_so(fitted, "batch_composition")
    together = seen(expression, hidden, ("C", "D"))
    alone = seen(expression, hidden, ("D",))
    np.testing.assert_allclose(
        fitted.complete(together)[together.slide == 3], fitted.complete(alone), **TOLERANCE
    )


def test_space_is_used_exactly_where_the_card_says_so(fitted, expression, hidden):
    given = seen(expression, hidden)
    order = np.random.default_rng(2).permutation(given.n_spots)
    moved = replace(given, array_row=given.array_row[order], array_col=given.array_col[order])
    before, after = fitted.complete(given), fitted.complete(moved)
    changed = not np.allclose(before, after, rtol=1e-6, atol=1e-6)
    assert changed == ("space" in fitted.card.uses)


def test_other_genes_are_used_exactly_where_the_card_says_so(fitted, expression, hidden):
    given = seen(expression, hidden)
    values = given.values.copy()
    values[:, 1:] = np.where(given.visible[:, 1:], values[:, 1:] + 2, 0)
    before, after = fitted.complete(given), fitted.complete(replace(given, values=values))
    changed = not np.allclose(before[:, 0], after[:, 0], rtol=1e-6, atol=1e-6)
    assert changed == ("genes" in fitted.card.uses)


def test_library_size_is_used_exactly_where_the_card_says_so(fitted, expression, hidden):
    given = seen(expression, hidden)
    deeper = given.library_size * np.linspace(1, 5, given.n_spots, dtype=np.float32)
    before, after = fitted.complete(given), fitted.complete(replace(given, library_size=deeper))
    assert np.array_equal(before, after) == ("library_size" not in fitted.card.uses)


def test_constant_genes_are_filled_with_their_constant(name, setting, fit, hidden):
    if "constant_gene" in completers.card(name).exemptions:
        pytest.skip("its card says that this cannot hold")
    levels = np.arange(1, 8, dtype=np.float32) * 1.5
    values = np.where(setting.expression.layers["measured"], levels, np.float32(0))
    setting.expression.layers["log_tpm"] = values
    completer, given = fit(), seen(setting.expression, hidden)
    hidden[:, 2] = True
    without_gene = seen(setting.expression, hidden)
    # Neighbours, the spot's other genes or the gene itself are all that is lost: the level stays.
    for less in (given, scattered(given), withheld(given, [0, 7, 8]), without_gene):
        completed = completer.complete(less)
        np.testing.assert_allclose(completed, np.tile(levels, (36, 1)), rtol=1e-5)


def test_a_gene_never_visible_gets_finite_values(setting, fit):
    setting.expression.layers["measured"][:, 2] = False
    completed = setting.completed(fit(), setting.masks.reported(0))
    assert np.isfinite(completed[72:]).all()


def test_little_or_nothing_to_go_by_gives_finite_values(fitted, expression, hidden):
    given = seen(expression, hidden)
    hidden[:, 2] = True
    without_gene, alone = seen(expression, hidden), given.rows(np.array([0]))
    blank, nothing = withheld(given, [0, 7, 8]), withheld(given, np.arange(given.n_spots))
    assert not without_gene.visible[:, 2].any()
    assert (scattered(given).neighbours(3) == -1).all()
    for less in (scattered(given), without_gene, blank, nothing, alone, withheld(alone, [0])):
        assert np.isfinite(fitted.complete(less)).all()


def test_val_slides_choose_and_teach_nothing(setting, training, fit):
    own = setting.selection()
    doubled = replace(own.visible, values=2 * own.visible.values)
    other = Selection(doubled, own.hidden, 3 * own.truth)
    # One value of each hyper-parameter and one validation leave nothing to choose.
    only = fit().record.get("chosen")
    budget = training.budget.model_copy(update={"validate_every": training.budget.steps})
    one, two = (fit(None, chosen, only, budget=budget).state() for chosen in (own, other))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_equal_slides_are_completed_equally(fitted, expression, hidden):
    given = seen(expression, hidden)
    twice = given.rows(np.tile(np.arange(given.n_spots), 2))
    codes = np.repeat([3, 4], given.n_spots).astype(np.int32)
    completed = fitted.complete(replace(twice, slide=codes))
    np.testing.assert_allclose(completed[:36], completed[36:], **TOLERANCE)


def test_a_gene_moved_by_a_constant_is_completed_moved_by_it(name, setting, fit, hidden):
    if "constant_gene" in completers.card(name).exemptions:
        pytest.skip("its card says that zeros are values to it")
    completed = []
    for shift in (0.0, 2.0):
        setting.expression.layers["log_tpm"][:, 4] += shift
        completed.append(fit().complete(seen(setting.expression, hidden)))
    expected = completed[0] + np.where(np.arange(7) == 4, 2.0, 0.0)
    # Single precision, in which networks compute and values are given, moves with the level.
    np.testing.assert_allclose(completed[1], expected, atol=2e-3)


def test_the_same_seed_gives_the_same_completer(fit, expression, hidden):
    given = seen(expression, hidden)
    completer = fit()
    before = completer.complete(given)
    assert np.array_equal(fit().complete(given), before)
    assert np.array_equal(completer.complete(given), before)  # completing draws and keeps nothing


def test_weights_and_card_on_disk_restore_the_completer(fitted, expression, hidden, tmp_path):
    Model(describe(fitted), fitted.state()).save(tmp_path / "saved")
    model = Model.load(tmp_path / "saved")
    copy = restored(model.card, dict(model.weights))
    given = seen(expression, hidden)
    assert np.array_equal(copy.complete(given), fitted.complete(given))


def test_single_precision_is_enough(fitted, expression, hidden):
    given = seen(expression, hidden)
    before = fitted.complete(given)
    if hasattr(fitted, "network"):
        fitted.network.double().register_forward_pre_hook(
            lambda _, given: tuple(t.double() if t.is_floating_point() else t for t in given)
        )
    rounded_off = 2.0**-25 * np.random.default_rng(0).uniform(-1, 1, given.values.shape)
    exact = replace(given, values=given.values.astype(np.float64) * (1 + rounded_off))
    np.testing.assert_allclose(fitted.complete(exact), before, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux starts its peak anew")
def test_nothing_is_as_large_as_all_pairs_of_spots(fitted, setting):
    given = large_slide(setting.train().genes)
    with measured() as cost:
        fitted.complete(given)
    # A single byte for each pair of its 10,000 spots would take 100.
    assert cost.memory_mb < 80


def test_genes_and_lattice_of_the_fit_are_required(fitted, expression, hidden):
    given = seen(expression, hidden)
    swapped = replace(given, genes=(given.genes[1], given.genes[0], *given.genes[2:]))
    with pytest.raises(ContractError, match=r"place 0: gene_1, not gene_0"):
        fitted.complete(swapped)
    other = replace(given, genes=("another", *given.genes[1:]))
    with pytest.raises(ContractError, match=r"missing \['gene_0'\], unknown \['another'\]"):
        fitted.complete(other)
    with pytest.raises(ContractError, match="fitted on a hexagonal lattice; found square"):
        fitted.complete(replace(given, lattice="square"))


def test_it_is_refused_before_its_fit(name, expression, hidden):
    with pytest.raises(ContractError, match="is not fitted"):
        completers.create(name).complete(seen(expression, hidden))


def test_an_unknown_hyper_parameter_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name} has no hyper-parameter 'hopps'"):
        completers.create(name, hopps=3)


def test_selection_of_other_genes_is_refused(name, setting, training):
    selection = setting.selection()
    genes = tuple(f"other_{i}" for i in range(len(selection.visible.genes)))
    other = Selection(replace(selection.visible, genes=genes), selection.hidden, selection.truth)
    with pytest.raises(ContractError, match="was fitted on 7 genes"):
        completers.create(name, size="tiny").fit(setting.train(), other, training)


def test_the_card_tells_what_reports_need(name):
    card = completers.card(name)
    assert card.name == name
    assert card.label
    assert card.summary.endswith(".")
    assert card.source
    assert card.uses <= {"genes", "space", "image", "library_size"}
