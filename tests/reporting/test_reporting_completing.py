"""Figures of completion show the right numbers of the right split, whatever is missing."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import colormaps
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Rectangle
from PIL import Image

from spared_benchmark.errors import ContractError
from spared_benchmark.reporting import pictures, report, schemas, tables
from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.completing import ranks
from spared_benchmark.reporting.figures.completing.agreement import hidden_scatter
from spared_benchmark.reporting.figures.completing.errors import error_violins
from spared_benchmark.reporting.figures.completing.examples import Examples, chosen
from spared_benchmark.reporting.figures.completing.grid import regime_heatmap
from spared_benchmark.reporting.figures.completing.maps import hidden_maps
from spared_benchmark.reporting.figures.completing.shares import error_by_share
from spared_benchmark.reporting.figures.small import small_png

METHODS = ["spackle", "additive", "neighbour_mean", "median"]


def of(scores, **wanted):
    for column, value in wanted.items():
        scores = scores[scores[column] == value]
    return scores


def with_regimes(scores):
    """The same scores, changed, under other shares and ways of hiding."""
    plain = of(scores, space="log_tpm")
    changes = [("entries", 0.1, 0.9), ("entries", 0.7, 1.3), ("blocks", 0.3, 1.2)]
    errors = plain["metric"] == "mse"
    further = [
        plain.assign(
            regime=regime,
            hidden_fraction=share,
            value=plain["value"].where(
                ~errors | (plain["kind"] == "ceiling"), plain["value"] * factor
            ),
        )
        for regime, share, factor in changes
    ]
    return pd.concat([scores, *further], ignore_index=True)


@pytest.fixture
def scores(results):
    return results["completion_scores"]


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def texts(axes):
    return [text.get_text() for text in axes.texts]


# --- order


def test_methods_stand_best_first_and_controls_apart(scores):
    methods, others = ranks.ranked(ranks.scored(scores))
    assert methods == METHODS
    assert others == ["floor", "slide_gene_mean", "gene_mean", "one_count", "zero"]


def test_a_method_run_on_hard_cohorts_alone_is_not_ranked_lower(scores):
    """MOB's errors are higher for all; a method that only MOB has must not suffer from it."""
    best = of(scores, cohort="MOB", completer="spackle")
    only = best.assign(completer="new", value=best["value"] * 0.9)
    methods, _ = ranks.ranked(ranks.scored(pd.concat([scores, only], ignore_index=True)))
    assert methods == ["new", *METHODS]


def test_test_slides_are_read_and_val_only_where_there_are_none(scores):
    read = ranks.scored(scores)
    assert set(zip(read["cohort"], read["split"], strict=True)) == {("VLO", "test"), ("MOB", "val")}
    assert ranks.heading("MOB", of(read, cohort="MOB")) == "MOB (validation score)"
    assert ranks.heading("VLO", of(read, cohort="VLO")) == "VLO"


# --- violins


def test_every_error_of_a_slide_is_a_point_of_its_row(scores):
    own = of(scores, cohort="VLO")
    wide, near = error_violins(own).axes
    assert names(wide)[: len(METHODS)] == METHODS
    wanted = of(own, space="log_tpm", split="test", slide="VLO_test", metric="mse")
    for row, name in enumerate(METHODS):
        points = next(
            line
            for line in wide.lines
            if line.get_marker() == "o" and round(float(np.mean(line.get_ydata()))) == row
        )
        errors = wanted[wanted["completer"] == name]["value"]
        assert sorted(10 ** np.asarray(points.get_xdata())) == pytest.approx(sorted(errors))
    assert len(wide.collections) == len(names(wide))
    assert "50.0" in " ".join(texts(near))
    assert texts(wide) == []


def test_a_handful_of_errors_has_no_density(scores):
    few = of(scores, cohort="VLO")
    few = few[few["assay"] < 3]
    wide, _ = error_violins(few).axes
    assert len(wide.collections) == 0
    assert sum(line.get_marker() == "o" for line in wide.lines) == len(names(wide))


def test_the_legend_tells_cohorts_splits_and_sizes(scores):
    told = [text.get_text() for text in error_violins(scores).legends[0].get_texts()]
    space = "\N{NARROW NO-BREAK SPACE}"
    assert told == [
        f"VLO: 1 test slide × 10 assays, n = 24{space}000",
        f"MOB (validation score): 1 slide × 10 assays, n = 24{space}000",
    ]


def test_violins_without_floor_reference_or_methods(scores):
    assert error_violins(scores[~scores["completer"].isin(["floor", "slide_gene_mean"])])
    assert error_violins(of(scores, kind="control"))
    assert error_violins(schemas.COMPLETION.empty()) is None
    assert error_violins(scores, "combat") is not None


