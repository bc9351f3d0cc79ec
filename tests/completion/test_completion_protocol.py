from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest

from spared_benchmark.completion import completers
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.protocol import run_completer
from spared_benchmark.completion.score_tables import COLUMNS
from spared_benchmark.completion.setting import Setting
from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.evaluation.floor import one_count
from spared_benchmark.slides.schema import check
from spared_benchmark.training.observer import Silent, observing

METRICS = ("mse", "mae", "pcc_gene", "pcc_net", "moran_error", "correlation_error")
COSTS = ("seconds", "memory_mb")
REGIMES = {
    "entries": (0.1, 0.3),
    "spots": (0.3,),
    "blocks": (0.3,),
    "gene_region": (0.3,),
    "low_values": (0.3,),
    "molecular": (0.5,),
}


@pytest.fixture
def additive(expression, masks, settings, training):
    return run_completer("additive", expression, masks, settings, training)


def value(scores, **wanted):
    for column, content in wanted.items():
        scores = scores[scores[column] == content]
    assert len(scores) == 1
    return scores.iloc[0]


def test_the_table_is_tidy_and_whole(additive):
    scores = additive.scores
    assert tuple(scores.columns) == COLUMNS
    assert set(scores["space"]) == {"log_tpm", "combat"}
    assert set(scores["completer"]) == {"additive"}
    assert set(scores["kind"]) == {"method"}
    assert set(scores["metric"]) == {*METRICS, *COSTS}
    keys = [column for column in COLUMNS if column not in ("value", "n")]
    assert not scores.duplicated(keys).any()
    by_mask = scores[~scores["metric"].isin(COSTS)]
    assert set(by_mask["assay"]) == {0, 1}
    assert set(zip(by_mask["split"], by_mask["slide"], strict=True)) == {
        ("val", "C"), ("val", ""), ("test", "D"), ("test", ""),
    }  # fmt: skip


def test_hidden_entries_alone_are_scored_against_their_truth(additive, expression, masks):
    hidden = masks.reported(1)
    setting = Setting(expression, masks, "log_tpm")
    visible = expression.layers["measured"] & ~hidden
    on_test = setting.slide == "D"
    # By hand from the definition, on the numbers that are visible.
    train = expression.layers["log_tpm"][:72]
    prior = train.sum(axis=0) / expression.layers["measured"][:72].sum(axis=0)
    row = value(additive.scores, metric="mse", split="test", slide="D", assay=1, space="log_tpm")
    assert row["n"] == hidden[on_test].sum()
    truth = np.where(visible, expression.layers["log_tpm"], 0)[on_test]
    seen = visible[on_test]
    means = (truth.sum(axis=0) + 5 * prior) / (seen.sum(axis=0) + 5)
    offset = np.where(seen, truth - means, 0).sum(axis=1) / (seen.sum(axis=1) + 5)
    residual = np.where(seen, truth - means - offset[:, None], 0)
    at = expression.obs[["array_row", "array_col"]].to_numpy()[on_test].astype(int)
    rows, cols = np.abs(at[:, None] - at[None]).transpose(2, 0, 1)
    steps = rows + np.maximum(cols - rows, 0) // 2
    near = ((steps > 0) & (steps <= 2)).astype(float)
    completed = means + offset[:, None] + near @ residual / (near @ seen + 6)
    errors = (completed - expression.layers["log_tpm"][on_test])[hidden[on_test]]
    assert row["value"] == pytest.approx((errors**2).mean(), rel=1e-4)


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
@pytest.mark.parametrize("name", completers.available())
def test_no_hidden_value_reaches_a_completion(name, space, expression, masks, training):
    setting = Setting(expression, masks, space)
    completer = completers.create(name, size="tiny")
    completer.fit(setting.train(), setting.selection(), training)
    hidden = masks.reported(0)
    changed = expression.copy()
    changed.layers[space][hidden] += 5
    after = Setting(changed, masks, space).completed(completer, hidden)
    assert np.array_equal(after, setting.completed(completer, hidden), equal_nan=True)


def test_the_completed_layer_is_full_and_keeps_what_is_measured(additive, expression):
    completed = additive.completed
    check(completed, "completed")
    assert list(completed.layers) == ["additive"]
    assert list(completed.obs_names) == list(expression.obs_names)
    assert list(completed.var_names) == list(expression.var_names)
    measured = expression.layers["measured"]
    values = completed.layers["additive"]
    assert np.array_equal(values[measured], expression.layers["log_tpm"][measured])
    assert np.isfinite(values).all()
    assert (values[~measured] > 0).all()


