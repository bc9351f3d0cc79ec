"""Figures show every number that they were given and mark what is beyond the axis."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spared_benchmark.reporting import schemas, tables
from spared_benchmark.reporting.figures import dots, style
from spared_benchmark.reporting.figures.cohorts import cohort_overview
from spared_benchmark.reporting.figures.completion import completion_dots
from spared_benchmark.reporting.figures.prediction import prediction_dots


def _shown(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def _names(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def _points(axes: Axes) -> set[float]:
    return {round(float(x), 9) for line in axes.lines for x in np.atleast_1d(line.get_xdata())}


def test_completion_shows_every_completer_best_first(results: dict[str, pd.DataFrame]) -> None:
    scores = results["completion_scores"]
    figure = completion_dots(scores)
    vlo, mob = _shown(figure)
    assert vlo.get_title(loc="left") == "VLO"
    assert mob.get_title(loc="left") == "MOB (validation)"
    assert _names(vlo)[:4] == ["spackle", "additive", "neighbour_mean", "median"]
    assert set(_names(vlo)[4:]) == {"floor", "slide_gene_mean", "gene_mean", "one_count", "zero"}
    assert {"4.930", "50.0"} <= set(_texts(vlo))
    summary = tables.completion_summary(scores[scores["space"] == "log_tpm"])
    near = summary[(summary["cohort"] == "VLO") & (summary["mse"] < 1)]["mse"]
    assert {round(float(value), 9) for value in near} <= _points(vlo)
    assert figure._supxlabel.get_text().startswith("MSE of hidden entries, (log")


def test_of_many_completers_the_best_the_papers_and_the_means_are_drawn(
    results: dict[str, pd.DataFrame],
) -> None:
    scores = results["completion_scores"]
    additive = scores[scores["completer"] == "additive"]
    many = [additive.assign(completer=f"worse_{n}", value=additive["value"] + n) for n in range(20)]
    names = _names(_shown(completion_dots(pd.concat([scores, *many], ignore_index=True)))[0])
    assert names[0] == "spackle"
    assert {"median", "floor", "slide_gene_mean", "gene_mean"} <= set(names)
    assert "zero" not in names
    assert len(names) <= 16


def test_completion_shows_the_headline_of_several_regimes(
    results: dict[str, pd.DataFrame],
) -> None:
    scores = results["completion_scores"]
    other = scores.assign(hidden_fraction=0.1, value=scores["value"] + 7)
    both = pd.concat([other, scores], ignore_index=True)
    drawn, alone = (_shown(completion_dots(one))[0] for one in (both, scores))
    assert _points(drawn) == _points(alone)
    ten = _shown(completion_dots(both, hidden_fraction=0.1))[0]
    assert _points(ten) != _points(alone)


def test_prediction_shows_every_target_and_marks_raw_at_the_border(
    results: dict[str, pd.DataFrame],
) -> None:
    scores = results["prediction_scores"]
    figure = prediction_dots(scores, "combat")
    vlo, _ = _shown(figure)
    assert _names(vlo)[0] == "vit_b_delta"
    controls = {"train_mean", "coordinates", "colour_ridge", "vit_b_shuffled"}
    assert set(_names(vlo)[5:9]) == controls
    assert _names(vlo)[9:] == ["floor", "truth_low_rank", "truth_neighbours", "library_size"]
    summary = tables.prediction_summary(scores[scores["space"] == "combat"])
    vlo_raw = summary[(summary["cohort"] == "VLO") & (summary["target"] == "raw")]
    assert {f"{value:.3f}" for value in vlo_raw["mse"]} == set(_texts(vlo))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        *("trained on raw", "trained on measured", "trained on median", "trained on spackle"),
        *("best control", "ceilings"),
    ]


def test_ceilings_are_lines_on_the_axis_and_no_target(results: dict[str, pd.DataFrame]) -> None:
    scores = results["prediction_scores"]
    vlo, _ = _shown(prediction_dots(scores, "combat"))
    low, high = vlo.get_xlim()
    ceilings = (0.452, 0.5, 0.61)
    assert all(low < value < high for value in ceilings)
    upright = [tuple(np.atleast_1d(line.get_xdata())) for line in vlo.lines]
    assert all((value, value) in upright for value in ceilings)
    assert (0.86, 0.86) not in upright, "library_size reads the slide: no control to beat"
    without = prediction_dots(scores[scores["target"] != "truth"], "combat")
    assert [text.get_text() for text in without.legends[0].get_texts()][-1] == "best control"


def test_figure_of_controls_and_ceilings_alone(results: dict[str, pd.DataFrame]) -> None:
    scores = results["prediction_scores"]
    for kept in (scores["kind"] != "method", scores["target"] == "truth"):
        assert style.png(prediction_dots(scores[kept], "combat"), dpi=30).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("values", "scale", "limit_covers"),
    [
        ([0.6, 0.7, 0.9], "linear", 0.9),
        ([0.6, 0.7, 6.5], "linear", 0.7),
        ([0.6, 2.0, 5.0, 8.0], "log", 8.0),
        ([0.5], "linear", 0.5),
        ([0.0, 0.0], "linear", 0.0),
    ],
)
def test_error_axis(values: list[float], scale: str, limit_covers: float) -> None:
    axes = style.new_figure(2).subplots()
    limit = dots.error_axis(axes, values)
    assert axes.get_xscale() == scale
    assert limit > limit_covers
    assert all(value <= limit_covers or value > limit for value in values)


def test_cohort_overview_stacks_the_splits(results: dict[str, pd.DataFrame]) -> None:
    left, right = _shown(cohort_overview(results["cohorts"]))
    assert _names(left) == ["VLO", "MOB"]
    widths = [bar.get_width() for bar in left.patches]
    assert widths == [3046, 2240, 1534, 809, 1832, 0]
    assert "missing entries (%" in right.get_xlabel()


def test_empty_tables_make_empty_figures() -> None:
    empty = schemas.COMPLETION.empty()
    for figure in (
        completion_dots(empty),
        prediction_dots(schemas.PREDICTION.empty(), "combat"),
        cohort_overview(pd.DataFrame({"cohort": []})),
    ):
        assert style.png(figure, dpi=30).startswith(b"\x89PNG")


def test_same_figure_same_bytes(results: dict[str, pd.DataFrame]) -> None:
    one, two = (style.png(cohort_overview(results["cohorts"]), dpi=40) for _ in range(2))
    assert one == two
