from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion.masks import Masks
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.study import CompletionSettings


def test_only_measured_entries_of_val_and_test_slides_are_hidden(expression, masks):
    split = expression.obs["split"].to_numpy().astype(str)
    measured = expression.layers["measured"]
    for hidden in (masks.reported(0), masks.reported(1)):
        assert not hidden[split == "train"].any()
        assert not (hidden & ~measured).any()
        for scored in ("val", "test"):
            share = hidden[split == scored].sum() / measured[split == scored].sum()
            assert 0.2 < share < 0.4
    chosen = masks.selection()
    assert chosen[split == "val"].any()
    assert not chosen[split != "val"].any()


def test_every_mask_is_a_draw_of_its_own(masks):
    on_val = slice(72, 108)
    drawn = [masks.reported(0)[on_val], masks.reported(1)[on_val], masks.selection()[on_val]]
    for first in range(3):
        for second in range(first):
            # Independent draws of 30 % agree on 9 % of the entries, equal ones on 30 %.
            both = (drawn[first] & drawn[second]).sum() / drawn[first].sum()
            assert both < 0.5


def test_the_seed_decides_and_more_assays_change_nothing_before(expression, masks, settings):
    again = Masks.draw(expression, settings)
    assert np.array_equal(again.reported(1), masks.reported(1))
    more = Masks.draw(expression, CompletionSettings(assays=5))
    assert np.array_equal(more.reported(1), masks.reported(1))
    assert np.array_equal(more.selection(), masks.selection())
    other = Masks.draw(expression, CompletionSettings(assays=2, seed=7))
    assert not np.array_equal(other.reported(1), masks.reported(1))


def test_save_and_load_round_trip(masks, tmp_path):
    path = tmp_path / "masks.npz"
    masks.save(path)
    loaded = Masks.load(path)
    assert loaded.assays == 2
    assert loaded.hidden_fraction == 0.3
    assert np.array_equal(loaded.reported(0), masks.reported(0))
    assert np.array_equal(loaded.selection(), masks.selection())
    assert [file.name for file in tmp_path.iterdir()] == ["masks.npz"]


def test_masks_of_another_cohort_are_refused(expression, masks):
    masks.check(expression)
    with pytest.raises(ContractError, match="masks belong to other spots or genes"):
        masks.check(expression[:, ::-1])
    with pytest.raises(ContractError, match="masks belong to other spots or genes"):
        masks.check(expression[1:])


def test_an_assay_that_was_not_drawn_is_refused(masks):
    with pytest.raises(ContractError, match="assays 0 to 1; asked for 2"):
        masks.reported(2)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, anything=np.zeros(3))
    with pytest.raises(InputError, match="no masks in this file"):
        Masks.load(path)