def test_the_card_is_json_and_tells_the_fit(additive):
    card = json.loads(json.dumps(additive.card))
    assert card["method"] == "additive"
    assert card["settings"]["residual_weight"] == 6.0
    assert len(card["genes"]) == 7
    assert card["seconds"] >= 0
    assert "trials" not in card
    assert additive.state["gene_mean"].shape == (7,)


def test_spackle_is_scored_as_published_beside(expression, masks, settings, training):
    result = run_completer("spackle", expression, masks, settings, training)
    kinds = result.scores.groupby(["completer", "space"])["kind"].unique()
    assert {key: list(kind) for key, kind in kinds.items()} == {
        ("spackle", "combat"): ["method"],
        ("spackle", "log_tpm"): ["method"],
        ("spackle (paper evaluation)", "log_tpm"): ["control"],
    }
    pick = {"metric": "mse", "split": "test", "slide": "", "assay": 0, "space": "log_tpm"}
    honest = value(result.scores, completer="spackle", **pick)
    published = value(result.scores, completer="spackle (paper evaluation)", **pick)
    assert honest["n"] == published["n"]
    assert honest["value"] != published["value"]
    assert result.card["size"] == "tiny"


def test_the_sweeps_of_both_spaces_are_told_apart(expression, masks, settings, training, caplog):
    watcher = Watcher()
    with observing(watcher), caplog.at_level(logging.INFO):
        card = run_completer("spackle", expression, masks, settings, training).card
    assert [(row["space"], row["status"]) for row in card["trials"]] == [
        ("log_tpm", "finished"),
        ("combat", "finished"),
    ]
    assert [(row["trial"], row["space"]) for row in card["trials"]] == watcher.keys
    assert watcher.names == ["log_tpm lr=0.001 seed=42", "combat lr=0.001 seed=42"]
    for space in ("log_tpm", "combat"):
        assert f"spackle in {space} lr=0.001 seed=42: finished" in caplog.text


class Watcher(Silent):
    """Keeps what it is told of each trial."""

    def __init__(self):
        self.names, self.keys = [], []

    def trial_started(self, trial, parameters):
        self.names.append(trial)
        self.keys.append((parameters["trial"], parameters["space"]))


def test_only_the_spaces_asked_for_are_scored(expression, masks, settings, training):
    one = settings.model_copy(update={"spaces": ("log_tpm",)})
    scores = run_completer("gene_mean", expression, masks, one, training).scores
    assert set(scores["space"]) == {"log_tpm"}
    assert set(scores["kind"]) == {"control"}


def test_depth_alone_has_no_net_correlation(expression, masks):
    depth = expression.obs["tpm_denominator"].to_numpy()
    single = np.log2(1 + one_count(expression.var["gene_length"].to_numpy(), depth))
    expression.layers["log_tpm"] = single.astype(np.float32)
    setting = Setting(expression, masks, "log_tpm")
    scores = setting.score(setting.truth, next(setting.assays("entries", 0.3)))
    pooled = scores[(scores["slide"] == "") & (scores["split"] == "test")].set_index("metric")
    assert pooled.loc["pcc_gene", "value"] == pytest.approx(1)
    assert pooled.loc["pcc_net", "n"] == 0


@pytest.mark.parametrize("name", ["median", "sme_zeros"])
def test_the_papers_evaluation_stands_beside_and_is_never_ranked(
    name, expression, masks, settings, training
):
    scores = run_completer(name, expression, masks, settings, training).scores
    published = scores[scores["completer"] == f"{name} (paper evaluation)"]
    assert set(published["kind"]) == {"control"}
    assert set(published["space"]) == {"log_tpm"}
    own = scores[(scores["completer"] == name) & (scores["space"] == "log_tpm")]
    error = [rows.loc[rows["metric"] == "mse", "value"].mean() for rows in (own, published)]
    assert error[0] != error[1]


@pytest.fixture
def every_regime(settings):
    return settings.model_copy(update={"regimes": REGIMES})


