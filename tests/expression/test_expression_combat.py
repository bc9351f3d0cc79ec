import logging

import numpy as np
import pytest

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.expression.combat import fit_combat, fit_reference, unseen_batch
from spared_benchmark.expression.empirical_bayes import affine, moments, posterior, reference_of


def made(sizes=(60, 45, 80), genes=40, seed=0):
    """Values of batches that differ by gene in mean and in spread."""
    rng = np.random.default_rng(seed)
    batch = np.repeat(np.arange(len(sizes)), sizes)
    shift = rng.normal(0, 0.8, (len(sizes), genes))
    spread = rng.uniform(0.6, 1.6, (len(sizes), genes))
    noise = rng.normal(size=(batch.size, genes))
    values = rng.uniform(4, 10, genes) + shift[batch] + spread[batch] * noise
    return values.astype(np.float32), batch


def own_equations(values, batch):
    summed = [moments(values[batch == code], None) for code in np.unique(batch)]
    reference = reference_of(summed)
    maps = [affine(*posterior(one, reference), reference) for one in summed]
    scale, shift = (np.stack(part)[batch] for part in zip(*maps, strict=True))
    return scale * values + shift


def test_transductive_equals_the_package_and_our_own_equations():
    from pycombat import Combat

    values, batch = made()
    corrected = fit_combat(values, batch).apply(values, batch)
    package = Combat(conv=1e-8).fit_transform(values.astype(np.float64), batch)
    assert np.abs(corrected - package).max() < 1e-5
    assert np.abs(own_equations(values.astype(np.float64), batch) - package).max() < 1e-6


def test_transductive_agrees_with_scanpy():
    import scanpy
    from anndata import AnnData

    values, batch = made()
    adata = AnnData(values.astype(np.float64))
    adata.obs["batch"] = batch.astype(str)
    theirs = scanpy.pp.combat(adata, key="batch", inplace=False)
    assert np.abs(fit_combat(values, batch).apply(values, batch) - theirs).max() < 0.03


@pytest.mark.parametrize("inductive", [False, True])
def test_batches_come_together_and_the_map_reproduces_the_values(inductive):
    values, batch = made()
    fit = fit_combat(values, batch, train=batch < 2 if inductive else None)
    corrected = fit.apply(values, batch)
    assert corrected.dtype == np.float32
    assert corrected == pytest.approx(fit.scale[batch] * values + fit.shift[batch], abs=1e-5)

    def apart(matrix):
        means = np.stack([matrix[batch == code].mean(axis=0) for code in range(3)])
        return means.std(axis=0).mean()

    assert apart(corrected) < 0.2 * apart(values)


def test_constant_genes_stay_and_do_not_spoil_the_others():
    values, batch = made(genes=10)
    rest = fit_combat(values[:, 2:], batch).apply(values[:, 2:], batch)
    values[:, 0] = 3.0
    values[:, 1] = batch
    corrected = fit_combat(values, batch).apply(values, batch)
    assert np.array_equal(corrected[:, :2], values[:, :2])
    assert corrected[:, 2:] == pytest.approx(rest, abs=1e-5)


@pytest.mark.parametrize(
    ("sizes", "genes", "reason"),
    [((30,), 5, "one batch"), ((30, 1), 5, "single spot"), ((30, 20), 1, "1 genes vary")],
)
@pytest.mark.parametrize("inductive", [False, True])
def test_what_cannot_be_corrected_stays_with_the_reason(sizes, genes, reason, inductive, caplog):
    values, batch = made(sizes=sizes, genes=genes)
    with caplog.at_level(logging.WARNING):
        fit = fit_combat(values, batch, train=np.ones(batch.size, bool) if inductive else None)
    assert np.array_equal(fit.apply(values, batch), values)
    if not (inductive and reason == "one batch"):
        assert reason in fit.skipped
        assert reason in caplog.text


def test_bad_inputs_say_what_is_wrong():
    values, batch = made()
    with pytest.raises(InputError, match="found 1 of"):
        fit_combat(
            np.where(np.arange(values.size).reshape(values.shape) == 7, np.nan, values), batch
        )
    with pytest.raises(InputError, match="no spot belongs to a train slide"):
        fit_combat(values, batch, train=np.zeros(batch.size, bool))
    with pytest.raises(InputError, match="give train with visible"):
        fit_combat(values, batch, visible=values > 0)
    with pytest.raises(ContractError, match=r"batches \[7\]; it knows \[0, 1, 2\]"):
        fit_combat(values, batch).apply(values, np.full(batch.size, 7))


