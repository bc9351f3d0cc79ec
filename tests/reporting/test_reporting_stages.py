"""Figures of processing say what happened at each stage, whatever the cohort looks like."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.collections import EllipseCollection
from PIL import Image

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.processing import tissue
from spared_benchmark.reporting.figures.processing.batches import (
    batches,
    between_slide_share,
    principal_axes,
)
from spared_benchmark.reporting.figures.processing.fractions import expression_fractions
from spared_benchmark.reporting.figures.processing.missing import missing, missing_shares
from spared_benchmark.reporting.figures.processing.moran import moran_ranking
from spared_benchmark.reporting.figures.processing.spots import spots_kept
from spared_benchmark.reporting.figures.processing.stages import processing_figures
from spared_benchmark.reporting.figures.small import small_png

SPLITS = ("train", "train", "val", "test")
SIDE = 6  # spots along each side of a square slide


def cohort(slides=4, chosen=8, others=4):
    """Return expression, context, genes and spots of square slides, each shifted by its number."""
    rng = np.random.default_rng(7)
    rows, cols = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    names = [f"S{number}" for number in range(slides)]
    obs = pd.DataFrame(
        {
            "slide": pd.Categorical(np.repeat(names, SIDE**2), categories=names),
            "split": np.repeat([SPLITS[number % 4] for number in range(slides)], SIDE**2),
        },
        index=[f"{name}_{place}" for name in names for place in range(SIDE**2)],
    )
    ids = [f"ENSG{number:03d}" for number in range(chosen + others)]
    values = rng.normal(8, 1, (len(obs), len(ids))) + obs["slide"].cat.codes.to_numpy()[:, None]
    measured = rng.random(values.shape) < 0.7
    moran = np.linspace(0.6, 0.0, len(ids))
    genes = pd.DataFrame(
        {
            "gene": [*ids, "narrow", "rare", "odd"],
            "symbol": [f"G{number}" for number in range(len(ids))] + ["", "", ""],
            "fraction_min": [*np.linspace(0.9, 0.5, len(ids)), 0.2, 0.01, 0.95],
            "fraction": [*np.linspace(0.95, 0.6, len(ids)), 0.3, 0.02, 0.96],
            "total": 1000,
            "gene_length": 1500.0,
            "moran": [*moran, np.nan, np.nan, np.nan],
            "rank": [*range(1, len(ids) + 1), np.nan, np.nan, np.nan],
            "fate": [*["chosen"] * chosen, *["context"] * others, "narrow", "limits", "no_length"],
        }
    )

    def part(columns, **further):
        layers = {"log_tpm": np.where(measured, values, 0)[:, columns].astype(np.float32)}
        layers |= {"measured": measured[:, columns], **further}
        var = genes.set_index("gene").loc[np.array(ids)[columns], ["symbol"]]
        return AnnData(obs=obs.copy(), var=var, layers=layers)

    here = np.arange(chosen)
    median = values[:, here].astype(np.float32)
    mean = pd.DataFrame(median).groupby(obs["slide"].to_numpy()).transform("mean").to_numpy()
    expression = part(here, median=median, combat=(median - mean).astype(np.float32))
    expression.obsm["spatial"] = np.tile(np.column_stack([cols, rows]) * 10.0, (slides, 1))
    expression.uns["filter"] = {
        "spot_counts": np.array([10.0, 1e6]), "rule": "running_mean", "mean_fraction": 0.7,
        "slide_fraction": 0.4, "overall_fraction": 0.5,
    }  # fmt: skip
    expression.uns["combat"] = {"skipped": "", "batch_key": "slide"}
    spots = pd.DataFrame(
        {
            "slide": obs["slide"].astype(str).to_numpy(),
            "split": obs["split"].to_numpy(),
            "x": expression.obsm["spatial"][:, 0],
            "y": expression.obsm["spatial"][:, 1],
            "total_counts": rng.integers(200, 900, len(obs)),
            "fate": "kept",
        }
    )
    return expression, part(chosen + np.arange(others)), genes, spots


def axes_of(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def titles(figure):
    return [axes.get_title(loc=side) for axes in axes_of(figure) for side in ("left", "center")]


def legend_of(thing):
    return [text.get_text().replace("\u202f", "") for text in thing.get_texts()]


def discs_of(figure):
    return [
        item
        for axes in axes_of(figure)
        for item in axes.collections
        if isinstance(item, EllipseCollection)
    ]


@pytest.fixture
def made():
    return cohort()


def test_every_stage_is_a_small_png_in_its_order(made):
    pictures = processing_figures(*made)
    assert list(pictures) == ["spots", "fractions", "moran", "batches", "missing"]
    for png in pictures.values():
        assert len(png) < 150_000
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.format == "PNG"
            assert picture.width >= 900
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("slides", "chosen", "others"), [(1, 1, 0), (2, 2, 1), (16, 128, 40)])
def test_any_number_of_slides_and_genes_can_be_drawn(slides, chosen, others):
    expression, context, genes, spots = cohort(slides, chosen, others)
    for figure in (
        spots_kept(expression, spots),
        expression_fractions(expression, genes),
        moran_ranking(expression, context if others else None, genes),
        batches(expression),
        missing(expression),
    ):
        assert style.png(figure, dpi=30).startswith(b"\x89PNG")


def test_same_cohort_same_bytes(made):
    one, two = (small_png(batches(made[0])) for _ in range(2))
    assert one == two


def test_no_colour_of_the_house_is_lost():
    figure = style.new_figure(1)
    axes = figure.subplots()
    axes.axhspan(0, 1, color="white")
    axes.scatter([0.5], [0.5], color=style.VERMILLION, s=40)
    with Image.open(io.BytesIO(small_png(figure))) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(10_000_000)}
    assert tuple(bytes.fromhex(style.VERMILLION[1:])) in colours


def test_spots_are_counted_by_fate(made):
    expression, _, _, spots = made
    spots.loc[:2, ["total_counts", "fate"]] = 3, "low"
    spots.loc[3, ["total_counts", "fate"]] = 2_000_000, "high"
    spots.loc[[4, 40], "fate"] = "empty"
    figure = spots_kept(expression, spots)
    assert legend_of(figure.legends[0]) == [
        "kept: 138",
        "too few counts (≤ 10): 3",
        "too many (≥ 1000000): 1",
        "no count of a filtered gene: 2",
    ]
    assert [title for title in titles(figure) if "of" in title][:2] == [
        "S0\ntrain: 31 of 36",
        "S1\ntrain: 35 of 36",
    ]
    colours = [collection.get_facecolors() for collection in discs_of(figure)]
    assert [len(one) for one in colours] == [36] * 4
    # The dropped ones come last, so that they lie on top.
    drawn = [tuple((255 * np.array(colour[:3])).round().astype(int)) for colour in colours[0]]
    hexes = ["#{:02X}{:02X}{:02X}".format(*colour) for colour in drawn]
    assert set(hexes[:31]) == {style.SKY.upper()}
    dropped = [*[style.VERMILLION] * 3, style.PURPLE, style.INK]
    assert sorted(hexes[31:]) == sorted(colour.upper() for colour in dropped)


def test_limits_are_lines_when_near_and_arrows_when_far(made):
    expression, _, _, spots = made
    expression.uns["filter"]["spot_counts"] = np.array([100.0, 1e6])
    histogram = next(
        axes for axes in axes_of(spots_kept(expression, spots)) if axes.get_ylabel() == "spots"
    )
    assert [float(line.get_xdata()[0]) for line in histogram.lines] == [100.0]
    assert [text.get_text().replace("\u202f", "") for text in histogram.texts] == [
        "limit 1000000 →"
    ]
    low, high = histogram.get_xlim()
    assert low < 100
    assert 900 < high < 5000


def test_a_spot_without_any_count_is_drawn(made):
    expression, _, _, spots = made
    spots.loc[0, ["total_counts", "fate"]] = 0, "low"
    histogram = next(
        axes for axes in axes_of(spots_kept(expression, spots)) if axes.get_ylabel() == "spots"
    )
    assert sum(bar.get_height() for bar in histogram.patches) >= len(spots)


def test_fractions_show_the_cut_of_the_running_mean(made):
    expression, _, genes, _ = made
    left, right = axes_of(expression_fractions(expression, genes))
    assert set(legend_of(left.get_legend())) == {
        "chosen: 8",
        "context: 4",
        "no length: 1",
        "not widely enough expressed: 1",
        "total outside the limits: 1",
    }
    # 13 genes stay, the last of them expressed in 50 % of the spots of some slide.
    assert right.get_title(loc="left") == "Running mean below 70 %: after 13 genes"
    cut = next(line for line in left.lines if len(line.get_xdata()) == 2)
    assert list(cut.get_xdata()) == pytest.approx([50.0, 50.0])
    curve = next(line for line in right.lines if "mean over" in str(line.get_label()))
    wide = genes[genes["fate"] != "limits"].sort_values("fraction_min", ascending=False)
    expected = 100 * wide["fraction"].expanding().mean()
    np.testing.assert_allclose(np.asarray(curve.get_ydata()), expected)


def test_fractions_show_both_limits_of_the_thresholds(made):
    expression, _, genes, _ = made
    expression.uns["filter"]["rule"] = "thresholds"
    left, right = axes_of(expression_fractions(expression, genes))
    assert right.get_title(loc="left") == "Both limits leave 13 genes"
    crossing = [line for line in left.lines if len(line.get_xdata()) == 2]
    assert list(crossing[0].get_xdata()) == pytest.approx([40.0, 40.0])
    assert list(crossing[1].get_ydata()) == pytest.approx([50.0, 50.0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"by_name": True, "mean_fraction": 0.7}, "Genes were named by a file: no cut"),
        ({}, "The rule of the filter is not known"),
    ],
)
def test_no_cut_is_drawn_where_there_is_none(made, settings, words):
    expression, _, genes, _ = made
    expression.uns["filter"] = settings
    left, right = axes_of(expression_fractions(expression, genes))
    assert right.get_title(loc="left") == words
    assert not [line for line in left.lines if line.get_linestyle() == "--"]


def test_best_and_worst_genes_are_named_with_their_ranks(made):
    expression, context, genes, _ = made
    figure = moran_ranking(expression, context, genes, count=2)
    assert "8 of 12 ranked genes are chosen" in titles(figure)
    heading = figure.subfigs[1]._suptitle.get_text()
    assert heading == "Best genes (ranks 1 to 2); worst genes of the context (ranks 11 to 12)"
    assert [title for title in titles(figure) if "rank " in title] == [
        "G0\nrank 1, I = 0.60",
        "G1\nrank 2, I = 0.55",
        "G10\nrank 11, I = 0.05",
        "G11\nrank 12, I = 0.00",
    ]
    labels = [axes.get_ylabel() for axes in axes_of(figure) if "\n" in axes.get_ylabel()]
    assert labels == ["train\nS0", "val\nS2", "test\nS3"]


def test_missing_entries_are_grey_on_tissue(made):
    expression, context, genes, _ = made
    figure = moran_ranking(expression, context, genes, count=1)
    grey = np.array([*bytes.fromhex(style.MISSING[1:])]) / 255
    first = discs_of(figure)[0].get_facecolors()[:, :3]
    is_grey = np.isclose(first, grey).all(axis=1)
    slide = (expression.obs["slide"] == "S0").to_numpy()
    np.testing.assert_array_equal(is_grey, ~expression.layers["measured"][slide, 0])


@pytest.mark.parametrize("absent", ["none", "empty"])
def test_without_context_the_worst_chosen_genes_are_drawn(made, absent):
    expression, context, genes, _ = made
    genes = genes[genes["fate"] != "context"]
    given = None if absent == "none" else context[:, :0].copy()
    heading = moran_ranking(expression, given, genes).subfigs[1]._suptitle.get_text()
    assert heading == "Best genes (ranks 1 to 3); worst chosen genes (ranks 6 to 8)"


def test_a_gene_nowhere_measured_is_all_grey_and_all_missing(made):
    expression, context, genes, _ = made
    expression.layers["measured"][:, 0] = False
    expression.layers["log_tpm"][:, 0] = 0
    shares = missing_shares(expression)
    assert (shares["ENSG000"] == 1).all()
    figure = moran_ranking(expression, context, genes, count=1)
    assert len(np.unique(discs_of(figure)[0].get_facecolors(), axis=0)) == 1
    assert style.png(figure, dpi=30).startswith(b"\x89PNG")


def test_unknown_tables_are_said_to_be_unknown(made):
    expression, _, genes, spots = made
    unknown = genes.assign(moran=np.nan, rank=np.nan, fraction=np.nan, fraction_min=np.nan)
    for figure, words in (
        (spots_kept(expression, spots.iloc[:0]), "No spot is known"),
        (expression_fractions(expression, unknown), "fractions of the genes are not known"),
        (moran_ranking(expression, None, unknown), "Moran's I of the chosen genes is not known"),
    ):
        assert words in figure.texts[0].get_text()
    assert len(processing_figures(expression, None, unknown, spots.iloc[:0])) == 5


def test_batches_tell_the_share_between_slides_before_and_after(made):
    expression, *_ = made
    figure = batches(expression)
    slide = expression.obs["slide"].cat.codes.to_numpy(np.intp)
    share = between_slide_share(expression.layers["median"].astype(float), slide)
    assert 0.4 < share < 0.7
    words = figure._suptitle.get_text().replace("\u202f", " ")
    assert f"{100 * share:.1f} % before ComBat, 0.0 % after ComBat (batch: slide)" in words
    assert {"Spots before ComBat", "Spots after ComBat"} <= set(titles(figure))
    assert legend_of(figure.legends[0]) == ["before ComBat", "after ComBat"]


def test_skipped_combat_is_said(made):
    expression, *_ = made
    expression.layers["combat"] = expression.layers["median"].copy()
    expression.uns["combat"]["skipped"] = "one batch only"
    figure = batches(expression)
    assert figure._suptitle.get_text().endswith("ComBat was skipped: one batch only")
    assert "Spots without ComBat" in titles(figure)
    assert "Spots after ComBat" not in titles(figure)


def test_partly_skipped_combat_is_said(made):
    expression, *_ = made
    expression.uns["combat"]["skipped"] = "batches [3] are too small and stay as they are"
    assert "ComBat in part only: batches [3] are too small" in batches(expression)._suptitle._text


def test_share_between_slides_of_hand_made_values():
    # Gene 0: all variance between the slides; gene 1: none; gene 2 constant, left out.
    values = np.array([[0.0, 1, 5], [0, 3, 5], [2, 1, 5], [2, 3, 5]])
    assert between_slide_share(values, np.array([0, 0, 1, 1])) == pytest.approx(0.5)
    assert np.isnan(between_slide_share(values[:, 2:], np.array([0, 0, 1, 1])))


def test_principal_axes_are_those_of_the_singular_values():
    values = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    directions, shares = principal_axes(values)
    _, singular, right = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(shares, (singular**2 / (singular**2).sum())[:2])
    np.testing.assert_allclose(np.abs(directions.T), np.abs(right[:2]), atol=1e-10)


def test_missing_shares_are_those_of_each_slide(made):
    expression, *_ = made
    shares = missing_shares(expression)
    measured = expression.layers["measured"]
    slide = (expression.obs["slide"] == "S2").to_numpy()
    np.testing.assert_allclose(shares.loc["S2"], 1 - measured[slide].mean(axis=0), atol=1e-6)
    figure = missing(expression)
    overall = 100 * (1 - measured.mean())
    title = titles(figure)[0].replace("\u202f", " ")
    assert title == f"{overall:.1f} % of the entries of 8 chosen genes are missing"
    heat = next(axes for axes in axes_of(figure) if axes.images)
    assert [label.get_text() for label in heat.get_yticklabels()] == [
        "S0 (train)", "S1 (train)", "S2 (val)", "S3 (test)",
    ]  # fmt: skip
    drawn = np.asarray(heat.images[0].get_array()).mean(axis=0)
    assert (np.diff(drawn) >= -1e-4).all()
    assert "genes, the least missing first" in heat.get_xlabel()


def test_genes_are_named_as_far_as_names_fit():
    expression, *_ = cohort(slides=1, chosen=128)
    heat = next(axes for axes in axes_of(missing(expression)) if axes.images)
    assert len(heat.get_xticklabels()) == 32
    assert heat.get_xlabel().endswith("one in 4 is named")


@pytest.mark.parametrize(
    ("number", "columns"), [(1, 1), (3, 3), (6, 6), (7, 4), (12, 6), (16, 6), (40, 6)]
)
def test_panels_fill_rows_evenly(number, columns):
    assert tissue.columns_for(number) == columns


def test_long_names_keep_both_ends():
    assert tissue.short("V19D02-088_A1") == "V19D02-088_A1"
    assert tissue.short("a-very-long-slide-name_S7", 11) == "a-ver…me_S7"
