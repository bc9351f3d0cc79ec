import numpy as np
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.expression.combat import fit_combat
from spared_benchmark.published.combat import published_combat


def corrected(values, batch):
    fit = published_combat(values, batch)
    place = np.searchsorted(fit.batches, batch)
    return fit.scale[place] * values + fit.shift[place]


def made(sizes=(20, 15, 30), genes=8, seed=0):
    rng = np.random.default_rng(seed)
    batch = np.repeat(np.arange(len(sizes)), sizes)
    shift, spread = rng.normal(0, 1, (len(sizes), genes)), rng.uniform(0.5, 2, (len(sizes), genes))
    return rng.normal(6 + shift[batch], spread[batch]), batch


@pytest.mark.parametrize(("layer", "source"), [("c_log1p", "log1p"), ("c_d_log1p", "d_log1p_new")])
def test_equals_our_loops(own, layer, source):
    values = own[f"hex_{source}"][:, own["hex_ranked"]]
    result = corrected(values, own["hex_slide"].astype(int))
    np.testing.assert_allclose(result, own[f"hex_{layer}"], rtol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize(("layer", "source"), [("c_log1p", "log1p"), ("c_d_log1p", "d_log1p_new")])
def test_is_the_published_one(chain, layer, source):
    values = chain[source][:, chain["first"] :] if source == "log1p" else chain[source]
    batch = np.unique(chain["slide_id"], return_inverse=True)[1]
    np.testing.assert_allclose(corrected(values, batch), chain[layer], rtol=1e-6)
    # The published equations give something else, so the comparison above can fail.
    equations = fit_combat(values, batch).apply(values, batch)
    assert np.abs(equations - chain[layer]).max() > 0.5


@pytest.mark.real
def test_refuses_what_the_published_package_turns_into_nan(golden):
    with np.load(golden / "hex_chain.npz") as file:
        whole = dict(file)
    batch = np.unique(whole["slide_id"], return_inverse=True)[1]
    for layer, source in (("c_log1p", "log1p"), ("c_d_log1p", "allgenes_d_log1p_new")):
        assert np.isnan(whole[f"allgenes_{layer}"]).all()
        with pytest.raises(InputError, match=r"1 of 24 genes are constant.*gene GENE0000.*NaN"):
            published_combat(whole[source], batch, whole["genes"].tolist())


def test_every_gene_depends_on_the_first():
    values, batch = made()
    turned = corrected(values[:, ::-1], batch)[:, ::-1]
    assert np.abs(turned - corrected(values, batch)).max() > 0.01
    # Behind the first, order does not matter.
    order = [0, 5, 3, 1, 7, 2, 4, 6]
    np.testing.assert_allclose(
        corrected(values[:, order], batch), corrected(values, batch)[:, order]
    )


def test_the_map_is_affine_and_kept():
    values, batch = made()
    fit = published_combat(values, batch + 4)
    assert fit.batches.tolist() == [4, 5, 6]
    assert fit.skipped == ""
    applied = fit.apply(values, batch + 4)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, corrected(values, batch), rtol=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_stops_where_the_published_iteration_stops(script, seed):
    # Tiny batches take several rounds, and some end only because negative changes do not count.
    values, batch = made(sizes=(3, 5, 4), genes=5, seed=seed)
    expected = script.combat(values.tolist(), batch.tolist())
    np.testing.assert_allclose(corrected(values, batch), expected, rtol=1e-9)


def test_bad_inputs_say_what_is_wrong():
    values, batch = made()
    with pytest.raises(InputError, match="batch 0: 65 spots"):
        published_combat(values, np.zeros(65, int))
    with pytest.raises(
        InputError, match="at least two spots each; found batch 0: 64 spots, batch 1: 1"
    ):
        published_combat(values, (np.arange(65) == 0).astype(int))
    holes = values.copy()
    holes[3, 2] = np.nan
    with pytest.raises(InputError, match="found 1 of 520 NaN"):
        published_combat(holes, batch)
    flat = values.copy()
    flat[:, 2] = batch
    flat[:, 5] = 1
    with pytest.raises(InputError, match="gene at position 2, gene at position 5"):
        published_combat(flat, batch)
    same = np.repeat(values[:, :1], 3, axis=1)
    with pytest.raises(InputError, match="all 3 genes have one variance"):
        published_combat(same, batch)
