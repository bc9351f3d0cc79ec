"""Learning curves of completers."""

from __future__ import annotations

from spared_benchmark.model import Model
from spared_benchmark.pipelines.completion.nodes import draw_learning_curves
from spared_benchmark.reporting.figures.completing.curves import Curve, learning_curves
from spared_benchmark.training.trials import TrialStore


def test_a_panel_for_each_method_and_space_with_a_line_for_each_rate():
    falling = Curve("log_tpm", 1e-3, (10, 20, 30), (2.0, 1.0, 1.5))
    diverging = Curve("log_tpm", 1e-2, (10, 20), (3.0, 400.0))
    other = Curve("combat", 1e-3, (10,), (0.5,))
    figure = learning_curves({"spackle": [diverging, falling, other]})
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "spackle, log_tpm",
        "spackle, combat",
    ]
    labels = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert labels == ["0.001: 1.000 at 20", "0.01: 3.000 at 10"]
    assert panels[0].get_ylim()[1] < 2.1


def test_nothing_trained_gives_no_figure():
    assert learning_curves({}) is None
    assert learning_curves({"gene_mae": []}) is None


def test_curves_are_those_of_the_trials_on_the_cards(tmp_path):
    store = TrialStore(tmp_path)
    trial = store.open({"rate": 0.001})
    history = [{"step": 10, "val_mse": 2.0}, {"step": 20, "val_mse": 1.0}]
    trial.finish({"best_step": 20, "history": history})
    record = {"space": "log_tpm", "learning_rate": 0.001, "trial": trial.key}
    models = {"zero": Model({}, {}), "spackle": Model({"trials": [record]}, {})}
    assert draw_learning_curves(store, **models).startswith(b"\x89PNG")
    assert draw_learning_curves(store, zero=models["zero"]) == b""
    gone = Model({"trials": [{**record, "trial": "gone"}]}, {})
    assert draw_learning_curves(store, spackle=gone) == b""
