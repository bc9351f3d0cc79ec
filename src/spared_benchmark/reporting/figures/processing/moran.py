"""Genes ranked by Moran's I, the best and the worst of them on the tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from spared_benchmark.reporting.figures import dots, style
from spared_benchmark.reporting.figures.processing import tissue
from spared_benchmark.reporting.numbers import decimal, whole

_SLIDES = 3
_CURVE_IN, _PANEL_IN = 2.4, 1.36


@dataclass(frozen=True)
class Drawn:
    """One gene on the tissue.

    Attributes:
        label: Symbol, rank and Moran's I.
        values: log2(TPM+1) ``(n_spots,)``, NaN where missing.
        rank: Among all ranked genes, 1 is the best.
        moran: Moran's I.
    """

    label: str
    values: NDArray[np.float32]
    rank: int
    moran: float


def moran_ranking(
    expression: AnnData, context: AnnData | None, genes: pd.DataFrame, count: int = 3
) -> Figure:
    """Draw Moran's I by rank and, on tissue, the best chosen and the worst context genes.

    The tissue is the first slide of each split. Without context genes the worst chosen ones are
    drawn.

    Args:
        expression: The chosen genes.
        context: Those that rank next, of the same spots.
        genes: One row per gene: gene, symbol, moran, rank, fate.
        count: Genes to draw of each end, as far as there are so many.
    """
    ranked = genes[genes["moran"].notna() & genes["rank"].notna()].sort_values("rank")
    ranked = ranked.assign(name=tissue.symbols_of(ranked.set_index("gene")).to_numpy())
    if not (ranked["fate"] == "chosen").any():
        return tissue.only_words("Moran's I of the chosen genes is not known")
    best, worst, where = _ends(expression, context, ranked, count)
    drawn = [*best, *worst]
    slides = _first_of_each_split(expression)
    xy = {slide: _centres(expression, slide) for slide in slides}
    panel = _PANEL_IN * max(tissue.steepness(centres) for centres in xy.values())
    heights = [_CURVE_IN, panel * len(slides) + 1.15]
    figure = style.new_figure(sum(heights))
    halves = figure.add_gridspec(2, 1, height_ratios=heights)
    top, bottom = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    _curve(top.subplots(), ranked, drawn)
    _tissue(bottom, expression, xy, drawn)
    style.headline(bottom, _title(("Best genes", best), (where, worst)))
    return figure


def _ends(
    expression: AnnData, context: AnnData | None, ranked: pd.DataFrame, count: int
) -> tuple[list[Drawn], list[Drawn], str]:
    """Return the best genes, the worst ones and what to call these."""
    chosen = ranked[ranked["fate"] == "chosen"]
    others = ranked[ranked["fate"] == "context"]
    if context is None or others.empty:
        number = min(count, len(chosen) // 2)
        best, worst = chosen.iloc[: max(number, 1)], chosen.iloc[len(chosen) - number :]
        source, where = expression, "worst chosen genes"
    else:
        best, worst = chosen.iloc[:count], others.iloc[-count:]
        source, where = context, "worst genes of the context"
    return (
        [_drawn(expression, gene) for _, gene in best.iterrows()],
        [_drawn(source, gene) for _, gene in worst.iterrows()],
        where,
    )


def _curve(axes: Axes, ranked: pd.DataFrame, drawn: list[Drawn]) -> None:
    chosen = int((ranked["fate"] == "chosen").sum())
    title = f"{whole(chosen)} of {whole(len(ranked))} ranked genes are chosen"
    style.dress(axes, title, "rank", "Moran's I")
    rank, moran = ranked["rank"].to_numpy(float), ranked["moran"].to_numpy(float)
    axes.plot(rank, moran, color=style.LIGHT, linewidth=1.2, zorder=1)
    for fate, colour, width in (
        ("passed", style.SKY, 1.6),
        ("context", style.BLUE, 1.8),
        ("chosen", style.VERMILLION, 2.2),
    ):
        rows = (ranked["fate"] == fate).to_numpy()
        if rows.any():
            words = {"passed": "ranked, not used"}.get(fate, fate)
            label = f"{words}: {whole(rows.sum())}"
            axes.plot(rank[rows], moran[rows], color=colour, linewidth=width, label=label)
    if 0 < chosen < len(ranked):
        cut = rank[(ranked["fate"] == "chosen").to_numpy()].max() + 0.5
        axes.axvline(cut, color=style.INK, linewidth=0.9, linestyle=dots.DASHED, zorder=1)
    axes.axhline(0, color=style.LIGHT, linewidth=0.9, zorder=0)
    axes.plot(
        [gene.rank for gene in drawn],
        [gene.moran for gene in drawn],
        "o",
        markersize=5.5,
        color="white",
        markeredgecolor=style.INK,
        label="drawn below",
    )
    axes.legend(loc="upper right", frameon=False, fontsize=style.SMALL, handletextpad=0.5)


def _tissue(
    figure: SubFigure, expression: AnnData, xy: dict[str, NDArray[np.float64]], drawn: list[Drawn]
) -> None:
    grid = figure.subplots(len(xy), len(drawn), squeeze=False)
    closed = tissue.too_fine(xy.values(), _PANEL_IN)
    for column, gene in enumerate(drawn):
        shown = np.concatenate([gene.values[_rows(expression, slide)] for slide in xy])
        scale = _scale(shown)
        for row, (slide, centres) in enumerate(xy.items()):
            values = gene.values[_rows(expression, slide)]
            tissue.discs(grid[row][column], centres, _colours(values, scale), closed=closed)
        grid[0][column].set_title(gene.label, fontsize=style.SMALL, color=style.INK)
        bar = figure.colorbar(
            ScalarMappable(scale, "viridis"),
            ax=list(grid[:, column]),
            orientation="horizontal",
            aspect=12,
            shrink=0.8,
            pad=0.02,
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=style.SMALL - 1, width=0.6, length=2)
        bar.ax.locator_params(nbins=3)
    for row, slide in enumerate(xy):
        split = expression.obs["split"].to_numpy()[_rows(expression, slide)][0]
        label = f"{split}\n{tissue.short(slide, 14)}"
        grid[row][0].set_ylabel(label, fontsize=style.SMALL, color=style.INK)
    figure.supxlabel(
        "log$_2$(TPM+1); grey: missing, no count was measured",
        fontsize=style.SMALL,
        color=style.INK,
    )


def _drawn(source: AnnData, gene: pd.Series) -> Drawn:
    place = source.var_names.get_loc(gene["gene"])
    measured = np.asarray(source.layers["measured"][:, place], dtype=bool)
    values = np.asarray(source.layers["log_tpm"][:, place], dtype=np.float32)
    name = tissue.short(str(gene["name"]), 15)
    label = f"{name}\nrank {whole(gene['rank'])}, I = {decimal(gene['moran'], 2)}"
    shown = np.where(measured, values, np.float32(np.nan))
    return Drawn(label, shown, int(gene["rank"]), float(gene["moran"]))


def _title(*parts: tuple[str, list[Drawn]]) -> str:
    return "; ".join(
        f"{words} (rank {genes[0].rank})"
        if len(genes) == 1
        else f"{words} (ranks {whole(genes[0].rank)} to {whole(genes[-1].rank)})"
        for words, genes in parts
        if genes
    )


def _first_of_each_split(expression: AnnData) -> list[str]:
    who = expression.obs.drop_duplicates("slide")
    order = who["split"].astype(str).map({"train": 0, "val": 1, "test": 2})
    firsts = who.iloc[np.argsort(order.to_numpy(), kind="stable")].drop_duplicates("split")
    return [str(slide) for slide in firsts["slide"]][:_SLIDES]


def _rows(expression: AnnData, slide: str) -> NDArray[np.bool_]:
    return np.asarray(expression.obs["slide"] == slide)


def _centres(expression: AnnData, slide: str) -> NDArray[np.float64]:
    return np.asarray(expression.obsm["spatial"], dtype=np.float64)[_rows(expression, slide)]


def _scale(values: NDArray[np.float32]) -> Normalize:
    known = values[np.isfinite(values)]
    if known.size == 0:
        return Normalize(0, 1)
    low, high = np.percentile(known, [1, 99])
    return Normalize(low, high if high > low else low + 1)


def _colours(values: NDArray[np.float32], scale: Normalize) -> NDArray[np.float64]:
    known = np.isfinite(values)
    colours = np.tile(to_rgba(style.MISSING), (len(values), 1))
    colours[known] = colormaps["viridis"](scale(values[known]))
    return colours
