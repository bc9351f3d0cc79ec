"""Variants of completers: a name of their own, and what is shown beside the chosen genes."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from spared_benchmark.completion import completers
from spared_benchmark.completion.assay import of_entries
from spared_benchmark.completion.beside import Beside
from spared_benchmark.completion.library import CohortCompleter, load_completer
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.protocol import describe, restored, run_completer
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.visible import Visible
from spared_benchmark.errors import ConfigurationError, ContractError
from spared_benchmark.study import Variant

CPU = torch.device("cpu")


@pytest.fixture
def context(expression):
    """Five more genes of the same spots: those of the chosen ones, at other spots of the slide."""
    generator = np.random.default_rng(9)
    order = np.concatenate([36 * slide + generator.permutation(36) for slide in range(4)])
    names = ("log_tpm", "measured", "median", "combat")
    layers = {name: expression.layers[name][order, :5].copy() for name in names}
    var = pd.DataFrame(index=[f"further_{i}" for i in range(5)])
    return anndata.AnnData(obs=expression.obs[["slide", "split"]].copy(), var=var, layers=layers)


@pytest.fixture
def image(expression):
    """Three features of each spot, one of them the same everywhere."""
    drawn = np.random.default_rng(4).normal(50, 9, (expression.n_obs, 3)).astype(np.float32)
    drawn[:, 2] = 7.0
    return drawn


def beside(expression, **shown):
    return Beside(tuple(expression.obs_names), 42, **shown)


def fit(setting, training, name="spackle", **settings):
    completer = completers.create(name, size="tiny", **settings)
    completer.fit(setting.train(), setting.selection(), training)
    return completer


def errors(scores, **wanted):
    rows = scores[scores["metric"] == "mse"]
    for column, content in wanted.items():
        rows = rows[rows[column] == content]
    return rows["value"].to_numpy()


# --- the name


def test_a_variant_is_scored_by_its_own_name_with_its_own_settings(
    expression, masks, settings, training
):
    variant = Variant(of="additive", settings={"residual_weight": 1.0})
    inputs = (expression, masks, settings, training)
    plain, changed = (
        run_completer("additive", *inputs),
        run_completer("additive_bold", *inputs, variant=variant),
    )
    assert set(changed.scores["completer"]) == {"additive_bold"}
    assert set(changed.scores["kind"]) == {"method"}
    assert list(changed.completed.layers) == ["additive_bold"]
    assert changed.completed.uns["completer"] == "additive_bold"
    card = json.loads(json.dumps(changed.card))
    assert (card["method"], card["variant"], card["label"]) == (
        *("additive", "additive_bold"),
        "additive_bold",
    )
    assert card["settings"]["residual_weight"] == 1.0
    assert "variant" not in plain.card
    assert (errors(plain.scores) != errors(changed.scores)).all()


def test_a_variant_that_changes_nothing_scores_as_what_it_is_of(
    expression, masks, settings, training
):
    inputs = (expression, masks, settings, training)
    same = run_completer("control_too", *inputs, variant=Variant(of="gene_mean"))
    plain = run_completer("gene_mean", *inputs)
    assert set(same.scores["kind"]) == {"control"}
    assert np.array_equal(errors(same.scores), errors(plain.scores))


def test_the_papers_evaluation_of_a_variant_has_its_name(expression, masks, settings, training):
    variant = Variant(of="median", settings={"hops": 1})
    scores = run_completer("near", expression, masks, settings, training, variant=variant).scores
    assert set(scores["completer"]) == {"near", "near (paper evaluation)"}


def test_unknown_settings_of_a_variant_are_refused(expression, masks, settings, training):
    variant = Variant(of="additive", settings={"residual_wieght": 1.0})
    with pytest.raises(ConfigurationError, match="did you mean 'residual_weight'"):
        run_completer("x", expression, masks, settings, training, variant=variant)


def test_a_fitted_variant_is_restored_and_loaded_under_its_name(
    expression, masks, settings, training, tmp_path
):
    tiny = settings.model_copy(update={"sizes": {"near": "tiny"}, "spaces": ("log_tpm",)})
    variant = Variant(of="spackle", settings={"hops": 1, "pre_completion": "none"})
    done = run_completer("near", expression, masks, tiny, training, variant=variant)
    again = restored(done.card, done.state)
    assert (again.name, again.card.name) == ("near", "spackle")
    assert again.settings["hops"] == 1
    CohortCompleter(again).save(tmp_path / "saved")
    loaded = load_completer(tmp_path / "saved").complete(expression)
    np.testing.assert_allclose(
        loaded.layers["near"], done.completed.layers["near"], rtol=1e-5, atol=1e-5
    )


def test_the_table_of_trainings_names_the_variant():
    from spared_benchmark.reporting.training import training_table

    cards = [{"method": "spackle"}, {"method": "spackle", "variant": "near"}]
    assert list(training_table(cards, "TOY")["method"]) == ["spackle", "near"]


# --- pre-completion


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_without_pre_completion_missing_entries_are_zeros_everywhere(
    space, expression, masks, training
):
    setting = Setting(expression, masks, space)
    completer = completers.create("spackle", size="tiny", pre_completion="none")
    completer.bind(setting.train().genes, "hexagonal")
    data = completer._train_data(setting.train(), CPU)
    measured = expression.layers["measured"][:72]
    assert np.array_equal(data.complete.numpy(), np.where(measured, setting.truth[:72], 0))
    assert (data.complete.numpy()[~measured] == 0).all()
    assert (~measured).any()
    judged = completer._validation_data(setting.selection(), CPU)
    assert np.array_equal(judged.expression.numpy(), setting.selection().visible.values)


def test_with_medians_missing_entries_of_training_hold_them(expression, masks):
    setting = Setting(expression, masks, "combat")
    completer = completers.create("spackle", size="tiny", pre_completion="median")
    completer.bind(setting.train().genes, "hexagonal")
    data = completer._train_data(setting.train(), CPU)
    assert np.array_equal(data.complete.numpy(), expression.layers["combat"][:72])


def test_zeros_as_targets_draw_the_completion_towards_zero(expression, masks, training):
    """The cross of both switches: only zeros that count in the loss pull values down."""
    budget = training.budget.model_copy(
        update={"steps": 300, "learning_rates": (1e-2,), "batch_size": 72, "validate_every": 300}
    )
    setting, training = Setting(expression, masks, "log_tpm"), replace(training, budget=budget)
    hidden = masks.reported(0)
    means = {}
    for filled in ("median", "none"):
        for loss in ("complete", "measured"):
            own = fit(setting, training, pre_completion=filled, loss=loss, dropout=0.0)
            means[filled, loss] = setting.completed(own, hidden)[hidden].mean()
    others = [value for key, value in means.items() if key != ("none", "complete")]
    assert means["none", "complete"] < min(others) - 1


def test_an_unknown_pre_completion_is_refused():
    with pytest.raises(ConfigurationError, match=r"pre_completion is 'medain'.*'median'"):
        completers.create("spackle", pre_completion="medain")


# --- context genes


@pytest.fixture
def wide(expression, context):
    def of(space, masks):
        return Setting(expression, masks, space, beside=beside(expression, context=context))

    return of


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("space", ["log_tpm", "combat"])
@pytest.mark.parametrize("name", ["spackle", "ppca"])
def test_no_hidden_value_reaches_a_completion_through_the_context(
    name, space, published, expression, context, wide, masks, training
):
    if published and name == "ppca":
        pytest.skip("no such evaluation of it")
    setting = wide(space, masks)
    completer = fit(setting, training, name)
    assay = next(setting.assays("entries", 0.3))
    withheld = setting.beside.hidden(assay)
    before = setting.completed_in(assay, completer, published=published)
    expression.layers[space][assay.hidden] += 5
    context.layers[space][withheld] += 5
    again = wide(space, masks)
    assay = next(again.assays("entries", 0.3))
    after = again.completed_in(assay, completer, published=published)
    assert np.array_equal(before, after, equal_nan=True)
    # Not because the context were of no account: what is visible of it changes the completion.
    context.layers[space][context.layers["measured"] & ~withheld] += 5
    moved = wide(space, masks).completed_in(assay, completer, published=published)
    assert not np.array_equal(before, moved, equal_nan=True)


def test_fit_and_selection_see_no_entry_hidden_for_selection(
    expression, context, wide, masks, training
):
    setting = wide("log_tpm", masks)
    first = fit(setting, training)
    on_val = (setting.split == "val")[:, None]
    measured = setting.measured & on_val
    withheld = context.layers["measured"] & on_val
    withheld &= ~np.pad(setting.selection().visible.visible[:, 7:], ((72, 36), (0, 0)))
    assert withheld.any()
    context.layers["log_tpm"][withheld] += 3
    # Test slides reach neither.
    expression.layers["log_tpm"][108:] += expression.layers["measured"][108:]
    context.layers["log_tpm"][108:] += 1
    second = fit(wide("log_tpm", masks), training)
    assert measured.any()
    assert first.record["trials"][0]["trial"] == second.record["trials"][0]["trial"]


def hiding(expression, hidden, regime="entries", share=0.3, number=0):
    return of_entries(expression, "log_tpm", hidden, (regime, share, number))


def test_context_is_hidden_at_the_same_rate_of_its_own(expression, masks, context):
    shown = beside(expression, context=context)
    measured = context.layers["measured"]
    of_assay = masks.reported(0)

    def hidden(share, number=0):
        return shown.hidden(hiding(expression, of_assay, share=share, number=number))

    for share in (0.1, 0.3, 0.7):
        assert not hidden(share)[~measured].any()
        assert abs(hidden(share).sum() / measured.sum() - share) < 0.05
    assert (hidden(0.1) <= hidden(0.3)).all()
    assert not np.array_equal(hidden(0.3), hidden(0.3, 1))


@pytest.mark.parametrize("regime", ["spots", "blocks"])
def test_all_context_of_hidden_spots_is_hidden(expression, context, regime):
    of_spots = np.zeros(expression.shape, dtype=bool)
    of_spots[[80, 120]] = expression.layers["measured"][[80, 120]]
    hidden = beside(expression, context=context).hidden(hiding(expression, of_spots, regime))
    assert np.array_equal(hidden[[80, 120]], context.layers["measured"][[80, 120]])
    assert not np.delete(hidden, [80, 120], axis=0).any()


def test_low_values_of_the_context_are_hidden_more_often(expression, masks, context):
    # The rarer a gene on the train slides, the lower its values: a dropout curve that falls.
    level = np.arange(1, context.n_vars + 1)
    measured = np.random.default_rng(0).random(context.shape) < level / (context.n_vars + 1)
    context.layers["measured"] = measured
    context.layers["log_tpm"] = np.where(measured, level, 0).astype(np.float32)
    assay = hiding(expression, masks.reported(0), "low_values")
    hidden = beside(expression, context=context).hidden(assay)
    own = np.isin(expression.obs["split"], ("val", "test"))
    assert not hidden[~own].any()
    share = hidden[own].sum(axis=0) / measured[own].sum(axis=0)
    assert share[0] > share[-1]
    assert abs(hidden.sum() / measured[own].sum() - 0.3) < 0.1


def test_selection_judges_the_chosen_genes_alone(wide, masks, expression):
    plain = Setting(expression, masks, "log_tpm").selection()
    judged = wide("log_tpm", masks).selection()
    assert judged.visible.values.shape == (36, 12)
    assert judged.visible.genes[7:] == tuple(f"further_{i}" for i in range(5))
    assert np.array_equal(judged.hidden[:, :7], plain.hidden)
    assert np.array_equal(judged.truth[:, :7], plain.truth)
    assert not judged.hidden[:, 7:].any()


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_context_genes_are_inputs_and_targets(space, wide, masks, context):
    setting = wide(space, masks)
    train = setting.train()
    completer = completers.create("spackle", size="tiny")
    completer.bind(train.genes, "hexagonal")
    data = completer._train_data(train, CPU)
    assert data.complete.shape == (72, 12)
    finished = context.layers["combat"][:72]
    filled = median_completed(train, 4)[:, 7:] if space == "log_tpm" else finished
    assert np.array_equal(data.complete.numpy()[:, 7:], filled)
    assert (filled != 0).all()
    assert np.array_equal(data.measured.numpy()[:, 7:], context.layers["measured"][:72])


def test_the_chosen_genes_alone_are_scored_and_given_on(
    expression, context, masks, settings, training
):
    tiny = settings.model_copy(update={"sizes": {"more": "tiny"}})
    shown = beside(expression, context=context)
    variant = Variant(of="spackle", context=True)
    inputs = (expression, masks, tiny, training)
    done = run_completer("more", *inputs, variant=variant, beside=shown)
    rows = done.scores[(done.scores["metric"] == "mse") & (done.scores["slide"] == "")]
    rows = rows[(rows["split"] == "test") & (rows["assay"] == 1) & (rows["space"] == "log_tpm")]
    assert set(rows["n"]) == {masks.reported(1)[108:].sum()}
    assert list(done.completed.var_names) == list(expression.var_names)
    assert done.examples.shape == (masks.reported(0).sum(),)
    # Saved, it is a completer of all the genes that it was fitted on.
    assert restored(done.card, done.state).genes[7:] == tuple(context.var_names)
    # With nothing hidden, nothing of the context is.
    own = wide_visible(shown, expression, restored(done.card, done.state))
    np.testing.assert_allclose(own, done.completed.layers["more"][108:], rtol=1e-5, atol=1e-5)


def wide_visible(shown, expression, completer):
    rows = (expression.obs["slide"] == "D").to_numpy()
    given = Visible.of(expression, "log_tpm", expression.layers["measured"], rows=rows)
    everything = shown.shown(given, "log_tpm", rows, np.zeros((144, 5), dtype=bool))
    return completer.complete(everything)[:, :7]


def test_ways_of_hiding_without_a_counterpart_are_refused(expression, masks, context):
    shown = beside(expression, context=context)
    with pytest.raises(ContractError, match="found the regime 'gene_region'"):
        shown.hidden(hiding(expression, masks.reported(0), "gene_region"))


def test_a_variant_with_context_is_scored_where_context_can_be_hidden(expression, masks, context):
    drawn = replace(masks, regimes={"entries": (0.3,), "blocks": (0.3,), "molecular": (0.5,)})
    alone = Setting(expression, drawn, "log_tpm").drawings
    shown = beside(expression, context=context)
    wide = Setting(expression, drawn, "log_tpm", beside=shown).drawings
    assert wide == [("entries", 0.3), ("blocks", 0.3)]
    assert alone == [*wide, ("molecular", 0.5)]


def test_a_context_of_other_spots_is_refused(expression, context):
    with pytest.raises(ContractError, match="the context has 143 spots, the expression 144"):
        beside(expression, context=context[1:])
    with pytest.raises(ContractError, match="image features of 3 spots"):
        beside(expression, image=np.zeros((3, 2), dtype=np.float32))


# --- images


@pytest.fixture
def pictured(expression, masks, image):
    return Setting(expression, masks, "log_tpm", beside=beside(expression, image=image))


def test_images_are_inputs_beside_the_genes_and_no_targets(pictured, training, image):
    completer = fit(pictured, training)
    train = completer._train_data(pictured.train(), CPU)
    assert train.complete.shape == (72, 7)
    standardised = train.image.numpy()
    np.testing.assert_allclose(standardised[:, :2].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standardised[:, :2].std(axis=0), 1, atol=1e-4)
    assert (standardised[:, 2] == 0).all()
    assert completer.network.embed.in_features == 10
    assert completer.network.readout.out_features == 7


def test_another_image_gives_another_completion(expression, masks, pictured, training, image):
    completer = fit(pictured, training)
    hidden = masks.reported(0)
    before = pictured.completed(completer, hidden)
    other = replace(pictured, beside=beside(expression, image=image + image[::-1]))
    assert not np.array_equal(other.completed(completer, hidden), before, equal_nan=True)


def test_the_image_reaches_training(problem_with_image):
    problem, seen = problem_with_image
    problem.loss(torch.Generator().manual_seed(1))
    assert seen[0].shape[1] == 6
    members = problem.draw(torch.Generator().manual_seed(1)).members
    assert torch.equal(seen[0][:, 4:], problem.train.image[members[members >= 0]])


@pytest.fixture
def problem_with_image(monkeypatch):
    from spared_benchmark.completion.methods import _spackle_problem as module

    seen = []

    def spy(weights, given, layout, drop, products):
        seen.append(given)
        return torch.zeros(1, given.shape[0], 4)

    monkeypatch.setattr(module, "encode", spy)
    complete, spots = torch.ones(30, 4), torch.arange(30)
    members = torch.stack([spots, torch.where(spots > 3, spots - 1, -1)], dim=1)
    image = torch.arange(60.0).reshape(30, 2)
    train = module.TrainData(complete, complete > 0, members, torch.full((4,), 0.3), image)
    judged = module.ValidationData(complete, members, complete > 0, complete)
    network = module.SpackleNetwork(genes=4, width=8, ffn=8, layers=1, dropout=0.0, beside=2)
    return module.SpackleProblem(network, train, judged, batch_size=8), seen


def test_a_saved_variant_keeps_how_images_are_standardised(pictured, masks, training):
    completer = fit(pictured, training)
    again = restored(describe(completer), completer.state())
    hidden = masks.reported(0)
    np.testing.assert_allclose(
        pictured.completed(again, hidden), pictured.completed(completer, hidden), rtol=1e-5
    )


def test_without_the_images_of_its_fit_it_completes_nothing(
    expression, masks, pictured, training, image
):
    completer = fit(pictured, training)
    with pytest.raises(ContractError, match=r"fitted with 3 features .*; found 0"):
        Setting(expression, masks, "log_tpm").completed(completer, masks.reported(0))
    narrow = replace(pictured, beside=beside(expression, image=image[:, :2]))
    with pytest.raises(ContractError, match=r"fitted with 3 features .*; found 2"):
        narrow.completed(completer, masks.reported(0))


def test_visible_takes_one_row_of_features_per_spot(expression, masks):
    train = Setting(expression, masks, "log_tpm").train()
    with pytest.raises(ContractError, match=r"image has shape \(3, 2\)"):
        replace(train, image=np.zeros((3, 2), dtype=np.float32))
    pictured = replace(train, image=np.arange(144, dtype=np.float32).reshape(72, 2))
    assert np.array_equal(pictured.rows(np.array([5, 1])).image[:, 0], [10, 2])
    assert pictured.digest() != train.digest()


def test_features_follow_the_names_of_spots():
    from spared_benchmark.prediction.assemble import features_of_spots

    class Store:
        names = ("b", "a", "left out")

    obs = pd.DataFrame({"slide": ["S", "S"]}, index=["S_a", "S_b"])
    expression = anndata.AnnData(obs=obs)
    array = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = features_of_spots(expression, {"S": (Store(), array)})
    assert found.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    with pytest.raises(ContractError, match="no features for the slides S"):
        features_of_spots(expression, {"T": (Store(), array)})
