"""The regime in which molecules, not entries, are hidden."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.regimes import molecular
from spared_benchmark.completion.regimes.molecular import Molecules
from spared_benchmark.completion.setting import Setting
from spared_benchmark.errors import ContractError
from spared_benchmark.study import CompletionSettings

SETTINGS = CompletionSettings(regimes={"entries": (0.3,), "molecular": (0.5,)}, assays=2)
CONTEXT = 5


def make_context(expression, seed=3):
    """Counts of further genes; the depths of the expression then hold these and 5 molecules."""
    generator = np.random.default_rng(seed)
    counts = generator.poisson(2.0, (expression.n_obs, CONTEXT)).astype(np.float32)
    lengths = generator.integers(800, 4000, CONTEXT).astype(float)
    var = pd.DataFrame({"gene_length": lengths}, index=[f"other_{i}" for i in range(CONTEXT)])
    context = anndata.AnnData(obs=expression.obs[["slide"]].copy(), var=var)
    context.layers["counts"] = counts
    expression.obs["library_size"] += counts.sum(axis=1)
    expression.obs["tpm_denominator"] += (counts / lengths).sum(axis=1)
    return context


@pytest.fixture
def cohort(expression):
    return expression, make_context(expression)


@pytest.fixture
def halves(cohort):
    return Molecules.of(*cohort).split(np.random.default_rng(0))


@pytest.fixture
def assay(cohort):
    expression, context = cohort
    masks = Masks.draw(expression, SETTINGS, context)
    return next(Setting(expression, masks, "log_tpm").assays("molecular", 0.5))


def scored(expression):
    return expression.obs["split"].isin(["val", "test"]).to_numpy()


def test_the_halves_add_up_to_all_molecules(cohort, halves):
    expression, _ = cohort
    rows = scored(expression)
    first = halves.first.toarray()
    assert halves.first.dtype == np.uint16
    assert (first[rows] <= expression.layers["counts"][rows]).all()
    assert first[~rows].sum() == 0
    for name in ("library_size", "tpm_denominator"):
        both = getattr(halves, name)
        np.testing.assert_allclose(both.sum(axis=0)[rows], expression.obs[name][rows])
        assert (both[:, rows] >= 0).all()
        assert np.isnan(both[:, ~rows]).all()
    assert np.array_equal(halves.library_size[:, rows], np.floor(halves.library_size[:, rows]))


def test_each_molecule_goes_either_way_with_even_odds(cohort):
    expression, context = cohort
    rows = scored(expression)
    molecules = Molecules.of(expression, context)
    generator = np.random.default_rng(1)
    drawn = np.stack([molecules.split(generator).first.toarray()[rows] for _ in range(200)])
    counts = expression.layers["counts"][rows]
    many = counts >= 4
    np.testing.assert_allclose(drawn.mean(axis=0)[many], counts[many] / 2, rtol=0.35)
    ratio = drawn.var(axis=0)[many] / (counts[many] / 4)
    assert ratio.mean() == pytest.approx(1, abs=0.03)


def test_the_depths_count_the_genes_that_are_not_chosen(cohort, halves):
    """Depth by depth: chosen and context genes exactly, the molecules beyond as one count."""
    expression, context = cohort
    rows = scored(expression)
    chosen = halves.first.toarray()[rows]
    rest = halves.library_size[0, rows] - chosen.sum(axis=1)
    possible = context.layers["counts"][rows].sum(axis=1) + 5
    assert ((rest >= 0) & (rest <= possible)).all()
    assert rest.sum() / possible.sum() == pytest.approx(0.5, abs=0.05)
    lengths = expression.var["gene_length"].to_numpy()
    left = halves.tpm_denominator[0, rows] - (chosen / lengths).sum(axis=1)
    assert (left > 0).any()


def test_the_depths_do_not_depend_on_which_genes_were_chosen(cohort):
    """Splitting a spot's library in chosen and other genes leaves its half the same on average."""
    expression, context = cohort
    rows = scored(expression)
    means = []
    for further in (context, None):
        molecules = Molecules.of(expression, further)
        generator = np.random.default_rng(2)
        drawn = [molecules.split(generator) for _ in range(100)]
        means.append(np.mean([half.tpm_denominator[0, rows] for half in drawn], axis=0))
    whole = expression.obs["tpm_denominator"].to_numpy()[rows]
    for mean in means:
        np.testing.assert_allclose(mean, whole / 2, rtol=0.2)
        assert mean.sum() == pytest.approx(whole.sum() / 2, rel=0.01)


