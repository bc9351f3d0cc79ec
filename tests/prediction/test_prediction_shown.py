"""What is seen of a predictor in training: val genes, and nothing of train or test."""

from dataclasses import replace

import numpy as np
import pytest
from every_predictor import selected
from prediction_samples import SPLITS, cohort

from spared_benchmark.evaluation.metrics import gene_scores
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.prediction.shown import Showcase
from spared_benchmark.reporting import maps
from spared_benchmark.reporting.figures import style
from spared_benchmark.training.observer import Silent, observing

PNG = b"\x89PNG"


class Watcher(Silent):
    def __init__(self):
        self.artifacts = {}

    def shown(self, trial, make):
        self.artifacts[trial] = make()


def watched(slides, folder, name="small_cnn"):
    watcher = Watcher()
    with observing(watcher):
        fitted = selected(name, slides, folder)
    (artifacts,) = watcher.artifacts.values()
    return fitted, artifacts


def test_the_table_scores_val_genes_and_begins_with_the_best(tmp_path):
    slides = cohort(target="measured", splits={**SPLITS, "e": "val"})
    fitted, artifacts = watched(slides, tmp_path)
    table = artifacts["genes"]
    assert list(table.columns) == ["gene", "symbol", "mse", "mae", "pcc", "n"]
    assert set(table["gene"]) == set(slides.genes)
    assert table["pcc"].is_monotonic_decreasing
    val = slides.of("val")
    predicted = Selection(val, fitted.predictor).predicted(fitted.predictor)
    measured = np.concatenate([slide.measured for slide in val])
    names = np.repeat([slide.slide for slide in val], [slide.n_spots for slide in val])
    truth = np.concatenate([slide.y for slide in val])
    scores = gene_scores(truth, predicted, measured, names, slides.genes)
    pooled = scores[scores["slide"] == ""].set_index(["metric", "gene"])
    for row in table.itertuples():
        assert row.mse == pytest.approx(pooled.loc["mse", row.gene]["value"])
        assert row.pcc == pytest.approx(pooled.loc["pcc_gene", row.gene]["value"])
        assert row.n == measured[:, slides.genes.index(row.gene)].sum()
    assert (table["mse"] * table["n"]).sum() / table["n"].sum() == pytest.approx(
        fitted.val_mse, rel=1e-5
    )


def test_the_picture_is_of_the_best_and_the_worst_gene_of_a_val_slide(tmp_path, monkeypatch):
    drawn = []

    def draw(*seen):
        drawn.append(seen)
        return style.new_figure(1)

    monkeypatch.setattr(maps, "_draw", draw)
    slides = cohort(target="measured", genes=6)
    fitted, artifacts = watched(slides, tmp_path)
    assert artifacts["maps"].startswith(PNG)
    ((spots, panels, labels, title, _),) = drawn
    val = slides.of("val")[0]
    assert title == "val slide c"
    assert [panel.title for panel in panels] == [
        "measured",
        "predicted (small_cnn, trained on measured)",
    ]
    table = artifacts["genes"].dropna()
    best, worst = table["gene"].iloc[0], table["gene"].iloc[-1]
    assert [label.partition(" ")[0] for label in labels] == [best, worst]
    truth, predicted = (panel.values for panel in panels)
    columns = [slides.genes.index(gene) for gene in (best, worst)]
    np.testing.assert_array_equal(
        truth, np.where(val.measured, val.y, np.nan).astype(np.float32)[:, columns]
    )
    found = Selection([val], fitted.predictor).predicted(fitted.predictor)
    np.testing.assert_allclose(predicted, found[:, columns], rtol=1e-5)
    np.testing.assert_array_equal(spots.obsm["spatial"], val.xy_um)


def test_test_labels_reach_nothing_that_is_shown(tmp_path):
    slides = cohort(target="measured")
    changed = tuple(
        replace(slide, y=slide.y + 100, measured=~slide.measured)
        if slide.split == "test"
        else slide
        for slide in slides.slides
    )
    _, first = watched(slides, tmp_path / "first")
    _, second = watched(replace(slides, slides=changed), tmp_path / "second")
    assert first["genes"].equals(second["genes"])
    assert first["maps"] == second["maps"]


def test_a_first_val_slide_without_measured_values_is_passed_over():
    slides = cohort(target="measured", splits={**SPLITS, "e": "val"})
    empty = tuple(
        replace(slide, measured=np.zeros_like(slide.measured)) if slide.slide == "c" else slide
        for slide in slides.slides
    )
    slides = replace(slides, slides=empty)
    val = slides.of("val")
    predicted = np.concatenate([slide.y for slide in val])
    showcase = Showcase.of("small_cnn", slides)
    assert showcase.maps(predicted).startswith(PNG)
    assert (showcase.table(predicted)["mse"] == 0).all()


def test_a_constant_prediction_can_be_shown():
    slides = cohort(target="measured")
    val = slides.of("val")
    predicted = np.ones((sum(slide.n_spots for slide in val), len(slides.genes)), dtype=np.float32)
    showcase = Showcase.of("small_cnn", slides)
    assert showcase.table(predicted)["pcc"].isna().all()
    assert showcase.maps(predicted).startswith(PNG)


def test_a_closed_form_shows_no_trial(tmp_path):
    watcher = Watcher()
    with observing(watcher):
        selected("train_mean", cohort(target="measured"), tmp_path)
    assert watcher.artifacts == {}