# --- shares


def test_lines_are_means_over_assays(scores):
    figure = error_by_share(with_regimes(scores))
    vlo, mob = (axes for axes in figure.axes if axes.get_visible())
    assert mob.get_title(loc="left") == "MOB (validation score)"
    mean = of(scores, space="log_tpm", cohort="VLO", split="test", slide="", metric="mse")
    mean = mean[mean["completer"] == "spackle"]["value"].mean()
    lines = [np.asarray(line.get_ydata()) for line in vlo.lines]
    wanted = mean * np.array([0.9, 1.0, 1.3])
    assert any(line.shape == (3,) and np.allclose(line, wanted) for line in lines)
    told = texts(vlo)
    assert {"spackle", "additive", "neighbour_mean", "median", "slide_gene_mean", "floor"} <= {
        text.split(" (to")[0] for text in told
    }
    assert any(text.startswith("test slides, 10 assays, n = ") for text in told)


def test_methods_beyond_the_axis_are_named(scores):
    high = with_regimes(scores)
    far = (high["completer"] == "median") & (high["metric"] == "mse")
    high.loc[far, "value"] += 40
    vlo = error_by_share(of(high, cohort="VLO")).axes[0]
    assert vlo.get_ylim()[1] < 2
    assert any("methods beyond the axis: median 40.8–41.1" in text for text in texts(vlo))
    assert "zero" not in " ".join(texts(vlo))


def test_a_line_that_leaves_the_axis_is_named_there(scores):
    table = with_regimes(scores)
    leaving = (table["completer"] == "median") & (table["hidden_fraction"] == 0.7)
    table.loc[leaving & (table["metric"] == "mse"), "value"] = 9.0
    assert "median (to 9.0)" in texts(error_by_share(of(table, cohort="VLO")).axes[0])


def test_a_cohort_with_one_share_has_no_panel(scores):
    both = with_regimes(scores)
    lonely = (both["cohort"] == "MOB") & (both["hidden_fraction"] != 0.3)
    figure = error_by_share(both[~lonely])
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == ["VLO"]
    assert error_by_share(scores) is None
    assert error_by_share(schemas.COMPLETION.empty()) is None


def test_no_floor_no_reference_no_controls_still_makes_lines(scores):
    assert error_by_share(of(with_regimes(scores), kind="method")) is not None


# --- regimes


def cells(figure):
    """Return the text of each cell by its row and column."""
    axes = figure.axes[0]
    heights = dict(zip(axes.get_yticks(), names(axes), strict=True))
    columns = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]
    return {
        (heights[text.get_position()[1]], columns[int(text.get_position()[0])]): text.get_text()
        for text in axes.texts
    }


def test_cells_are_shares_of_reducible_error_in_per_cent(scores):
    table = with_regimes(scores)
    figure = regime_heatmap(table, "VLO")
    summary = tables.completion_summary(of(table, space="log_tpm", cohort="VLO"))
    row = of(summary, completer="additive", regime="blocks").iloc[0]
    found = cells(figure)
    assert found["additive", "blocks 30 %"] == f"{100 * row['share']:.0f}".replace("-", "−")
    assert found["slide_gene_mean", "entries 30 %"] == "0"
    assert found["zero", "entries 30 %"] == "<−999"
    assert "floor" not in names(figure.axes[0])
    assert names(figure.axes[0])[:4] == METHODS
    assert len(found) == 4 * len(names(figure.axes[0]))


def test_cohorts_are_averaged_and_gaps_are_seen(scores):
    table = with_regimes(scores)
    gone = (table["completer"] == "median") & (table["regime"] == "blocks")
    partly = (table["completer"] == "additive") & (table["hidden_fraction"] == 0.1)
    table = table[~gone & ~(partly & (table["cohort"] == "MOB"))]
    figure = regime_heatmap(table)
    found = cells(figure)
    summary = of(tables.completion_summary(of(table, space="log_tpm")), regime="blocks")
    mean = of(summary, completer="spackle")["share"].mean()
    assert found["spackle", "blocks 30 %"] == f"{100 * mean:.0f}"
    assert found["additive", "entries 10 %"].endswith("*")
    assert ("median", "blocks 30 %") not in found
    hatched = [
        patch
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle) and patch.get_hatch()
    ]
    assert len(hatched) == 1
    told = figure.get_suptitle()
    assert told.startswith("mean of 2 cohorts: VLO, MOB (validation score)\n")


def test_one_regime_or_no_floor_makes_no_grid(scores):
    assert regime_heatmap(scores) is None
    table = with_regimes(scores)
    assert regime_heatmap(table[table["completer"] != "floor"]) is None
    assert regime_heatmap(schemas.COMPLETION.empty()) is None


