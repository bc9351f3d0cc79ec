from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from spared_benchmark.cohort_settings import FilterSettings
from spared_benchmark.errors import InputError
from spared_benchmark.expression.filter import Tally, filter_genes, tally


def made_of(fractions, spots=10, totals=100):
    """A slide whose genes are expressed in the given fractions of its spots."""
    expressed = np.round(np.array(fractions) * spots).astype(np.int64)
    kept = np.ones(spots, dtype=bool)
    total = np.full(spots, 100)
    return Tally(kept, total, expressed, expressed, np.broadcast_to(totals, expressed.shape))


def names(count):
    return np.array([f"g{place}" for place in range(count)])


def test_spot_limits_are_strict():
    counts = sparse.csr_matrix(np.array([[10, 0], [11, 0], [40, 59], [50, 50], [0, 0]]))
    slide = tally(counts, (10, 100))
    assert slide.kept.tolist() == [False, True, True, False, False]
    assert slide.spot_totals.tolist() == [10, 11, 99, 100, 0]
    assert slide.present.tolist() == [4, 2]
    assert slide.expressed.tolist() == [2, 1]
    assert slide.totals.tolist() == [51, 59]


def test_fractions_are_the_minimum_over_slides_and_the_pool_of_spots():
    slides = {"a": made_of([0.9, 0.2], spots=10), "b": made_of([0.8, 0.9], spots=30)}
    chosen = filter_genes(slides, names(2), FilterSettings(mean_fraction=0.1))
    assert chosen.fraction_min == pytest.approx([0.8, 0.2])
    assert chosen.fraction == pytest.approx([33 / 40, 29 / 40])


def test_genes_are_kept_up_to_the_last_place_where_the_running_mean_is_enough():
    # By the minimum: g0, g2, g3, g1; their means over all spots 1, .75, .6, .4.
    slides = {"a": made_of([1.0, 0.6, 0.6, 0.5]), "b": made_of([1.0, 0.2, 0.9, 0.7])}
    chosen = filter_genes(slides, names(4), FilterSettings(mean_fraction=0.8))
    assert chosen.kept.tolist() == [True, False, True, False]
    slides = {"a": made_of([1.0, 0.4, 0.9, 0.3])}
    chosen = filter_genes(slides, names(4), FilterSettings(mean_fraction=0.7))
    # Running mean of 1.0, 0.9, 0.4, 0.3 is 1, .95, .767, .65.
    assert chosen.kept.tolist() == [True, True, True, False]


def test_a_dip_below_the_limit_does_not_end_the_list():
    first, second = made_of([0.5, 0.5, 0.5]), made_of([0.5, 0.5, 1.0], spots=100)
    first = replace(first, expressed=np.array([5, 4, 3]))
    chosen = filter_genes({"a": first, "b": second}, names(3), FilterSettings(mean_fraction=0.6))
    running = np.cumsum(chosen.fraction) / np.arange(1, 4)
    assert running[0] < 0.6 <= running[2]
    assert chosen.kept.all()


def test_ties_are_broken_by_name_whatever_the_order_of_the_file():
    slide = made_of([0.9, 0.5, 0.5, 0.5])
    limit = FilterSettings(mean_fraction=0.7)
    genes = np.array(["a", "d", "c", "b"])
    assert genes[filter_genes({"s": slide}, genes, limit).kept].tolist() == ["a", "b"]


def test_gene_limits_are_strict_and_come_before_the_running_mean():
    slide = made_of([1.0, 0.9, 0.8, 0.8], totals=np.array([50, 10, 11, 99]))
    settings = FilterSettings(gene_counts=(10, 50), mean_fraction=0.7)
    assert filter_genes({"s": slide}, names(4), settings).kept.tolist() == [
        False,
        False,
        True,
        False,
    ]


def test_thresholds_ask_every_slide_and_all_spots():
    slides = {"a": made_of([0.9, 0.3, 0.4, 0.2], 10), "b": made_of([0.8, 0.9, 0.4, 1.0], 10)}
    settings = FilterSettings(rule="thresholds", slide_fraction=0.3, overall_fraction=0.6)
    chosen = filter_genes(slides, names(4), settings)
    assert chosen.kept.tolist() == [True, True, False, False], "limits that are met exactly count"
    looser = settings.model_copy(update={"overall_fraction": 0.4})
    assert filter_genes(slides, names(4), looser).kept.tolist() == [True, True, True, False]


def test_thresholds_keep_the_limits_on_totals():
    settings = FilterSettings(rule="thresholds", gene_counts=(10, 50), slide_fraction=0)
    slide = made_of([1.0, 1.0, 1.0, 0.4], totals=np.array([50, 10, 11, 20]))
    chosen = filter_genes({"s": slide}, names(4), settings)
    assert chosen.kept.tolist() == [False, False, True, False]
    assert chosen.limits.tolist() == [True, True, False, False]
    assert chosen.narrow.tolist() == [False, False, False, True]


