"""A fit learns from train slides; val slides decide among candidates, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from prediction_samples import cohort

from spared_benchmark.prediction import fit, predictors
from spared_benchmark.prediction.fit import fit_predictor
from spared_benchmark.study import Budget
from spared_benchmark.training.sweep import Training
from spared_benchmark.training.trials import TrialStore

FEATURE = {"feature_ridge": {"feature": "colours"}}
CLOSED_FORMS = [name for name in predictors.available() if not predictors.card(name).trained]


def fitted(name, assembled, folder, **extra):
    budget = Budget(steps=2, batch_size=8, learning_rates=(1e-3,), validate_every=1)
    training = Training(budget, 42, TrialStore(folder))
    return fit_predictor(name, assembled, training, "tiny", {**FEATURE.get(name, {}), **extra})


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_val_labels_change_no_solution(name, tmp_path):
    # One penalty: val has nothing to decide.
    extra = {} if name == "train_mean" else {"penalties": (0.1,)}
    slides = cohort(target="measured")
    perturbed = tuple(
        replace(slide, y=slide.y + 5, measured=~slide.measured, weight=~slide.weight)
        if slide.split == "val"
        else slide
        for slide in slides.slides
    )
    first = fitted(name, slides, tmp_path, **extra)
    second = fitted(name, replace(slides, slides=perturbed), tmp_path, **extra)
    assert first.val_mse != second.val_mse
    states = first.predictor.state(), second.predictor.state()
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key])


@pytest.mark.parametrize("name", predictors.available())
def test_train_slides_alone_are_prepared_and_drawn_from(name, tmp_path, monkeypatch):
    prepared, drawn = [], []
    predictor = type(predictors.create(name, size="tiny", **FEATURE.get(name, {})))
    prepare, draw = predictor.prepare, fit.draw

    def prepare_and_tell(self, train):
        prepared.append(tuple(slide.slide for slide in train))
        prepare(self, train)

    def draw_and_tell(resident, *arguments):
        drawn.append(resident.names)
        return draw(resident, *arguments)

    monkeypatch.setattr(predictor, "prepare", prepare_and_tell)
    monkeypatch.setattr(fit, "draw", draw_and_tell)
    fitted(name, cohort(target="measured"), tmp_path)
    assert set(prepared) == {("a", "b")}
    assert set(drawn) == ({("a", "b")} if predictors.card(name).trained else set())
