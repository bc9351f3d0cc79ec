from __future__ import annotations

import hashlib

import numpy as np
import pytest

from spared_benchmark.completion.masks import Masks
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.study import CompletionSettings

EVERYTHING = CompletionSettings(
    assays=2,
    regimes={
        "entries": (0.1, 0.3, 0.7),
        "spots": (0.3,),
        "blocks": (0.3,),
        "gene_region": (0.3,),
        "low_values": (0.3,),
        "molecular": (0.5,),
    },
)
# Of the masks that the first release drew for this cohort: reported ones and selection.
FIRST_RELEASE = ("2ec537ec0cd50df7", "776aa58c5efeeae9", "dae8314cebe7441c")


@pytest.fixture
def everything(expression):
    return Masks.draw(expression, EVERYTHING)


def drawn_of(masks):
    return [
        (regime, fraction, assay)
        for regime, fractions in masks.regimes.items()
        for fraction in fractions
        for assay in range(masks.assays)
    ]


def test_random_entries_are_those_of_the_first_release(masks, everything):
    for drawn in (masks, everything):
        bits = [np.packbits(drawn.reported(0)), np.packbits(drawn.reported(1))]
        bits.append(np.packbits(drawn.selection()))
        digests = tuple(hashlib.sha256(one.tobytes()).hexdigest()[:16] for one in bits)
        assert digests == FIRST_RELEASE


def test_no_regime_shifts_another(expression, everything):
    for regime, fractions in everything.regimes.items():
        alone = CompletionSettings(assays=1, regimes={"entries": (0.3,), regime: fractions[-2:]})
        masks = Masks.draw(expression, alone)
        for fraction in alone.regimes[regime]:
            same = masks.reported(0, regime, fraction), everything.reported(0, regime, fraction)
            assert np.array_equal(*same)


def test_every_regime_hides_measured_entries_of_val_and_test_slides(expression, everything):
    trained = (expression.obs["split"] == "train").to_numpy()
    seen = set()
    for regime, fraction, assay in drawn_of(everything):
        hidden = everything.reported(assay, regime, fraction)
        assert hidden.any()
        assert not hidden[trained].any()
        assert not (hidden & ~expression.layers["measured"]).any()
        seen.add(hidden.tobytes())
    assert len(seen) == len(drawn_of(everything))


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


def test_save_and_load_round_trip(everything, tmp_path):
    path = tmp_path / "masks.npz"
    everything.save(path)
    loaded = Masks.load(path)
    assert loaded.assays == 2
    assert dict(loaded.regimes) == EVERYTHING.regimes
    for regime, fraction, assay in drawn_of(everything):
        masks = (
            loaded.reported(assay, regime, fraction),
            everything.reported(assay, regime, fraction),
        )
        assert np.array_equal(*masks)
    assert np.array_equal(loaded.selection(), everything.selection())
    for assay, halves in everything.halves.items():
        stored = loaded.halves[assay]
        assert stored.first.dtype == np.uint16
        assert (stored.first != halves.first).nnz == 0
        for name in ("library_size", "tpm_denominator"):
            assert np.array_equal(getattr(stored, name), getattr(halves, name), equal_nan=True)
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


def test_what_was_not_drawn_is_refused_with_what_was(masks):
    with pytest.raises(ContractError, match=r"no blocks at 0.3; they hold entries \[0.3\]"):
        masks.reported(0, "blocks", 0.3)
    with pytest.raises(ContractError, match=r"no entries at 0\.5"):
        masks.reported(0, fraction=0.5)


def test_a_file_of_another_version_is_refused(masks, tmp_path, monkeypatch):
    path = tmp_path / "masks.npz"
    monkeypatch.setattr("spared_benchmark.completion.masks._VERSION", 1)
    masks.save(path)
    monkeypatch.undo()
    with pytest.raises(InputError, match="masks of version 1; this code reads 2"):
        Masks.load(path)


@pytest.mark.parametrize(
    ("regimes", "message"),
    [
        ({"entries": [0.5]}, "'entries' at 0.3 is missing"),
        ({"spots": [0.3]}, "'entries' at 0.3 is missing"),
        ({"entries": [0.3, 0.3]}, "entries: a share is listed twice"),
        ({"entries": [0.3], "gene_region": [0.6]}, "hides at most half of each gene"),
        ({"entries": [0.3], "molecular": [0.3]}, "its only share is 0.5"),
        ({"entries": [0.3], "holes": [0.3]}, "entries.*spots.*blocks"),
        ({"entries": [0.3], "spots": []}, "at least 1 item"),
    ],
)
def test_regimes_that_cannot_be_drawn_are_refused(regimes, message):
    with pytest.raises(ValueError, match=message):
        CompletionSettings(regimes=regimes)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, anything=np.zeros(3))
    with pytest.raises(InputError, match="no masks in this file"):
        Masks.load(path)
