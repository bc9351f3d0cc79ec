"""Two stages: the first is fitted as it would be alone, and train spots can be shown unseen."""

from dataclasses import replace

import numpy as np
import pytest
from every_predictor import create, fitted, predict, selected, task_of
from prediction_samples import cohort

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.prediction import staged
from spared_benchmark.prediction.cards import rates_found, rates_of
from spared_benchmark.prediction.fit import fit_predictor
from spared_benchmark.prediction.staged import folds, put_together


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def test_the_first_stage_is_what_it_would_be_alone(slides, tmp_path):
    alone = selected("small_cnn", slides, tmp_path)
    staged = selected("two_stages", slides, tmp_path)
    assert staged.first.best == alone.best  # the same trial, not trained again
    val = [slides.of("val")[0].blind()]
    np.testing.assert_array_equal(
        predict(staged.predictor.stage, val), predict(alone.predictor, val)
    )


def test_a_second_stage_of_zero_changes_nothing(slides):
    predictor = fitted("two_stages", slides.of("train"), steps=0)
    val = [slides.of("val")[0].blind()]
    np.testing.assert_array_equal(predict(predictor, val), predict(predictor.stage, val))


def test_folds_leave_out_each_train_spot_once(slides):
    train = slides.of("train")
    assert [[part.slide for part in fold.held_out] for fold in folds(train)] == [["a"], ["b"]]
    assert [[one.slide for one in fold.rest] for fold in folds(train)] == [["b"], ["a"]]
    quarters = folds(train[:1])
    rows = np.concatenate([fold.rows[0] for fold in quarters])
    assert sorted(rows) == list(range(20))
    for fold in quarters:
        (part,) = fold.held_out
        assert fold.rest[0].n_spots + part.n_spots == 20
        assert (part.whole, part.slide != part.whole) == ("a", True)
        assert not hasattr(part, "y")


def test_folds_are_four_at_most_and_leave_out_whole_subjects(slides):
    one = slides.of("train")[0]
    patients = "ppqrsstuv"
    train = [replace(one, slide=f"{number}", subject=name) for number, name in enumerate(patients)]
    found = folds(train)
    assert len(found) == 4
    left_out = [part.slide for fold in found for part in fold.held_out]
    assert sorted(left_out) == sorted(slide.slide for slide in train)
    for fold in found:
        subjects = {part.subject for part in fold.held_out}
        assert subjects.isdisjoint(slide.subject for slide in fold.rest)
        assert len(fold.rest) + len(fold.held_out) == len(train)
    of_one = [replace(slide, subject="p") for slide in train]
    assert [len(fold.held_out) for fold in folds(of_one)] == [3, 2, 2, 2]


def test_a_slide_too_small_to_divide_says_so(slides):
    with pytest.raises(InputError, match=r"slide 'a' .* 7 spots, too few .* out_of_fold: false"):
        folds([slides.of("train")[0].take(np.arange(7))])


def test_what_folds_show_is_put_back_in_place(slides):
    train = slides.of("train")[:1]
    shown = [(fold, [{"rows": fold.rows[0][:, None] * 10}]) for fold in folds(train)]
    np.testing.assert_array_equal(
        put_together(train, shown)["a"]["rows"], 10 * np.arange(20)[:, None]
    )


def test_out_of_fold_the_second_stage_sees_predictions_made_without_the_spot(slides, tmp_path):
    seen = {}
    original = type(create("two_stages")).attach

    def attach_and_tell(self, slide):
        seen.setdefault(slide.slide, original(self, slide)["prediction"])
        return original(self, slide)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(create("two_stages")), "attach", attach_and_tell)
        fit = selected("two_stages", slides, tmp_path, out_of_fold=True)
    train = slides.of("train")
    full = predict(fit.predictor.stage, [slide.blind() for slide in train])
    assert not np.allclose(seen["a"], full[:20])  # another network, which never saw slide a
    # In use the one stage fitted to everything speaks, for train slides too.
    again = fit.predictor.attach(train[0].blind())["prediction"]
    np.testing.assert_allclose(again, full[:20], rtol=1e-5)


def test_a_stage_that_was_not_fitted_is_an_error(slides):
    with pytest.raises(ContractError, match="first stage 'small_cnn' was not fitted"):
        create("two_stages").prepare(slides.of("train"))


def test_each_stage_keeps_its_own_rate(slides, tmp_path):
    task = task_of("two_stages", slides, tmp_path, rates=(1e-3,))
    both = fit_predictor(replace(task, first_rates=(1e-4, 1e-2)))
    assert both.best.learning_rate == 1e-3
    assert {record.learning_rate for record in both.first.trials} == {1e-4, 1e-2}
    found = rates_found("two_stages", both)
    assert found == {
        "two_stages": 1e-3,
        "two_stages.first": both.first.best.learning_rate,
    }
    told = {
        "predictor": "two_stages",
        "learning_rates": [1e-3],
        "first": {"learning_rates": [1e-2]},
    }
    assert rates_of(told) == {"two_stages": 1e-3, "two_stages.first": 1e-2}


def test_other_folds_are_another_trial(slides, tmp_path, monkeypatch):
    train = replace(slides.of("train")[0], slide="e", subject="se")
    four = replace(slides, slides=(*slides.slides, train))
    keys = set()
    for most in (4, 2):
        monkeypatch.setattr(staged, "_FOLDS", most)
        keys.add(selected("two_stages", four, tmp_path, out_of_fold=True).best.trial)
    assert len(keys) == 2


def test_another_first_stage_is_another_trial(slides, tmp_path):
    keys = set()
    for rate in (1e-3, 1e-2):
        task = task_of("two_stages", slides, tmp_path, rates=(1e-3,))
        keys.add(fit_predictor(replace(task, first_rates=(rate,))).best.trial)
    assert len(keys) == 2
