"""The true expression of simulated slides: its values, its scores, and who does not see it."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from spared_benchmark.completion.controls import completion_controls
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.protocol import run_completer
from spared_benchmark.completion.raw_slide import Recipe
from spared_benchmark.completion.score_tables import COLUMNS
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.truth import TRUE_METRICS, score_truth, true_expression
from spared_benchmark.errors import ContractError
from spared_benchmark.expression.process import process
from spared_benchmark.simulation import simulate_slide, simulated_gene_lengths
from spared_benchmark.study import Cohort, CompletionSettings, ProcessingSettings
from spared_benchmark.training.trials import TrialStore

CODE = "SIM"
SLIDES = {"A": "train", "B": "val"}


def cohort(per_spot=300):
    return Cohort.model_validate(
        {
            "title": "x",
            "organism": "simulated",
            "tissue": "x",
            "lattice": "hexagonal",
            "format": "space_ranger",
            "licence": "CC0",
            "citation": "x",
            "genes": 12,
            # The most abundant genes do not pass, so that denominators are of some genes only.
            "filter": {"spot_counts": [0, 1e12], "gene_counts": [0, 6 * per_spot]},
            "simulation": {"spots": 60, "genes": 40, "spot_diameter_px": 8},
            "slides": {name: {"subject": name, "split": split} for name, split in SLIDES.items()},
        }
    )


@pytest.fixture(scope="module")
def made():
    return {name: simulate_slide(cohort(), CODE, name) for name in SLIDES}


@pytest.fixture(scope="module")
def truths(made):
    return {name: (lambda slide=slide: slide.truth) for name, slide in made.items()}


def counted(made, per_spot):
    """The cohort's expression when each spot holds so many molecules, drawn by Poisson."""
    generator = np.random.default_rng(0)
    slides = {}
    for name, slide in made.items():
        adata = slide.raw.adata.copy()
        share = slide.truth.layers["share"].astype(np.float64)
        adata.X = sparse.csr_matrix(generator.poisson(share * per_spot).astype(np.int32))
        slides[name] = lambda adata=adata: adata
    lengths = simulated_gene_lengths(cohort(), CODE)
    done = process(slides, cohort(per_spot), CODE, "inductive", ProcessingSettings(), lengths)
    return done.expression


def error(made, truths, per_spot):
    expression = counted(made, per_spot)
    return np.square(expression.layers["log_tpm"] - true_expression(expression, truths)).mean()


def test_deep_counts_converge_to_the_true_values(made, truths):
    deep = counted(made, 1e8)
    assert 12 < len(Recipe.of(deep).genes) < 40
    assert error(made, truths, 1e6) > 30 * error(made, truths, 1e8)
    assert error(made, truths, 1e8) < 1e-4
    # Over all genes, as the simulation tells it, every value lies lower.
    rows = deep.obs["slide"] == "A"
    over_all = made["A"].truth[:, deep.var_names].layers["log_tpm_true"]
    assert (deep.layers["log_tpm"][rows] - over_all).mean() > 0.2


def tiny(genes=("b", "a")):
    """Two spots of slide S and one of T; d does not pass the filter, c is not chosen."""
    names = ["S_1", "S_2", "T_1"]
    obs = pd.DataFrame({"slide": ["S", "S", "T"]}, index=names)
    expression = anndata.AnnData(obs=obs, var=pd.DataFrame(index=list(genes)))
    told = {"gene": ["a", "b", "c"], "column": ["a.1", "b.1", "c.1"]}
    expression.uns["filtered_genes"] = {**told, "gene_length": np.array([1000.0, 500.0, 2000.0])}
    expression.uns["filter"] = {"spot_counts": np.array([0.0, 1e9])}
    columns = ["c.1", "d.1", "b.1", "a.1"]
    # By spot; c, d, b, a. T's barcode is that of a spot of S.
    share = {"S": {"2": [0, 0.5, 0.25, 0.25], "1": [0.2, 0.5, 0.1, 0.2]}, "T": {"1": [0, 0, 0, 1]}}
    slides = {}
    for name, by_spot in share.items():
        truth = anndata.AnnData(
            obs=pd.DataFrame(index=list(by_spot)), var=pd.DataFrame(index=columns)
        )
        truth.layers["share"] = np.array(list(by_spot.values()), dtype=np.float32)
        slides[name] = lambda truth=truth: truth
    return expression, slides


