"""Genes on the tissue: measured, completed and predicted, side by side on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spared_benchmark.errors import ContractError, nearest
from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.numbers import decimal

COVER = 0.92  # of the pitch: discs that nearly touch read as tissue
UNIT = {"log_tpm": "log$_2$(TPM+1)", "combat": "batch-corrected log$_2$(TPM+1)"}


@dataclass(frozen=True)
class Panel:
    """One column of the figure.

    Attributes:
        title: What the column shows.
        values: (n_spots, n_genes), NaN where there is nothing to show.
    """

    title: str
    values: NDArray[np.float32]


def gene_maps(
    expression: AnnData,
    completed: Mapping[str, AnnData],
    predictions: AnnData,
    gene_scores: pd.DataFrame,
    count: int = 3,
    layer: str | None = None,
) -> Figure:
    """Draw a slide's best-, middling- and worst-predicted genes on its tissue coordinates.

    Args:
        expression: The cohort's expression object.
        completed: Completed objects by completer; the one the predictor was trained on is drawn,
            else the first; none is drawn when empty.
        predictions: One predictor's predictions for one target.
        gene_scores: Tidy scores by gene of the cohort; tells how well each gene is predicted.
        count: Genes to draw: 1 the best, 2 the best and the worst, more spread between the two.
        layer: ``<predictor>.<seed>``; the first of ``predictions`` when not given.

    Genes whose score is undefined are drawn only when no gene has one, in the expression's order.

    Raises:
        ContractError: When ``predictions`` hold no such layer, or spots of no slide of
            ``expression``.
    """
    layer = layer or next(iter(predictions.layers), "")
    target, space = str(predictions.uns["target"]), str(predictions.uns["space"])
    slide = _slide(predictions)
    _check(expression, predictions, layer, slide)
    ranking = gene_ranking(gene_scores, layer, target, space, slide)
    ranking = ranking[ranking.index.isin(expression.var_names)]
    if ranking.empty:
        ranking = pd.Series(np.nan, index=expression.var_names)
    chosen = spread_over([str(gene) for gene in ranking.index], count)
    columns = expression.var_names.get_indexer(chosen)
    spots = expression[(expression.obs["slide"] == slide).to_numpy(), columns]
    panels = [_truth(spots, space)]
    if completed:
        name = target if target in completed else next(iter(completed))
        panels.append(_completed(spots, completed[name], name, space, columns))
    panels.append(_predicted(spots, predictions, layer, target))
    labels = _labels(spots, chosen, ranking)
    return _draw(spots, panels, labels, f"{spots.obs['split'].iloc[0]} slide {slide}", space)


def gene_ranking(
    gene_scores: pd.DataFrame, layer: str, target: str, space: str, slide: str
) -> pd.Series:
    """Return the PCC of every gene on ``slide``, the best first; undefined genes are left out."""
    predictor, _, seed = layer.rpartition(".")
    rows = gene_scores[
        (gene_scores["predictor"] == predictor)
        & (gene_scores["target"] == target)
        & (gene_scores["space"] == space)
        & (gene_scores["slide"] == slide)
        & gene_scores["metric"].isin(["pcc_gene", "pcc"])
        & (gene_scores["seed"].astype(str) == seed)
    ]
    values = rows.set_index("gene")["value"].dropna()
    return values.sort_values(ascending=False, kind="stable")


def spread_over(genes: Sequence[str], count: int) -> list[str]:
    """Return ``count`` genes evenly spread over a ranking, both ends included."""
    places = np.linspace(0, len(genes) - 1, min(max(count, 1), len(genes))).round().astype(int)
    return [genes[place] for place in dict.fromkeys(places.tolist())]


def _check(expression: AnnData, predictions: AnnData, layer: str, slide: str) -> None:
    if layer not in predictions.layers:
        raise ContractError(
            f"predictions hold no layer {layer!r}{nearest(layer, predictions.layers)}; they have "
            f"{', '.join(predictions.layers) or 'none'}"
        )
    if slide not in set(expression.obs["slide"]):
        raise ContractError(
            f"predictions are of slide {slide!r}, which the expression lacks; it has "
            f"{', '.join(map(str, expression.obs['slide'].unique()))}; predict again"
        )


def _slide(predictions: AnnData) -> str:
    obs = predictions.obs
    rows = obs[obs["split"] == "test"] if (obs["split"] == "test").any() else obs
    return str(rows["slide"].iloc[0])


def _truth(spots: AnnData, space: str) -> Panel:
    values = np.asarray(spots.layers[space], dtype=np.float32)
    measured = np.asarray(spots.layers["measured"], dtype=bool)
    return Panel("measured", np.where(measured, values, np.float32(np.nan)))


def _completed(
    spots: AnnData, completed: AnnData, name: str, space: str, columns: NDArray[np.intp]
) -> Panel:
    rows = completed[spots.obs_names, spots.var_names]
    values = np.asarray(rows.layers[name], dtype=np.float32)
    if space == "combat":
        scale, shift = _affine(spots, columns)
        values = scale * values + shift
    return Panel(f"completed ({name})", values)


def _affine(
    spots: AnnData, columns: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the slide's map from ``log_tpm`` to ``combat`` for some genes, each (1, n_columns)."""
    maps = spots.uns["combat"]
    row = [str(slide) for slide in maps["slides"]].index(str(spots.obs["slide"].iloc[0]))
    return (
        np.asarray(maps["scale"], dtype=np.float32)[row, columns][None],
        np.asarray(maps["shift"], dtype=np.float32)[row, columns][None],
    )


