"""What every completer must do, whatever it is: one test file for all that are registered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spared_benchmark.completion import completers
from spared_benchmark.completion.protocol import describe, restored
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ConfigurationError, ContractError

NAMES = completers.available()
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def setting(expression, masks):
    return Setting(expression, masks, "log_tpm")


@pytest.fixture
def fitted(name, setting, training):
    completer = completers.create(name, size="tiny")
    completer.fit(setting.train(), setting.selection(), training)
    return completer


@pytest.fixture
def hidden(masks):
    return masks.reported(0)


def seen(expression, hidden, slides=("D",)):
    rows = expression.obs["slide"].isin(slides).to_numpy()
    return Visible.of(expression, "log_tpm", expression.layers["measured"] & ~hidden, rows=rows)


def withheld(given, rows):
    """Return ``given`` with nothing visible in ``rows``."""
    visible = given.visible.copy()
    visible[rows] = False
    values = np.where(visible, given.values, np.float32(0))
    library_size = np.where(visible.any(axis=1), given.library_size, np.float32(np.nan))
    return replace(given, values=values, visible=visible, library_size=library_size)


def test_visible_entries_come_back_bit_identical(fitted, expression, hidden):
    given = seen(expression, hidden)
    completed = fitted.complete(given)
    assert completed.dtype == np.float32
    assert completed.shape == given.values.shape
    assert np.isfinite(completed).all()
    assert np.array_equal(completed[given.visible], given.values[given.visible])


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


def test_slides_do_not_see_each_other(fitted, expression, hidden):
    skip_where_its_card_says_so(fitted, "slide_isolation")
    before = fitted.complete(seen(expression, hidden, ("C", "D")))
    on_c = (expression.obs["slide"] == "C").to_numpy()
    expression.layers["log_tpm"][on_c] += 3
    after = fitted.complete(seen(expression, hidden, ("C", "D")))
    of_d = seen(expression, hidden, ("C", "D")).slide == 3
    assert of_d.sum() == 36
    assert np.array_equal(after[of_d], before[of_d])


def test_order_of_spots_does_not_matter(fitted, expression, hidden):
    skip_where_its_card_says_so(fitted, "spot_order")
    given = seen(expression, hidden)
    order = np.random.default_rng(1).permutation(given.n_spots)
    shuffled = fitted.complete(given.rows(order))
    np.testing.assert_allclose(shuffled, fitted.complete(given)[order], **TOLERANCE)


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


def test_constant_genes_are_filled_with_their_constant(name, setting, training):
    levels = np.arange(1, 8, dtype=np.float32) * 1.5
    measured = setting.expression.layers["measured"]
    setting.expression.layers["log_tpm"] = np.where(measured, levels, np.float32(0))
    completer = completers.create(name, size="tiny")
    skip_where_its_card_says_so(completer, "constant_gene")
    completer.fit(setting.train(), setting.selection(), training)
    completed = setting.completed(completer, setting.masks.reported(0), ("test",))
    on_test = setting.split == "test"
    expected = np.broadcast_to(levels, setting.expression.shape)[on_test]
    np.testing.assert_allclose(completed[on_test], expected, rtol=1e-5)


def test_a_gene_never_visible_gets_finite_values(name, setting, training):
    setting.expression.layers["measured"][:, 2] = False
    completer = completers.create(name, size="tiny")
    completer.fit(setting.train(), setting.selection(), training)
    assert np.isfinite(setting.completed(completer, setting.masks.reported(0))[72:]).all()


def test_a_lonely_spot_and_a_blank_one_get_finite_values(fitted, expression, hidden):
    given = seen(expression, hidden)
    lonely = given.rows(np.array([0]))
    assert np.isfinite(fitted.complete(lonely)).all()
    assert np.isfinite(fitted.complete(withheld(lonely, [0]))).all()
    blank = withheld(given, [0, 7, 8])
    assert np.isfinite(fitted.complete(blank)).all()
    nothing = withheld(given, np.arange(given.n_spots))
    assert np.isfinite(fitted.complete(nothing)).all()


def test_a_spot_without_neighbours_gets_finite_values(fitted, expression, hidden):
    given = seen(expression, hidden)
    scattered = replace(given, array_row=given.array_row * 10, array_col=given.array_col * 10)
    assert (scattered.neighbours(3) == -1).all()
    assert np.isfinite(fitted.complete(scattered)).all()


def test_a_spot_with_its_gene_hidden_everywhere_around_gets_finite_values(
    fitted, expression, hidden
):
    hidden = hidden.copy()
    hidden[108:, 2] = True
    given = seen(expression, hidden)
    assert not given.visible[:, 2].any()
    assert np.isfinite(fitted.complete(given)).all()


def test_equal_slides_are_completed_equally(fitted, expression, hidden):
    given = seen(expression, hidden)
    twice = given.rows(np.tile(np.arange(given.n_spots), 2))
    codes = np.repeat([3, 4], given.n_spots).astype(np.int32)
    completed = fitted.complete(replace(twice, slide=codes))
    np.testing.assert_allclose(completed[:36], completed[36:], **TOLERANCE)


def test_a_gene_moved_by_a_constant_is_completed_moved_by_it(name, setting, training, hidden):
    if "constant_gene" in completers.card(name).exemptions:
        pytest.skip("its card says that zeros are values to it")
    completed = []
    for shift in (0.0, 2.0):
        setting.expression.layers["log_tpm"][:, 4] += shift
        own = Setting(setting.expression, setting.masks, "log_tpm")
        completer = completers.create(name, size="tiny")
        store = type(training.trials)(training.trials.root / str(shift))
        completer.fit(own.train(), own.selection(), replace(training, trials=store))
        completed.append(completer.complete(seen(setting.expression, hidden)))
    expected = completed[0] + np.where(np.arange(7) == 4, 2.0, 0.0)
    # Single precision, in which networks compute and values are given, moves with the level.
    np.testing.assert_allclose(completed[1], expected, atol=2e-3)


def test_the_same_seed_gives_the_same_completer(name, setting, training, tmp_path, hidden):
    results = []
    for folder in ("one", "two"):
        store = type(training.trials)(tmp_path / folder)
        completer = completers.create(name, size="tiny")
        completer.fit(setting.train(), setting.selection(), replace(training, trials=store))
        results.append(completer.complete(seen(setting.expression, hidden)))
    assert np.array_equal(*results)


def test_state_and_card_restore_the_completer(fitted, expression, hidden):
    copy = restored(describe(fitted), fitted.state())
    given = seen(expression, hidden)
    assert np.array_equal(copy.complete(given), fitted.complete(given))


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
