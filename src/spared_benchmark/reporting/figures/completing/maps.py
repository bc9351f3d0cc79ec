"""Hidden and completed values on the tissue, gene by gene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.completing.examples import Examples, chosen
from spared_benchmark.reporting.numbers import decimal, whole

_ALWAYS = ("spackle", "median")  # what the paper compares
_METHODS, _COLUMNS = 5, 4
_COVER = 0.96  # of the pitch: discs that nearly touch read as tissue
_NOTHING = "#e7e9ed"
_UNIT = "log$_2$(TPM+1)"


@dataclass(frozen=True, eq=False)
class _Panel:
    """One picture of the slide: values by spot, NaN where there is nothing to show."""

    title: str
    values: NDArray[np.float32]


def hidden_maps(examples: Examples, scores: pd.DataFrame) -> Figure | None:
    """Draw the genes of a slide that the best method recovered best and worst.

    Each gene: what was measured, what stayed visible, what was hidden, and what completers gave
    the hidden spots. One colour scale per gene.

    Args:
        examples: Of the first assay of the headline.
        scores: Tidy completion scores of the cohort; tell which completers to show.

    Returns:
        None when there is no completer or nothing was hidden.
    """
    methods = chosen(scores, list(examples.completed), _ALWAYS, _METHODS)
    if not methods or not examples.hidden[examples.of_slide].any():
        return None
    genes = examples.best_and_worst(methods[0])
    xy, pitch = _places(examples)
    lines = math.ceil((3 + len(methods)) / _COLUMNS)
    height = lines * (_panel_height(xy, pitch) + 0.42) + 0.45
    figure = style.new_figure(height * len(genes) + 0.35)
    spots, hidden = whole(len(xy)), whole(int(examples.hidden[examples.of_slide].sum()))
    val = ", validation score" if examples.split == "val" else ""
    figure.suptitle(
        f"{examples.split} slide {examples.slide}{val}: {spots} spots, {hidden} hidden entries "
        f"of {examples.hidden.shape[1]} genes",
        x=0.01,
        ha="left",
        fontsize=style.TEXT,
        color=style.INK,
    )
    parts: list[SubFigure] = list(figure.subfigures(len(genes), 1, squeeze=False).flat)
    words = ("best", "worst") if len(genes) > 1 else ("",)
    for part, gene, word in zip(parts, genes, words, strict=True):
        _gene(part, examples, gene, (methods, word), (xy, pitch))
    return figure


def _gene(
    part: SubFigure,
    examples: Examples,
    gene: int,
    told: tuple[Sequence[str], str],
    places: tuple[NDArray[np.float64], float],
) -> None:
    methods, word = told
    panels = _panels(examples, gene, methods)
    lines = math.ceil(len(panels) / _COLUMNS)
    grid = part.subplots(lines, _COLUMNS, squeeze=False)
    known = panels[0].values[np.isfinite(panels[0].values)]
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    scale = Normalize(float(low), float(max(high, low + 1e-6)))
    for axes, panel in zip(grid.flat, panels, strict=False):
        _discs(axes, places, panel.values, scale)
        axes.set_title(panel.title, fontsize=style.SMALL, color=style.INK)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    symbol = _symbol(examples, gene)
    described = f"{symbol}, {word} recovered by {methods[0]}" if word else symbol
    part.suptitle(described, x=0.01, ha="left", fontsize=style.TEXT, fontweight="bold")
    bar = part.colorbar(
        ScalarMappable(scale, "viridis"), ax=list(grid.flat), aspect=28, pad=0.01, shrink=0.8
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=style.SMALL, width=0.8, length=3)
    bar.set_label(_UNIT, fontsize=style.SMALL)


def _panels(examples: Examples, gene: int, methods: Sequence[str]) -> list[_Panel]:
    rows = examples.of_slide
    truth, hidden = examples.truth[rows, gene], examples.hidden[rows, gene]
    nothing = np.float32(np.nan)
    panels = [
        _Panel(f"measured, n = {whole(int(np.isfinite(truth).sum()))}", truth),
        _Panel("visible", np.where(hidden, nothing, truth)),
        _Panel(f"hidden, n = {whole(int(hidden.sum()))}", np.where(hidden, truth, nothing)),
    ]
    for name in methods:
        error, correlation = examples.by_gene(name).iloc[gene][["mse", "pcc"]]
        title = f"{name}\nMSE {decimal(error, 2)}, PCC {decimal(correlation, 2)}"
        panels.append(_Panel(title, examples.values(name)[rows, gene]))
    return panels


def _symbol(examples: Examples, gene: int) -> str:
    var = examples.expression.var
    symbol = str(var["symbol"].iloc[gene]) if "symbol" in var else ""
    return symbol or str(var.index[gene])


def _places(examples: Examples) -> tuple[NDArray[np.float64], float]:
    """Return the slide's spot centres ``(n_spots, 2)`` and their pitch, pixels."""
    xy = np.asarray(examples.expression.obsm["spatial"], dtype=np.float64)[examples.of_slide]
    if len(xy) < 2:
        return xy, 1.0
    return xy, float(np.median(np.asarray(cKDTree(xy).query(xy, k=2)[0])[:, 1])) or 1.0


def _panel_height(xy: NDArray[np.float64], pitch: float) -> float:
    extent = np.ptp(xy, axis=0) + pitch
    return (style.WIDTH_IN - 1.0) / _COLUMNS * min(max(float(extent[1] / extent[0]), 0.35), 1.4)


def _discs(
    axes: Axes,
    places: tuple[NDArray[np.float64], float],
    values: NDArray[np.float32],
    scale: Normalize,
) -> None:
    xy, pitch = places
    known = np.isfinite(values)
    # What is known is drawn last: few spots must not drown among those that hold nothing.
    for rows, colour in ((~known, _NOTHING), (known, None)):
        sizes = np.full(int(rows.sum()), _COVER * pitch)
        discs = EllipseCollection(
            sizes,
            sizes,
            np.zeros(sizes.size),
            units="xy",
            offsets=xy[rows],
            offset_transform=axes.transData,
            linewidths=0,
        )
        if colour is None:
            discs.set(array=values[rows], cmap="viridis", norm=scale)
        else:
            discs.set_facecolor(colour)
        axes.add_collection(discs)
    low, high = xy.min(axis=0) - pitch, xy.max(axis=0) + pitch
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])  # image rows run downwards
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
