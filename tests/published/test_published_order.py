import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from spared_benchmark.cohort_settings import FilterSettings
from spared_benchmark.errors import InputError
from spared_benchmark.expression.filter import Tally, filter_genes, tally
from spared_benchmark.published.order import published_order, unstable_argsort

TIES = ("many", "short", "falling")


def avx512():
    """Whether numpy sorts here as it did where the reference results were made."""
    features = getattr(np._core._multiarray_umath, "__cpu_features__", {})
    return bool(features.get("AVX512_SKX"))


def tied(rng, size):
    # As many levels as a slide of that many spots gives its fractions.
    levels = int(rng.choice([200, 400, 4000]))
    values = rng.integers(0, levels, size) / levels
    return np.sort(values)[::-1].copy() if rng.random() < 0.2 else values


@pytest.mark.parametrize("name", TIES)
def test_leaves_ties_as_the_kept_order(own, name):
    values, order = own[f"ties_{name}"], own[f"ties_{name}_order"]
    assert np.array_equal(unstable_argsort(values), order)
    assert not np.array_equal(order, np.argsort(values, kind="stable"))


@pytest.mark.skipif(not avx512(), reason="numpy sorts otherwise on this processor")
@pytest.mark.parametrize("seed", range(60))
def test_is_numpys_order_on_this_processor(seed):
    rng = np.random.default_rng(seed)
    values = tied(rng, int(rng.choice([0, 1, 2, 7, 8, 31, 255, 256, 257, 288, 1000, 6000])))
    assert np.array_equal(unstable_argsort(values), np.argsort(values))
    table = pd.Series(values).sort_values(ascending=False)
    assert np.array_equal(published_order(values), table.index)


@pytest.mark.parametrize("seed", range(40))
def test_sorts_whatever_the_ties(seed):
    rng = np.random.default_rng(seed)
    values = tied(rng, int(rng.integers(1, 3000)))
    order = published_order(values)
    assert np.array_equal(np.sort(order), np.arange(values.size))
    assert (np.diff(values[order]) <= 0).all()


def test_values_without_ties_leave_no_choice():
    values = np.random.default_rng(0).permutation(5000) / 5000
    assert np.array_equal(published_order(values), np.argsort(-values, kind="stable"))


def test_hundreds_of_equal_fractions_are_sorted_too():
    values = np.repeat([0.0, 0.5, 1.0], [3000, 300, 5])
    order = published_order(values)
    assert np.array_equal(np.sort(order), np.arange(values.size))
    assert (np.diff(values[order]) <= 0).all()


def test_nan_is_refused():
    with pytest.raises(InputError, match="1 of 3 expressed fractions are NaN"):
        published_order(np.array([0.2, np.nan, 0.1]))


def test_the_filter_takes_ties_by_name_or_as_published():
    spots = 10
    expressed = np.array([9, *[5] * 20])
    slide = Tally(np.ones(spots, bool), np.ones(spots), expressed, expressed, np.full(21, 100))
    genes = np.array([f"g{place:02d}" for place in range(21)])
    settings = FilterSettings(mean_fraction=0.6)
    by_name = filter_genes({"a": slide}, genes, settings)
    published = filter_genes({"a": slide}, genes, settings, published=True)
    assert by_name.kept.sum() == published.kept.sum() == 4
    assert by_name.kept[:4].all()
    assert np.array_equal(np.flatnonzero(published.kept), np.sort(published_order(expressed)[:4]))


def test_without_ties_both_orders_keep_what_our_loops_keep(own):
    spots = 10_000
    expressed = np.rint(own["filter_lowest"] * spots).astype(int)
    # A second slide, so wide that all spots together give the overall fraction.
    others = 50 * spots
    rest = np.rint(own["filter_overall"] * (others + spots)).astype(int) - expressed
    slides = {
        "narrow": Tally(np.ones(spots, bool), np.ones(spots), expressed, expressed, expressed),
        "wide": Tally(np.ones(others, bool), np.ones(others), rest, rest, rest),
    }
    genes = np.array([f"g{place}" for place in range(40)])
    settings = FilterSettings(mean_fraction=0.8, gene_counts=(0, 1e9))
    for published in (False, True):
        chosen = filter_genes(slides, genes, settings, published=published)
        np.testing.assert_allclose(chosen.fraction_min, own["filter_lowest"], atol=1e-4)
        np.testing.assert_allclose(chosen.fraction, own["filter_overall"], atol=1e-5)
        assert np.array_equal(chosen.kept, own["filter_kept"])


@pytest.mark.real
def test_the_filter_keeps_the_published_spots_and_genes(golden):
    with np.load(golden / "her2st_raw.npz") as file:
        raw = dict(file)
    with np.load(golden / "her2st_filter.npz") as file:
        expected = dict(file)
    content = raw["data"], raw["indices"].astype(np.int32), raw["indptr"]
    counts = sparse.csr_matrix(content, shape=raw["shape"])
    rows = {slide: raw["slide_id"] == slide for slide in np.unique(raw["slide_id"])}
    settings = FilterSettings()
    tallies = {slide: tally(counts[own], settings.spot_counts) for slide, own in rows.items()}
    chosen = filter_genes(tallies, raw["genes"], settings, published=True)
    assert set(raw["genes"][chosen.kept]) == set(expected["genes_kept"])

    place = np.argsort(raw["genes"])[np.searchsorted(np.sort(raw["genes"]), expected["genes_kept"])]
    assert np.array_equal(chosen.fraction_min[place], expected["exp_frac"])
    assert np.array_equal(chosen.fraction[place], expected["glob_exp_frac"])
    candidates = np.flatnonzero(~chosen.limits)
    order = candidates[published_order(chosen.fraction_min[candidates])]
    assert np.array_equal(raw["genes"][order[: place.size]], expected["genes_kept"])

    left = counts[:, place].toarray().astype(np.int64)
    kept = np.concatenate([tallies[slide].kept for slide in rows]) & (left.sum(axis=1) > 0)
    assert raw["spots"][kept].tolist() == expected["spots_kept"].tolist()
    assert np.array_equal(left[kept].sum(axis=1), expected["total_counts"])
    assert np.array_equal((left[kept] > 0).sum(axis=1), expected["n_genes_by_counts"])
    # By name three genes are others, so the comparison of sets can fail.
    by_name = filter_genes(tallies, raw["genes"], settings)
    assert (by_name.kept & ~chosen.kept).sum() == 3