class TestInductive:
    def test_nothing_fitted_on_train_changes_with_the_other_batches(self):
        values, batch = made()
        train = batch < 2
        first = fit_combat(values, batch, train)
        values[~train] = np.random.default_rng(9).normal(50, 9, values[~train].shape)
        second = fit_combat(values, batch, train)
        assert np.array_equal(first.scale[:2], second.scale[:2])
        assert np.array_equal(first.shift[:2], second.shift[:2])
        assert not np.array_equal(first.shift[2], second.shift[2])

    def test_train_batches_alone_are_corrected_as_by_the_transductive_fit(self):
        values, batch = made(sizes=(60, 45))
        inductive = fit_combat(values, batch, np.ones(batch.size, bool))
        transductive = fit_combat(values, batch)
        assert inductive.scale == pytest.approx(transductive.scale, abs=1e-6)
        assert inductive.shift == pytest.approx(transductive.shift, abs=1e-5)

    def test_a_single_train_batch_is_the_reference_and_stays(self):
        values, batch = made(sizes=(300, 300))
        fit = fit_combat(values, batch, batch == 0)
        corrected = fit.apply(values, batch)
        assert np.array_equal(corrected[batch == 0], values[batch == 0])
        gap = np.abs(corrected[batch == 1].mean(axis=0) - values[batch == 0].mean(axis=0))
        assert gap.max() < 0.05
        spread = corrected[batch == 1].std(axis=0) / values[batch == 0].std(axis=0)
        assert spread == pytest.approx(np.ones(40), abs=0.05)

    def test_a_slide_of_a_batch_seen_in_train_keeps_what_train_says(self):
        values, batch = made(sizes=(60, 60))
        train = np.arange(120) % 2 == 0
        alone = fit_combat(values[train], batch[train], np.ones(60, bool))
        both = fit_combat(values, batch, train)
        assert np.array_equal(alone.scale, both.scale)
        assert np.array_equal(alone.shift, both.shift)

    def test_unseen_batch_equals_the_fit(self):
        values, batch = made()
        fit = fit_combat(values, batch, batch < 2)
        reference = fit_reference(values[batch < 2], batch[batch < 2])
        scale, shift = unseen_batch(values[batch == 2], None, reference)
        assert np.array_equal(scale, fit.scale[2])
        assert np.array_equal(shift, fit.shift[2])

    def test_hidden_entries_are_never_read(self):
        values, batch = made()
        reference = fit_reference(values[batch < 2], batch[batch < 2])
        slide = values[batch == 2]
        visible = np.random.default_rng(1).random(slide.shape) < 0.6
        first = unseen_batch(slide, visible, reference)
        second = unseen_batch(np.where(visible, slide, np.nan), visible, reference)
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])
        whole = unseen_batch(slide, None, reference)
        assert np.abs(first[0] - whole[0]).max() < 0.3

    def test_genes_without_visible_entries_take_the_batch_priors(self):
        values, batch = made()
        reference = fit_reference(values[batch < 2], batch[batch < 2])
        slide = values[batch == 2] + 5
        visible = np.ones(slide.shape, bool)
        visible[:, 0] = False
        scale, shift = unseen_batch(slide, visible, reference)
        # The other genes all moved up by about 5, so this one is taken to have moved up too.
        middle = reference.mean[0]
        assert scale[0] * (middle + 5) + shift[0] == pytest.approx(middle, abs=1.5)

    def test_too_few_visible_entries_leave_the_batch_as_it_is(self, caplog):
        values, batch = made()
        reference = fit_reference(values, batch)
        slide = values[batch == 2]
        with caplog.at_level(logging.WARNING):
            scale, shift = unseen_batch(slide, np.zeros(slide.shape, bool), reference)
        assert "as it is" in caplog.text
        assert (scale == 1).all()
        assert (shift == 0).all()
        fit = fit_combat(values, np.where(np.arange(batch.size) == 184, 9, batch), batch < 2)
        assert fit.skipped == "batches [9] are too small and stay as they are"
        assert (fit.scale[-1] == 1).all()

    def test_a_masked_fit_reads_visible_entries_only(self):
        values, batch = made()
        visible = np.random.default_rng(2).random(values.shape) < 0.7
        first = fit_combat(values, batch, batch < 2, visible)
        second = fit_combat(np.where(visible, values, np.nan), batch, batch < 2, visible)
        assert np.array_equal(first.scale, second.scale)
        assert np.array_equal(first.shift, second.shift)