# --- maps and scatter


@pytest.fixture
def expression(tissue):
    expression = tissue["expression"]
    expression.uns["cohort"] = "VLO"
    return expression


@pytest.fixture
def examples(expression):
    """30 % hidden; `good` errs by 0.1 and more on later genes, `bad` fills with 3."""
    generator = np.random.default_rng(1)
    hidden = (generator.random(expression.shape) < 0.3) & expression.layers["measured"]
    noise = generator.standard_normal(expression.shape) * np.linspace(0.1, 3, expression.n_vars)
    truth = np.asarray(expression.layers["log_tpm"])
    completed = {
        "additive": (truth + noise)[hidden].astype(np.float32),
        "spackle": np.full(int(hidden.sum()), 3.0, dtype=np.float32),
        "gene_mean": np.full(int(hidden.sum()), 7.0, dtype=np.float32),
    }
    return Examples(expression, hidden, completed)


def maps_of(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_aspect() == 1]


def drawn(axes):
    return np.asarray(axes.collections[1].get_array())


def test_best_and_worst_gene_are_drawn_as_measured_visible_hidden_and_completed(examples, scores):
    figure = hidden_maps(examples, of(scores, cohort="VLO"))
    assert figure.get_suptitle().startswith("test slide B: ")
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert all(
        f"{word} recovered by spackle" in title
        for word, title in zip(("best", "worst"), titles, strict=True)
    )
    panels = maps_of(figure)
    heads = [axes.get_title().split("\n")[0].split(",")[0] for axes in panels]
    assert heads == ["measured", "visible", "hidden", "spackle", "additive"] * 2
    gene = [f"GENE{place}" for place in range(6)].index(titles[0].split(",")[0])
    rows = examples.of_slide
    hidden = examples.hidden[rows, gene]
    truth = examples.truth[rows, gene]
    measured, visible, withheld, _, additive = panels[:5]
    known = np.isfinite(truth)
    np.testing.assert_array_equal(drawn(measured), truth[known])
    np.testing.assert_array_equal(drawn(visible), truth[known & ~hidden])
    np.testing.assert_array_equal(drawn(withheld), truth[hidden])
    np.testing.assert_array_equal(drawn(additive), examples.values("additive")[rows, gene][hidden])
    shown = [item for item in measured.collections if isinstance(item, EllipseCollection)]
    assert len(shown) == 2


def test_genes_are_ranked_by_the_method_that_is_asked(examples):
    found = examples.by_gene("additive")
    assert examples.best_and_worst("additive") == [0, int(found["pcc"].idxmin())]
    rows, hidden = examples.of_slide, examples.hidden[examples.of_slide, 2]
    truth = examples.truth[rows, 2][hidden]
    completed = examples.values("additive")[rows, 2][hidden]
    assert found.loc[2, "mse"] == pytest.approx(((truth - completed) ** 2).mean(), rel=1e-5)
    assert found.loc[2, "pcc"] == pytest.approx(np.corrcoef(truth, completed)[0, 1], rel=1e-4)
    assert len(examples.best_and_worst("spackle")) == 2  # constant: no gene has a correlation


def test_genes_with_few_hidden_spots_are_not_called_best(examples):
    few = np.zeros_like(examples.hidden)
    few[:, :3] = examples.hidden[:, :3]
    first = np.flatnonzero(examples.of_slide)[:80]
    few[first, 3] = examples.hidden[first, 3]
    keep = np.cumsum(few[:, 3] & examples.of_slide) <= 4
    few[:, 3] &= keep
    completed = {"additive": examples.values("additive")[few]}
    completed["additive"][few.nonzero()[1] == 3] = examples.truth[few][few.nonzero()[1] == 3]
    found = Examples(examples.expression, few, completed)
    assert found.by_gene("additive").loc[3, "pcc"] == pytest.approx(1)
    assert 3 not in found.best_and_worst("additive")


def test_without_a_test_slide_the_val_slide_is_shown_as_validation(examples, scores):
    val = (examples.expression.obs["split"] == "val").to_numpy()
    one = AnnData(
        obs=examples.expression.obs[val],
        var=examples.expression.var,
        layers={
            name: layer[val]
            for name, layer in examples.expression.layers.items()
            if name is not None
        },
        obsm={"spatial": examples.expression.obsm["spatial"][val]},
    )
    completed = {
        name: examples.values(name)[val][examples.hidden[val]] for name in examples.completed
    }
    alone = Examples(one, examples.hidden[val], completed)
    own = of(scores, cohort="MOB")
    assert hidden_maps(alone, own).get_suptitle().startswith("val slide A, validation score: ")
    assert "1 val slide (validation score), n = " in hidden_scatter(alone, own).get_suptitle()