def test_true_values_by_hand():
    # Share by length, relative to a, b and c: S_1 2, 2 and 1 of 5; S_2 1 and 2 of 3; T_1 a alone.
    expected = 1 + 1e6 * np.array([[2 / 5, 2 / 5], [2 / 3, 1 / 3], [0, 1]])
    np.testing.assert_allclose(true_expression(*tiny()), np.log2(expected), rtol=1e-6)
    swapped = true_expression(*tiny(("a", "b")))
    np.testing.assert_allclose(swapped, np.log2(expected)[:, ::-1], rtol=1e-6)


def test_what_the_truth_lacks_is_named():
    expression, slides = tiny()
    with pytest.raises(ContractError, match="no truth is given for slide T; there is S"):
        true_expression(expression, {"S": slides["S"]})
    with pytest.raises(ContractError, match=r"slide S lacks 1 .* 2 spots, the first is 2;"):
        true_expression(expression, {**slides, "S": lambda: slides["S"]()[["1"]]})
    with pytest.raises(ContractError, match=r"slide T lacks 1 .* 3 genes, the first is b\.1;"):
        true_expression(expression, {**slides, "T": lambda: slides["T"]()[:, ["a.1", "c.1"]]})
    del expression.uns["filtered_genes"]
    with pytest.raises(ContractError, match="filtered_genes"):
        true_expression(expression, slides)


@pytest.fixture
def noiseless(expression):
    generator = np.random.default_rng(7)
    return generator.normal(9, 2, expression.shape).astype(np.float32)


def value(table, **wanted):
    for column, content in wanted.items():
        table = table[table[column] == content]
    assert len(table) == 1
    return table["value"].iloc[0], table["n"].iloc[0]


def test_scores_by_hand(expression, masks, noiseless):
    setting = Setting(expression, masks, "log_tpm", noiseless)
    assay = next(setting.assays("entries", 0.3))
    completed = np.random.default_rng(3).normal(9, 2, expression.shape).astype(np.float32)
    table = score_truth(assay, completed, noiseless, setting.split, setting.slide)
    assert set(table["metric"]) == set(TRUE_METRICS)
    assert set(table["split"]) == {"val", "test"}
    on_test = setting.slide == "D"
    errors = np.square(completed - noiseless)[on_test]
    hidden, measured = assay.hidden[on_test], setting.measured[on_test]
    for metric, entries in (("true_mse", hidden), ("true_mse_missing", ~measured)):
        for slide in ("D", ""):
            found = value(table, metric=metric, split="test", slide=slide)
            assert found == (pytest.approx(errors[entries].mean(), rel=1e-5), entries.sum())
    unseen = ~measured | hidden
    by_gene = [
        np.corrcoef(completed[on_test][entries, gene], noiseless[on_test][entries, gene])[0, 1]
        for gene, entries in enumerate(unseen.T)
    ]
    found = value(table, metric="true_pcc_gene", split="test", slide="")
    assert found == (pytest.approx(np.mean(by_gene), abs=1e-5), len(by_gene))


def test_a_completer_without_fault_has_no_error_and_an_offset_is_no_lack_of_correlation(
    expression, masks, noiseless
):
    setting = Setting(expression, masks, "log_tpm", noiseless)
    assay = next(setting.assays("entries", 0.3))
    for offset in (0, 2):
        table = pd.concat(setting.against_truth(noiseless + np.float32(offset), assay))
        for metric in TRUE_METRICS:
            found, _ = value(table, metric=metric, split="test", slide="")
            expected = 1 if metric == "true_pcc_gene" else offset**2
            assert found == pytest.approx(expected, abs=1e-4)