@pytest.mark.parametrize("name", ["gene_mean", "additive", "spackle"])
def test_every_regime_is_scored_from_one_fit(name, expression, every_regime, training):
    masks = Masks.draw(expression, every_regime)
    result = run_completer(name, expression, masks, every_regime, training)
    scores = result.scores
    keys = [column for column in COLUMNS if column not in ("value", "n")]
    assert not scores.duplicated(keys).any()
    own = scores[scores["completer"] == name]
    drawn = {(regime, share) for regime, shares in REGIMES.items() for share in shares}
    for space, expected in (("log_tpm", drawn), ("combat", {("entries", 0.3)})):
        rows = own[own["space"] == space]
        for metric in (*METRICS, *COSTS):
            of = rows[rows["metric"] == metric]
            assert set(zip(of["regime"], of["hidden_fraction"], strict=True)) == expected
            assert len(of) == len(expected) * (1 if metric in COSTS else 2 * 4)
    errors = own[own["metric"].isin(["mse", "mae", "moran_error", "correlation_error"])]
    assert np.isfinite(errors["value"]).all()
    assert (errors["value"] > 0).all()
    published = scores[scores["completer"] == f"{name} (paper evaluation)"]
    assert set(published["regime"]) <= {"entries"}
    assert len(result.card.get("trials", [])) == (2 if name == "spackle" else 0)


def test_more_regimes_leave_the_headline_as_it_is(expression, settings, every_regime, training):
    tables = []
    for one in (settings, every_regime):
        masks = Masks.draw(expression, one)
        scores = run_completer("additive", expression, masks, one, training).scores
        headline = scores[(scores["regime"] == "entries") & (scores["hidden_fraction"] == 0.3)]
        tables.append(headline[~headline["metric"].isin(COSTS)].reset_index(drop=True))
    pd.testing.assert_frame_equal(*tables)


def test_nothing_of_a_hidden_spot_is_told(expression, every_regime, training):
    masks = Masks.draw(expression, every_regime)
    seen = []

    class Watcher(completers.get("gene_mean")):
        def _complete(self, slide):
            seen.append(slide)
            return super()._complete(slide)

    setting = Setting(expression, masks, "log_tpm")
    watcher = Watcher()
    watcher.fit(setting.train(), setting.selection(), training)
    for regime in ("spots", "blocks"):
        seen.clear()
        assay = next(setting.assays(regime, 0.3))
        setting.completed_in(assay, watcher)
        for slide in seen:
            blank = ~slide.visible.any(axis=1)
            assert blank.any()
            assert np.isnan(slide.library_size[blank]).all()
            assert np.isfinite(slide.library_size[~blank]).all()


def test_molecules_of_the_seen_half_alone_are_the_library_size(expression, every_regime, training):
    masks = Masks.draw(expression, every_regime)
    setting = Setting(expression, masks, "log_tpm")
    assay = next(setting.assays("molecular", 0.5))
    scored = setting.split != "train"
    whole = expression.obs["library_size"].to_numpy()[scored]
    assert (assay.library_size[scored] <= whole).all()
    assert assay.library_size[scored].sum() == pytest.approx(whole.sum() / 2, rel=0.05)


def test_structure_is_judged_by_what_is_known(expression, masks):
    setting = Setting(expression, masks, "log_tpm")
    assay = next(setting.assays("entries", 0.3))
    noise = np.random.default_rng(0).normal(0, 9, expression.shape).astype(np.float32)
    known = expression.layers["measured"]
    # Numbers at missing entries are nobody's affair, the truth at hidden ones has no error.
    perfect = setting.score(np.where(known, setting.truth, noise), assay).set_index("metric")
    assert (perfect.loc[["moran_error", "correlation_error"], "value"] == 0).all()
    wrong = setting.score(setting.truth + noise, assay).set_index("metric")
    assert (wrong.loc[["moran_error", "correlation_error"], "value"] > 0.02).all()
    by_slide = wrong[wrong["split"] == "test"].loc["moran_error"].set_index("slide")
    assert by_slide.loc["", "value"] == by_slide.loc["D", "value"]
    assert by_slide.loc["D", "n"] == 7


def test_masks_of_another_expression_are_refused(expression, masks, settings, training):
    other = expression[:, ::-1].copy()
    with pytest.raises(ContractError, match="masks belong to other spots or genes"):
        run_completer("zero", other, masks, settings, training)


def test_an_unknown_completer_is_refused_with_the_nearest(expression, settings, training):
    masks = Masks.draw(expression, settings)
    with pytest.raises(ConfigurationError, match="did you mean 'additive'"):
        run_completer("aditive", expression, masks, settings, training)


def test_every_stage_says_how_long_it_took(expression, masks, settings, training, caplog):
    with caplog.at_level(logging.INFO):
        run_completer("additive", expression, masks, settings, training)
    stages = [line for line in caplog.messages if line.startswith("TOY additive")]
    assert len(stages) == 5
    assert all(line.endswith(" s") for line in stages)