@pytest.mark.parametrize("rule", ["running_mean", "thresholds"])
def test_every_gene_stays_or_leaves_for_one_reason(rule):
    rng = np.random.default_rng(0)
    slides = {
        name: made_of(rng.random(200), spots=50, totals=rng.integers(0, 40, 200)) for name in "ab"
    }
    chosen = filter_genes(slides, names(200), FilterSettings(rule=rule, mean_fraction=0.6))
    reasons = np.stack([chosen.kept, chosen.limits, chosen.narrow])
    assert (reasons.sum(axis=0) == 1).all()
    assert reasons.any(axis=1).all()
    assert np.array_equal(chosen.total, slides["a"].totals + slides["b"].totals)


@pytest.mark.parametrize("rule", ["running_mean", "thresholds"])
def test_named_genes_stay_beside_those_of_the_rule_but_spots_are_limited_still(rule):
    slide = made_of([0.1, 0.9, 0.0, 0.1, 0.9], totals=np.array([3, 99, 0, 99, 3]))
    named = np.array([True, False, True, False, False])
    settings = FilterSettings(rule=rule, gene_counts=(10, 100))
    chosen = filter_genes({"s": slide}, names(5), settings, named)
    assert chosen.kept.tolist() == [True, True, True, False, False]
    assert chosen.narrow.tolist() == [False, False, False, True, False]
    assert chosen.limits.tolist() == [False, False, False, False, True]
    assert np.array_equal(chosen.named, named)
    empty = Tally(np.zeros(3, bool), *[np.zeros(3, np.int64)] * 4)
    with pytest.raises(InputError, match=r"slide s: none of its 3 spots"):
        filter_genes({"s": empty}, names(3), settings, named[:3])


def test_in_parity_named_genes_take_the_place_of_the_rule():
    slide = made_of([0.1, 0.9, 0.0], totals=np.array([3, 99, 0]))
    named = np.array([True, False, True])
    chosen = filter_genes({"s": slide}, names(3), FilterSettings(), named, published=True)
    assert chosen.kept.tolist() == [True, False, True]
    assert chosen.narrow.tolist() == [False, True, False]
    assert not chosen.limits.any()


def test_thresholds_that_nothing_meets_say_how_many_meet_each():
    slides = {"a": made_of([0.9, 0.2, 0.4], 10), "b": made_of([0.1, 0.3, 0.4], 90)}
    settings = FilterSettings(rule="thresholds", slide_fraction=0.4, overall_fraction=0.5)
    with pytest.raises(
        InputError,
        match=r"of 3 genes 3 have.*1 are expressed in at least 0\.4.*and 0 in at least 0\.5",
    ):
        filter_genes(slides, names(3), settings)


@pytest.mark.parametrize("rule", ["running_mean", "thresholds"])
def test_limits_that_no_total_meets_are_what_is_named(rule):
    slide = made_of([1.0, 0.9], totals=np.array([4, 7]))
    with pytest.raises(
        InputError, match=r"none of 2 genes .* 10 and .*from 4 to 7; change filter\.gene_counts"
    ):
        filter_genes({"s": slide}, names(2), FilterSettings(rule=rule))


def test_nothing_left_says_what_was_found():
    with pytest.raises(InputError, match=r"no gene is left.*at most 0\.400.*at least 0\.7.*lower"):
        filter_genes({"s": made_of([0.4, 0.3])}, names(2), FilterSettings())
    empty = Tally(np.zeros(3, bool), np.zeros(3, np.int64), *[np.zeros(2, np.int64)] * 3)
    with pytest.raises(InputError, match=r"slide s: none of its 3 spots.*filter\.spot_counts"):
        filter_genes({"s": empty}, names(2), FilterSettings())


@pytest.mark.real
def test_same_genes_as_the_published_library_but_for_ties(golden):
    raw, published = np.load(golden / "her2st_raw.npz"), np.load(golden / "her2st_filter.npz")
    counts = sparse.csr_matrix(
        (raw["data"].astype(np.int32), raw["indices"].astype(np.int32), raw["indptr"]),
        shape=tuple(raw["shape"]),
    )
    slides = {
        slide: tally(counts[np.flatnonzero(raw["slide_id"] == slide)], (10, 1e6))
        for slide in np.unique(raw["slide_id"])
    }
    chosen = filter_genes(slides, raw["genes"], FilterSettings())
    place = {gene: position for position, gene in enumerate(raw["genes"])}
    theirs = [place[gene] for gene in published["genes_kept"]]
    assert chosen.kept.sum() == len(theirs)
    assert np.array_equal(chosen.fraction_min[theirs], published["exp_frac"])
    assert np.array_equal(chosen.fraction[theirs], published["glob_exp_frac"])
    differing = set(np.flatnonzero(chosen.kept)) ^ set(theirs)
    assert set(chosen.fraction_min[list(differing)]) <= {chosen.fraction_min[theirs].min()}