def test_the_order_of_spots_changes_no_score(expression, masks, noiseless):
    setting = Setting(expression, masks, "log_tpm", noiseless)
    assay = next(setting.assays("entries", 0.3))
    completed = np.random.default_rng(3).normal(9, 2, expression.shape).astype(np.float32)
    order = np.random.default_rng(4).permutation(len(completed))
    turned = replace(
        assay,
        **{name: getattr(assay, name)[order] for name in ("hidden", "visible", "values", "truth")},
    )
    parts = (array[order] for array in (completed, noiseless, setting.split, setting.slide))
    keys = ["split", "slide", "metric"]
    before, after = (
        table.set_index(keys)["value"].sort_index()
        for table in (
            score_truth(assay, completed, noiseless, setting.split, setting.slide),
            score_truth(turned, *parts),
        )
    )
    pd.testing.assert_series_equal(before, after, rtol=1e-6)


@pytest.mark.parametrize("name", ["additive", "ppca", "gene_mae", "spackle"])
def test_nothing_of_the_truth_reaches_a_completer(
    name, expression, masks, settings, training, noiseless, tmp_path
):
    sizes = settings.model_copy(update={"sizes": {name: "tiny"}})
    runs = []
    for place, truth in enumerate((None, noiseless, noiseless[::-1] + 5)):
        own = replace(training, trials=TrialStore(tmp_path / str(place)))
        runs.append(run_completer(name, expression, masks, sizes, own, truth))
    plain, *others = runs
    for other in others:
        layers = (run.completed.layers[name] for run in (plain, other))
        np.testing.assert_array_equal(*layers)
        np.testing.assert_array_equal(plain.examples, other.examples)
        for part, content in plain.state.items():
            np.testing.assert_array_equal(content, other.state[part])
        further = other.scores["metric"].isin(TRUE_METRICS)
        assert further.any()
        costs = ("seconds", "memory_mb")
        kept = other.scores[~further & ~other.scores["metric"].isin(costs)]
        expected = plain.scores[~plain.scores["metric"].isin(costs)]
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), expected.reset_index(drop=True))


def test_only_values_of_entries_are_compared_with_the_truth(expression, training, noiseless):
    drawn = {"entries": (0.3,), "spots": (0.3,), "molecular": (0.5,)}
    settings = CompletionSettings(assays=1, regimes=drawn)
    masks = Masks.draw(expression, settings)
    scores = run_completer("additive", expression, masks, settings, training, noiseless).scores
    controls = completion_controls(expression, masks, settings, noiseless)
    table = pd.concat([scores, controls], ignore_index=True)
    assert not table.duplicated(
        [column for column in COLUMNS if column not in ("value", "n")]
    ).any()
    true = table[table["metric"].isin(TRUE_METRICS)]
    assert set(true["space"]) == {"log_tpm"}
    assert set(true["regime"]) == {"entries", "spots"}
    assert set(true["completer"]) == {"additive", "one_count", "measured"}


def test_the_measured_control_is_the_noise_of_hidden_values(expression, masks, settings, noiseless):
    plain = completion_controls(expression, masks, settings)
    assert not plain["metric"].isin(TRUE_METRICS).any()
    table = completion_controls(expression, masks, settings, noiseless)
    own = table[table["completer"] == "measured"]
    assert (set(own["metric"]), set(own["kind"])) == ({"true_mse"}, {"control"})
    hidden = masks.reported(0)[108:]
    errors = (expression.layers["log_tpm"] - noiseless)[108:][hidden]
    found = value(own, split="test", slide="", assay=0)
    assert found == (pytest.approx(np.square(errors).mean(), rel=1e-5), hidden.sum())