def test_scatter_tells_errors_of_all_hidden_entries_and_the_floor(examples, scores):
    figure = hidden_scatter(examples, of(scores, cohort="VLO"))
    entries = examples.hidden & examples.of_split[:, None]
    errors = examples.values("additive")[entries] - examples.truth[entries]
    titles = [axes.get_title(loc="left") for axes in figure.axes[:2]]
    assert "spackle" in titles[0]
    assert f"MSE {np.mean(errors.astype(float) ** 2):.3f}, PCC by gene 0.4" in titles[1]
    counted = sum(np.asarray(figure.axes[1].collections[0].get_array()))
    assert counted == entries.sum()
    lowest = examples.truth[entries].min()
    assert lowest > 3.5
    assert texts(figure.axes[0]) == ["100.0 % beyond"]
    assert "Poisson floor: MSE 0.45" in figure.get_suptitle()
    bare = hidden_scatter(examples, schemas.COMPLETION.empty())
    assert "floor" not in bare.get_suptitle()


def test_the_paper_s_completers_are_always_shown(scores):
    own = of(scores, cohort="VLO")
    available = ["neighbour_mean", "additive", "median", "gene_mean"]
    assert chosen(own, available, ("median",), 2) == ["additive", "median"]
    assert chosen(own, available, ("spackle",), 9) == ["additive", "neighbour_mean", "median"]
    assert chosen(own, [], ("spackle",), 3) == []


def test_nothing_hidden_and_no_completer_make_no_picture(examples, scores):
    own = of(scores, cohort="VLO")
    nothing = Examples(examples.expression, examples.hidden, {})
    assert hidden_maps(nothing, own) is None
    assert hidden_scatter(nothing, own) is None
    empty = Examples(
        examples.expression,
        np.zeros_like(examples.hidden),
        {"additive": np.empty(0, dtype=np.float32)},
    )
    assert hidden_maps(empty, own) is None
    assert hidden_scatter(empty, own) is None


def test_values_of_other_masks_are_refused(examples):
    with pytest.raises(ContractError, match=r"additive completed \(3,\) values; the mask hides"):
        Examples(examples.expression, examples.hidden, {"additive": np.zeros(3, np.float32)})
    with pytest.raises(ContractError, match="hidden has shape"):
        Examples(examples.expression, examples.hidden[1:], {})


# --- files


def test_pictures_are_small_and_keep_their_colours(examples, scores):
    content, again = (small_png(hidden_maps(examples, of(scores, cohort="VLO"))) for _ in range(2))
    assert content.startswith(pictures.PNG_HEAD)
    assert 10_000 < len(content) < 400_000
    assert content == again
    with Image.open(io.BytesIO(content)) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 16)}
    assert (255, 255, 255) in colours
    ends = (255 * colormaps["viridis"]([0.0, 1.0])[:, :3]).round()
    found = np.array(sorted(colours))
    assert all(np.abs(found - end).max(axis=1).min() <= 3 for end in ends)


@pytest.mark.parametrize("cohorts", [1, 7])
def test_figures_of_many_methods_and_cohorts_stay_readable(scores, cohorts):
    table = of(with_regimes(scores), cohort="VLO", space="log_tpm")
    more = [
        of(table, completer="additive").assign(completer=f"method_{place}", kind="method")
        for place in range(21)
    ]
    table = pd.concat([table, *more], ignore_index=True)
    table = pd.concat([table.assign(cohort=f"C{place}") for place in range(cohorts)])
    for figure in (error_violins(table), error_by_share(table), regime_heatmap(table)):
        width, height = figure.get_size_inches()
        assert width == style.WIDTH_IN
        assert height < 14
        content = style.png(figure, dpi=60)
        assert 5_000 < len(content) < 300_000


def test_the_page_shows_them_in_their_section(study, results, scores):
    png = style.png(error_violins(scores), dpi=30)
    figures = {f"completion_{name}": png for name in ("errors", "shares", "regimes")}
    figures |= {"hidden_maps:VLO": png, "hidden_scatter:VLO": png, "hidden_maps:MOB": png}
    page = report.render(study, results, figures)
    section = page[
        page.index('<section id="completion">') : page.index('<section id="prediction">')
    ]
    assert section.count("data:image/png") == 6
    assert section.count("hidden and completed values</summary>") == 2
    assert section.index("VLO: hidden and completed") < section.index("MOB: hidden and completed")
    for words in (
        "the stroke its median",
        "hidden at random",
        "hatched: none has",
        "dashed: equal",
    ):
        assert words in section
    assert "hidden and completed values" not in report.render(study, results, {})
