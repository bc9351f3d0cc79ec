"""Uncertainty that a completer tells: stored beside its values, and scored on hidden entries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spared_benchmark.completion import completers
from spared_benchmark.completion.belief import Belief
from spared_benchmark.completion.library import CohortCompleter
from spared_benchmark.completion.methods.gene_mean import GeneMean
from spared_benchmark.completion.protocol import run_completer
from spared_benchmark.completion.setting import Setting
from spared_benchmark.errors import ContractError
from spared_benchmark.slides.schema import check

SD, HALF = 2.0, 3.0
BY_SLIDE = {"coverage", "interval_width"}
METRICS = {*BY_SLIDE, "coverage_by_decile_least", "coverage_by_decile_most", "pit_distance"}
LAYERS = ["told", "told_sd", "told_lower", "told_upper"]


class Told(GeneMean):
    """Gene means with one spread for all, and a little more of it on one side."""

    card = replace(GeneMean.card, name="told")
    tells_uncertainty = True
    asked = 0

    def _believe(self, slide):
        type(self).asked += 1
        values = super()._complete(slide)
        return Belief(values, np.full_like(values, SD), values - HALF, values + HALF + 1)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    plain = completers.get
    monkeypatch.setattr(completers, "get", lambda name: Told if name == "told" else plain(name))
    monkeypatch.setattr(Told, "asked", 0)


@pytest.fixture
def done(expression, masks, settings, training):
    return run_completer("told", expression, masks, settings, training)


def test_a_completer_that_tells_nothing_is_not_asked(expression, training, masks):
    setting = Setting(expression, masks, "log_tpm")
    completer = GeneMean()
    completer.fit(setting.train(), setting.selection(), training)
    with pytest.raises(ContractError, match="gene_mean tells no uncertainty"):
        setting.believed_in(setting.untouched, completer)


def test_values_are_those_of_the_completer_and_it_is_asked_once(
    done, expression, masks, settings, training
):
    plain = run_completer("gene_mean", expression, masks, settings, training)
    same = done.scores[~done.scores["metric"].isin({*METRICS, "seconds", "memory_mb"})]
    other = plain.scores[~plain.scores["metric"].isin({"seconds", "memory_mb"})]
    np.testing.assert_array_equal(same["value"], other["value"])
    np.testing.assert_array_equal(done.examples, plain.examples)
    # Two spaces, two assays, a val and a test slide; then all four slides once.
    assert Told.asked == 2 * 2 * 2 + 4


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_hidden_values_within_their_interval_by_hand(done, expression, masks, space):
    hidden, values = masks.reported(1), expression.layers[space]
    train = np.where(expression.layers["measured"], values, np.nan)[:72]
    mean = np.nanmean(train, axis=0)
    error = values - mean
    inside = (error >= -HALF) & (error <= HALF + 1)
    scores = done.scores
    scores = scores[(scores["assay"] == 1) & (scores["space"] == space)]
    for split, slide in (("val", "C"), ("test", "D")):
        entries = hidden & (expression.obs["slide"] == slide).to_numpy()[:, None]
        for place in (slide, ""):  # one slide is the whole split
            rows = scores[(scores["split"] == split) & (scores["slide"] == place)]
            found = rows.set_index("metric")
            assert found.loc["coverage", "value"] == pytest.approx(inside[entries].mean())
            assert found.loc["coverage", "n"] == entries.sum()
            assert found.loc["interval_width", "value"] == pytest.approx(2 * HALF + 1)
            counted = METRICS if space == "log_tpm" else METRICS - {"pit_distance"}
            assert METRICS & set(found.index) == (BY_SLIDE if place else counted)
        # Means of genes are the completed values, so that each tenth is of whole genes.
        least, most = (found.loc[f"coverage_by_decile_{end}", "value"] for end in ("least", "most"))
        assert least <= inside[entries].mean() <= most
        by_gene = [inside[:, g][entries[:, g]].mean() for g in range(7) if entries[:, g].any()]
        assert min(by_gene) <= least
        assert most <= max(by_gene)


def test_every_regime_and_assay_is_scored(done):
    own = done.scores[done.scores["metric"] == "coverage"]
    mse = done.scores[done.scores["metric"] == "mse"]
    keys = ["space", "regime", "hidden_fraction", "assay", "split", "slide"]
    assert set(map(tuple, own[keys].to_numpy())) == set(map(tuple, mse[keys].to_numpy()))


def test_the_file_holds_values_and_their_uncertainty(done, expression):
    check(done.completed, "completed")
    layers, measured = done.completed.layers, expression.layers["measured"]
    assert list(layers) == LAYERS
    assert (layers["told_sd"][~measured] == SD).all()
    assert (layers["told_sd"][measured] == 0).all()
    for name in ("told", "told_lower", "told_upper"):
        np.testing.assert_array_equal(
            layers[name][measured], expression.layers["log_tpm"][measured]
        )
    np.testing.assert_allclose((layers["told"] - layers["told_lower"])[~measured], HALF, rtol=1e-5)


def test_a_cohort_of_ones_own_gets_the_same_layers(expression):
    completer = CohortCompleter(Told()).fit(expression)
    completed = completer.complete(expression)
    assert set(LAYERS) <= set(completed.layers)
    measured = expression.layers["measured"]
    assert (completed.layers["told_sd"] > 0).sum() == (~measured).sum()
    plain = CohortCompleter(GeneMean()).fit(expression).complete(expression)
    np.testing.assert_array_equal(completed.layers["told"], plain.layers["gene_mean"])
    assert "gene_mean_sd" not in plain.layers
