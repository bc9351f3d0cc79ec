"""Without a test slide, selection can be kept inside train."""

from dataclasses import replace

import numpy as np
import pytest
from every_predictor import create
from prediction_samples import cohort, expression

from spared_benchmark.errors import InputError
from spared_benchmark.prediction.nested import nested
from spared_benchmark.prediction.protocol import run_predictors
from spared_benchmark.prediction.scores import score_predictions
from spared_benchmark.study import BenchmarkSettings, Budget
from spared_benchmark.tissue.lattice import offsets
from spared_benchmark.training.trials import TrialStore

UNTESTED = {"a": "train", "b": "train", "c": "val"}


def splits(slides):
    return {slide.slide: slide.split for slide in slides.slides}


def test_a_cohort_with_a_test_slide_stays_as_it_is():
    slides = cohort()
    assert nested(slides) is slides


def test_the_last_subject_or_slide_of_train_is_held_out():
    slides = cohort(splits={"a": "train", "b": "train", "e": "train", "c": "val"})
    assert splits(nested(slides)) == {"a": "train", "b": "train", "e": "val", "c": "test"}
    subjects = {"a": "p", "b": "q", "e": "q", "c": "r"}
    shared = replace(
        slides,
        slides=tuple(replace(one, subject=subjects[one.slide]) for one in slides.slides),
    )
    assert splits(nested(shared)) == {"a": "train", "b": "val", "e": "val", "c": "test"}


def test_of_a_single_slide_a_quarter_is_held_out():
    slides = cohort(splits={"a": "train", "c": "val"}, rows=6, columns=6)
    parts = nested(slides).slides
    assert [(one.slide, one.split) for one in parts] == [
        ("a", "train"),
        ("a (held out)", "val"),
        ("c", "test"),
    ]
    assert parts[0].n_spots + parts[1].n_spots == 36
    assert 6 <= parts[1].n_spots <= 12
    # Nothing of the quarter is a neighbour of the rest.
    assert parts[0].neighbours.max() < parts[0].n_spots


@pytest.mark.parametrize("name", ["egn", "eggn"])
def test_what_is_held_out_finds_no_train_spot_beside_it(name):
    rest, quarter, _ = nested(cohort(splits={"a": "train", "c": "val"}, rows=10, columns=10)).slides
    predictor = create(name, exemplars=80)  # all that there may be
    predictor.prepare([rest])
    attached = predictor.attach(quarter.blind())
    steps = offsets("hexagonal", 3)[0]
    beside = 0
    for place, rows in zip(quarter.array_rc, attached["exemplars"], strict=True):
        near = {tuple(place + step) for step in steps}
        beside += len(near & set(map(tuple, rest.array_rc)))
        assert near.isdisjoint(map(tuple, rest.array_rc[rows[rows >= 0]]))
    assert beside > 50
    if name == "eggn":  # one graph, as a test slide's: its own labels are not in the bank
        assert not attached["graph"].any()


def test_a_slide_too_small_to_divide_is_an_error():
    with pytest.raises(InputError, match="too few to hold a quarter out; use selection: val"):
        nested(cohort(splits={"a": "train", "c": "val"}, rows=1, columns=3))


def test_val_labels_then_reach_nothing_and_are_scored_as_a_test(tmp_path):
    budget = Budget(steps=4, batch_size=8, learning_rates=(1e-3, 1e-2), validate_every=2)
    settings = BenchmarkSettings(
        selection="nested", sizes={"small_cnn": "tiny"}, budgets={"default": budget}
    )
    slides = cohort(target="measured", splits=UNTESTED)
    poisoned = replace(
        slides,
        slides=tuple(
            replace(one, y=-one.y, measured=~one.measured, weight=~one.weight)
            if one.split == "val"
            else one
            for one in slides.slides
        ),
    )
    results = [
        run_predictors(["small_cnn"], data, "measured", settings, TrialStore(tmp_path / name))
        for name, data in (("a", slides), ("b", poisoned))
    ]
    first, second = (result.predictions for result in results)
    np.testing.assert_array_equal(first.layers["small_cnn.42"], second.layers["small_cnn.42"])
    assert first.obs["split"].unique().tolist() == ["test"]
    assert first.obs["slide"].unique().tolist() == ["c"]
    adata, _ = expression(splits=UNTESTED)
    table, _ = score_predictions(adata, [first], "TOY", "inductive")
    assert set(table.loc[table["kind"] == "method", "split"]) == {"test"}
