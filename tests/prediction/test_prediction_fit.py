"""A fit learns from train slides; val slides decide among candidates, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from every_predictor import NAMES, card, create, selected
from prediction_samples import cohort

from spared_benchmark.prediction import fit

CLOSED_FORMS = [name for name in NAMES if not card(name).trained]
# One candidate: val has nothing to decide.
SINGLE = {"penalties": (0.1,), "neighbours": (2,)}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_val_labels_change_no_solution(name, tmp_path):
    extra = {key: value for key, value in SINGLE.items() if key in create(name).settings}
    slides = cohort(target="measured")
    perturbed = tuple(
        replace(slide, y=slide.y + 5, measured=~slide.measured, weight=~slide.weight)
        if slide.split == "val"
        else slide
        for slide in slides.slides
    )
    first = selected(name, slides, tmp_path, **extra)
    second = selected(name, replace(slides, slides=perturbed), tmp_path, **extra)
    assert first.val_mse != second.val_mse
    states = first.predictor.state(), second.predictor.state()
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key])


@pytest.mark.parametrize("name", NAMES)
def test_train_slides_alone_are_prepared_and_drawn_from(name, tmp_path, monkeypatch):
    prepared, drawn = [], []
    predictor = type(create(name))
    prepare, draw = predictor.prepare, fit.draw

    def prepare_and_tell(self, train):
        prepared.append(tuple(slide.slide for slide in train))
        prepare(self, train)

    def draw_and_tell(resident, *arguments):
        drawn.append(resident.names)
        return draw(resident, *arguments)

    monkeypatch.setattr(predictor, "prepare", prepare_and_tell)
    monkeypatch.setattr(fit, "draw", draw_and_tell)
    selected(name, cohort(target="measured"), tmp_path)
    assert set(prepared) == {("a", "b")}
    assert set(drawn) == ({("a", "b")} if card(name).trained else set())
