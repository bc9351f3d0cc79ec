from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ContractError


@pytest.fixture
def given(expression):
    visible = expression.layers["measured"].copy()
    visible[:, 0] = False
    visible[3] = False
    return Visible.of(expression, "log_tpm", visible)


def test_of_withholds_values_and_library_size(given, expression):
    assert (given.values[:, 0] == 0).all()
    assert np.isnan(given.library_size[3])
    others = np.flatnonzero(given.visible.any(axis=1))
    assert np.array_equal(
        given.library_size[others], expression.obs["library_size"].to_numpy(np.float32)[others]
    )
    assert np.array_equal(given.values[given.visible], expression.layers["log_tpm"][given.visible])


@pytest.mark.parametrize("content", [1.0, np.nan])
def test_a_value_of_a_hidden_entry_cannot_be_given(given, content):
    values = given.values.copy()
    values[5, 0] = content
    with pytest.raises(ContractError, match="1 entries that are not visible hold a value"):
        replace(given, values=values)


def test_a_visible_entry_needs_a_number(given):
    values = given.values.copy()
    values[given.visible] = np.nan
    with pytest.raises(ContractError, match="visible entries are not finite"):
        replace(given, values=values)


def test_the_library_size_of_a_blank_spot_cannot_be_given(given):
    with pytest.raises(ContractError, match="given for 1 spots with nothing visible"):
        replace(given, library_size=np.ones(given.n_spots, dtype=np.float32))


def test_shapes_are_checked(given):
    with pytest.raises(ContractError, match=r"Visible.fill has shape \(1, 7\)"):
        replace(given, fill=np.zeros((1, 7), dtype=np.float32))
    with pytest.raises(ContractError, match=r"Visible.array_row has shape \(2,\)"):
        replace(given, array_row=np.zeros(2, dtype=np.int32))


def test_an_unknown_layer_is_named(expression):
    with pytest.raises(ContractError, match="no layer 'tpm'; it has counts"):
        Visible.of(expression, "tpm", expression.layers["measured"])


def test_neighbours_never_cross_slides(given):
    table = given.neighbours(2)
    assert table.shape == (144, 18)
    present = table >= 0
    own = np.broadcast_to(given.slide[:, None], table.shape)
    assert (given.slide[table[present]] == own[present]).all()


def test_one_slide_takes_its_spots_only(given, expression):
    part = given.one_slide(2)
    assert np.array_equal(part.values, given.values[72:108])
    assert part.slides.tolist() == [2]


def test_fill_stands_where_nothing_is_visible(expression):
    measured = expression.layers["measured"]
    fill = np.full(expression.shape, 4.0, dtype=np.float32)
    filled = Visible.of(expression, "log_tpm", measured, fill=fill).filled
    assert (filled[~measured] == 4).all()
    assert np.array_equal(filled[measured], expression.layers["log_tpm"][measured])


def test_the_digest_tells_contents_apart(given):
    values = given.values.copy()
    assert given.digest() == replace(given, values=values).digest()
    values[given.visible] += 1
    assert given.digest() != replace(given, values=values).digest()
    assert given.digest() != replace(given, array_row=given.array_row + 1).digest()


def test_selection_keeps_truth_at_hidden_entries_only(expression):
    rows = (expression.obs["split"] == "val").to_numpy()
    hidden = np.zeros(expression.shape, dtype=bool)
    hidden[:, 1] = True
    selection = Selection.of(expression, "log_tpm", hidden, rows=rows)
    measured = expression.layers["measured"][rows]
    assert np.array_equal(selection.hidden[:, 1], measured[:, 1])
    assert not selection.hidden[:, 0].any()
    assert not selection.visible.visible[:, 1].any()
    truth = expression.layers["log_tpm"][rows]
    assert np.array_equal(selection.truth, np.where(selection.hidden, truth, 0))


def test_an_entry_is_not_both_hidden_and_visible(given):
    with pytest.raises(ContractError, match="both hidden and visible"):
        Selection(given, given.visible, given.values)
