"""A fit learns from train slides; val slides decide among candidates, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from every_predictor import NAMES, SINGLE, card, create, selected, task_of
from prediction_samples import cohort
from safetensors.torch import save_file

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import fit
from spared_benchmark.prediction.encoders import PatchEncoder
from spared_benchmark.prediction.fit import fit_predictor
from spared_benchmark.study import EncoderSettings

CLOSED_FORMS = [name for name in NAMES if not card(name).trained]


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
    both = ("a", "b")
    folds = {("a",), ("b",)} if getattr(predictor, "out_of_fold", False) else set()
    assert set(prepared) == {both}
    assert set(drawn) - folds == ({both} if card(name).trained else set())


def trial(name, slides, folder, **settings):
    return selected(name, slides, folder, **settings).best.trial


def changed(slides, **arrays):
    """The cohort with arrays of its first slide replaced."""
    first = replace(slides.slides[0], **arrays)
    return replace(slides, slides=(first, *slides.slides[1:]))


@pytest.mark.parametrize(
    ("name", "what", "matters"),
    [
        ("whole_slide", "counts", True),
        ("small_cnn", "counts", False),
        ("neighbourhood", "neighbours", True),
        ("whole_slide", "xy_um", True),
        ("exemplar_mean", "features", True),
        ("small_cnn", "features", False),
    ],
)
def test_a_trial_is_known_by_what_its_predictor_sees(name, what, matters, tmp_path):
    slides = cohort(target="measured")
    first = slides.slides[0]
    others = {
        "counts": first.counts + 1,
        "neighbours": np.full_like(first.neighbours, -1),
        "xy_um": first.xy_um + 1,
        "features": {"colours": first.features["colours"] + 1},
    }
    before = trial(name, slides, tmp_path)
    after = trial(name, changed(slides, **{what: others[what]}), tmp_path)
    assert (before != after) == matters


def test_other_weights_in_the_same_file_are_another_trial(tmp_path):
    settings = EncoderSettings(network="resnet10t", image_size=32)
    path, keys = tmp_path / "weights.safetensors", []
    for seed in (0, 1):
        encoder = PatchEncoder(settings.model_copy(update={"seed": seed}))
        save_file(encoder.network.state_dict(), path)
        network = {"network": "resnet10t", "options": {}, "weights": str(path), "image_size": 32}
        keys.append(trial("vit_b", cohort(), tmp_path / "trials", **network))
    assert keys[0] != keys[1]


def test_one_vector_per_spot_is_needed(tmp_path):
    slides = cohort()
    tiled = {"colours": np.zeros((20, 4, 3), dtype=np.float32)}
    with pytest.raises(ConfigurationError, match=r"gives 4 sub-tiles each; name an encoder with"):
        selected(
            "feature_ridge",
            replace(slides, slides=tuple(replace(one, features=tiled) for one in slides.slides)),
            tmp_path,
        )


def test_a_trained_predictor_with_candidates_is_selected_among_them(tmp_path, monkeypatch):
    """As retrieval has it: the network is trained, then the number of exemplars chosen on val."""
    kind = type(create("small_cnn"))
    monkeypatch.setattr(kind, "candidates", lambda self: [{"shift": 3.0}, {"shift": 0.0}])
    monkeypatch.setattr(kind, "choose", lambda self, one: setattr(self, "shift", one["shift"]))
    predict = kind.predict
    monkeypatch.setattr(
        kind, "predict", lambda self, batch: predict(self, batch) + getattr(self, "shift", 0.0)
    )
    fit = fit_predictor(task_of("small_cnn", cohort(), tmp_path))
    assert [row["shift"] for row in fit.grid] == [3.0, 0.0]
    assert fit.predictor.shift == 0.0
    assert fit.val_mse == fit.grid[1]["val_mse"] < fit.grid[0]["val_mse"]
