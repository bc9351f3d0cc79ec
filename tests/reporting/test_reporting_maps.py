"""Maps show the right slide, genes and values, in µm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import EllipseCollection

from spared_benchmark.errors import ContractError
from spared_benchmark.reporting import maps


def _values(axes: Any) -> np.ndarray:
    """Values of the coloured discs: the second collection; the first holds what is unknown."""
    discs = [item for item in axes.collections if isinstance(item, EllipseCollection)]
    return np.asarray(discs[1].get_array())


def _panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.collections and axes.get_aspect() == 1]


def test_rows_are_best_middling_and_worst_gene_of_the_test_slide(tissue: dict[str, Any]) -> None:
    figure = maps.gene_maps(
        tissue["expression"],
        {"median": tissue["completed"], "spackle": tissue["completed"]},
        tissue["predictions"],
        tissue["gene_scores"],
    )
    panels = _panels(figure)
    assert [axes.get_title() for axes in panels[:3]] == [
        "measured",
        "completed (spackle)",
        "predicted (vit_b, trained on spackle)",
    ]
    labels = [axes.get_ylabel() for axes in panels[::3]]
    assert labels == ["GENE1 (best)\nPCC 0.80", "GENE0\nPCC 0.30", "GENE3 (worst)\nPCC −0.10"]
    assert figure.get_suptitle() == "test slide B"


def test_values_are_those_of_the_spots_whatever_their_order(tissue: dict[str, Any]) -> None:
    expression, predictions = tissue["expression"], tissue["predictions"]
    figure = maps.gene_maps(
        expression,
        {"spackle": tissue["completed"]},
        predictions,
        tissue["gene_scores"],
        count=1,
    )
    measured, completed, predicted = _panels(figure)
    rows = (expression.obs["slide"] == "B").to_numpy()
    seen = expression.layers["measured"][rows, 1]
    np.testing.assert_array_equal(_values(measured), expression.layers["log_tpm"][rows, 1][seen])
    np.testing.assert_array_equal(
        _values(completed), tissue["completed"].layers["spackle"][rows, 1]
    )
    ordered = predictions[expression.obs_names[rows]].layers["vit_b.42"][:, 1]
    np.testing.assert_array_equal(_values(predicted), ordered)


def test_completed_values_go_through_the_slides_map_into_combat(tissue: dict[str, Any]) -> None:
    expression, predictions = tissue["expression"], tissue["predictions"]
    predictions.uns["space"] = "combat"
    scores = tissue["gene_scores"].assign(space="combat")
    figure = maps.gene_maps(
        expression, {"spackle": tissue["completed"]}, predictions, scores, count=1
    )
    measured, completed, _ = _panels(figure)
    rows = (expression.obs["slide"] == "B").to_numpy()
    seen = expression.layers["measured"][rows, 1]
    # Measured entries of the completed object are unchanged, so both panels must agree on them.
    np.testing.assert_allclose(_values(completed)[seen], _values(measured), rtol=1e-5)


def test_coordinates_are_in_micrometres(tissue: dict[str, Any]) -> None:
    one = tissue["expression"][tissue["expression"].obs["slide"] == "B"]
    xy, pitch = maps._coordinates(one)
    assert pitch == 100.0
    pixels = one.obsm["spatial"]
    np.testing.assert_allclose(np.ptp(xy, axis=0), 2 * np.ptp(pixels, axis=0), rtol=1e-3)


def test_without_completion_two_columns_remain(tissue: dict[str, Any]) -> None:
    figure = maps.gene_maps(
        tissue["expression"], {}, tissue["predictions"], tissue["gene_scores"], count=2
    )
    assert len(_panels(figure)) == 4


def test_spread_over_includes_both_ends() -> None:
    assert maps.spread_over(list("abcde"), 3) == ["a", "c", "e"]
    assert maps.spread_over(list("abcde"), 1) == ["a"]
    assert maps.spread_over(list("ab"), 9) == ["a", "b"]


def test_without_scores_the_first_genes_are_drawn_and_none_is_called_best(
    tissue: dict[str, Any],
) -> None:
    other = tissue["gene_scores"].assign(target="raw")
    figure = maps.gene_maps(tissue["expression"], {}, tissue["predictions"], other, count=2)
    assert [axes.get_ylabel() for axes in _panels(figure)[::2]] == ["GENE0\nPCC –", "GENE5\nPCC –"]


def test_wrong_predictions_are_refused_by_name(tissue: dict[str, Any]) -> None:
    given = (tissue["expression"], {}, tissue["predictions"], tissue["gene_scores"])
    with pytest.raises(ContractError, match=r"no layer 'vit_b\.43' \(did you mean 'vit_b\.42'\?\)"):
        maps.gene_maps(*given, layer="vit_b.43")
    val = tissue["expression"][tissue["expression"].obs["slide"] == "A"]
    with pytest.raises(ContractError, match="predictions are of slide 'B', which the expression"):
        maps.gene_maps(val, *given[1:])