def _predicted(spots: AnnData, predictions: AnnData, layer: str, target: str) -> Panel:
    values = np.full(spots.shape, np.nan, dtype=np.float32)
    rows = predictions.obs_names.get_indexer(spots.obs_names)
    columns = predictions.var_names.get_indexer(spots.var_names)
    found = np.asarray(predictions.layers[layer], dtype=np.float32)[np.ix_(rows, columns)]
    values[rows >= 0] = found[rows >= 0]
    return Panel(f"predicted ({layer.rpartition('.')[0]}, trained on {target})", values)


def _labels(spots: AnnData, chosen: Sequence[str], ranking: pd.Series) -> list[str]:
    symbols = spots.var["symbol"] if "symbol" in spots.var else spots.var_names.to_series()
    words = [""] * len(chosen)
    if ranking.notna().any():
        words[-1] = "worst"
        words[0] = "best"
    return [
        f"{symbols[gene]}{f' ({word})' if word else ''}\nPCC {decimal(float(ranking[gene]), 2)}"
        for gene, word in zip(chosen, words, strict=True)
    ]


def _draw(
    spots: AnnData, panels: Sequence[Panel], labels: Sequence[str], title: str, space: str
) -> Figure:
    xy, pitch = _coordinates(spots)
    extent = np.ptp(xy, axis=0) + pitch
    ratio = min(max(float(extent[1] / extent[0]), 0.35), 1.6)
    height = (style.WIDTH_IN - 1.4) / 3 * ratio + 0.3
    figure = style.new_figure(height * len(labels) + 0.45)
    grid = figure.subplots(len(labels), len(panels), squeeze=False)
    for row, label in enumerate(labels):
        stack = np.concatenate([panel.values[:, row] for panel in panels])
        scale = Normalize(*np.nanpercentile(stack, [1, 99]))
        for axes, panel in zip(grid[row], panels, strict=True):
            _spots(axes, xy, pitch, panel.values[:, row], scale)
        for axes, panel in zip(grid[0], panels, strict=True):
            axes.set_title(panel.title, fontsize=style.TEXT, color=style.INK)
        grid[row][0].set_ylabel(label, fontsize=style.TEXT, color=style.INK, fontweight="bold")
        bar = figure.colorbar(
            ScalarMappable(scale, "viridis"), ax=list(grid[row]), aspect=22, pad=0.015, shrink=0.85
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=style.SMALL, width=0.8, length=3)
        bar.set_label(UNIT.get(space, space), fontsize=style.SMALL)
    _scale_bar(grid[-1][0], xy, "µm" if "pitch_um" in spots.uns else "px")
    figure.suptitle(title, x=0.01, ha="left", fontsize=style.TEXT, fontweight="bold")
    return figure


def _coordinates(spots: AnnData) -> tuple[NDArray[np.float64], float]:
    """Return spot centres and the pitch, in µm when the pitch is known, else in pixels."""
    pixels = np.asarray(spots.obsm["spatial"], dtype=np.float64)
    distances = np.asarray(cKDTree(pixels).query(pixels, k=min(2, len(pixels)))[0])
    spacing = float(np.median(distances.reshape(len(pixels), -1)[:, -1])) or 1.0
    pitch = float(spots.uns.get("pitch_um", spacing))
    return pixels * (pitch / spacing), pitch


def _spots(
    axes: Axes,
    xy: NDArray[np.float64],
    pitch: float,
    values: NDArray[np.float32],
    scale: Normalize,
) -> None:
    sizes = np.full(len(xy), COVER * pitch)
    known = np.isfinite(values)
    for rows, colour in ((~known, {"facecolors": "#eceef1"}), (known, {})):
        discs = EllipseCollection(
            sizes[rows],
            sizes[rows],
            np.zeros(int(rows.sum())),
            units="xy",
            offsets=xy[rows],
            offset_transform=axes.transData,
            linewidths=0,
            **colour,
        )
        if not colour:
            discs.set(array=values[rows], cmap="viridis", norm=scale)
        axes.add_collection(discs)
    low, high = xy.min(axis=0) - pitch, xy.max(axis=0) + pitch
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])  # image rows run downwards
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _scale_bar(axes: Axes, xy: NDArray[np.float64], unit: str) -> None:
    width = float(np.ptp(xy[:, 0]))
    lengths = [step * 10.0**power for power in range(5) for step in (1, 2, 5)]
    length = max((item for item in lengths if item <= width / 3), default=lengths[0])
    axes.annotate(
        f"{length:g} {unit}",
        (0, -0.02),
        xycoords="axes fraction",
        xytext=(0, -6),
        textcoords="offset points",
        va="top",
        fontsize=style.SMALL,
        color=style.GREY,
    )
    left = axes.get_xlim()[0]
    axes.plot(
        [left, left + length],
        [-0.02, -0.02],
        transform=axes.get_xaxis_transform(),
        color=style.GREY,
        linewidth=2,
        clip_on=False,
        solid_capstyle="butt",
    )