def test_scored_is_what_is_only_in_the_second_half(cohort, halves):
    expression, _ = cohort
    hidden = molecular.hidden(Molecules.of(*cohort), halves)
    first, counts = halves.first.toarray(), expression.layers["counts"]
    rows = scored(expression)
    expected = (first == 0) & (counts - first >= 1) & rows[:, None]
    assert np.array_equal(hidden, expected)
    assert hidden.any()


def test_input_and_truth_have_their_own_denominators(cohort, assay):
    expression, context = cohort
    masks = Masks.draw(expression, SETTINGS, context)
    half, lengths = masks.halves[0], expression.var["gene_length"].to_numpy()
    first, counts = half.first.toarray(), expression.layers["counts"]
    spot, gene = np.argwhere(assay.visible)[11]
    tpm = 1e6 * first[spot, gene] / lengths[gene] / half.tpm_denominator[0, spot]
    assert assay.values[spot, gene] == pytest.approx(np.log2(1 + tpm))
    spot, gene = np.argwhere(assay.hidden)[11]
    assert first[spot, gene] == 0
    tpm = 1e6 * counts[spot, gene] / lengths[gene] / half.tpm_denominator[1, spot]
    assert assay.truth[spot, gene] == pytest.approx(np.log2(1 + tpm))
    assert np.array_equal(assay.visible, first > 0)
    assert not (assay.visible & assay.hidden).any()


def test_nothing_of_the_second_half_can_be_seen(cohort, assay):
    """Molecules added to the second half alone leave all that is seen as it is."""
    expression, context = cohort
    masks = Masks.draw(expression, SETTINGS, context)
    changed = expression.copy()
    changed.layers["counts"] = expression.layers["counts"] + 3 * assay.hidden
    after = next(Setting(changed, masks, "log_tpm").assays("molecular", 0.5))
    assert np.array_equal(after.values, assay.values)
    assert np.array_equal(after.visible, assay.visible)
    assert np.array_equal(after.library_size, assay.library_size, equal_nan=True)
    assert not np.array_equal(after.truth, assay.truth)


def test_completers_are_told_the_depth_of_the_first_half_alone(cohort):
    expression, context = cohort
    masks = Masks.draw(expression, SETTINGS, context)
    setting = Setting(expression, masks, "log_tpm")
    rows = scored(expression)
    for assay in setting.assays("molecular", 0.5):
        told = masks.halves[assay.number].library_size[0]
        assert np.array_equal(assay.library_size[rows], told[rows])
        whole = expression.obs["library_size"].to_numpy()
        assert (assay.library_size[rows] < whole[rows]).any()

        class Listener:
            def complete(self, seen):
                self.heard = [*getattr(self, "heard", []), *seen.library_size]
                return seen.values

        listener = Listener()
        setting.completed_in(assay, listener)
        shown = assay.visible.any(axis=1)[rows]
        assert np.array_equal(np.array(listener.heard)[shown], told[rows][shown])


def test_the_halves_of_poisson_counts_are_independent(expression):
    generator = np.random.default_rng(0)
    rows = scored(expression)
    together = []
    for _ in range(30):
        counts = generator.poisson(4.0, expression.shape).astype(np.float32)
        expression.layers["counts"] = counts
        expression.obs["library_size"] = counts.sum(axis=1)
        molecules = Molecules.of(expression, None)
        first = molecules.split(generator).first.toarray()[rows].astype(float)
        together.append(np.corrcoef(first.ravel(), (counts[rows] - first).ravel())[0, 1])
    assert np.mean(together) == pytest.approx(0, abs=0.02)


def test_without_whole_counts_the_regime_is_left_out(cohort, caplog):
    expression, context = cohort
    expression.layers["counts"] = expression.layers["counts"] * np.float32(0.7)
    masks = Masks.draw(expression, SETTINGS, context)
    assert dict(masks.regimes) == {"entries": (0.3,)}
    assert masks.halves == {}
    assert "TOY: counts are not whole; molecular is left out" in caplog.text


def test_the_context_of_other_spots_is_refused(cohort):
    expression, context = cohort
    with pytest.raises(ContractError, match="the context has 143 spots, the expression 144"):
        Masks.draw(expression, SETTINGS, context[1:])
    with pytest.raises(ContractError, match="or their names differ"):
        Masks.draw(expression, SETTINGS, context[::-1])
