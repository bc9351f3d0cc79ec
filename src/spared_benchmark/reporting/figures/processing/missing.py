"""Which share of the entries is missing, by gene and slide."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.processing import tissue
from spared_benchmark.reporting.numbers import percent, whole

_NAMED = 36  # gene names that fit side by side


def missing(expression: AnnData) -> Figure:
    """Draw the missing share of each chosen gene on each slide, with that of genes and slides.

    Args:
        expression: Layer ``measured``; ``obs["slide"]`` and ``obs["split"]``.
    """
    shares = missing_shares(expression)
    of_gene = 1 - np.asarray(expression.layers["measured"], dtype=bool).mean(axis=0)
    of_slide = shares.to_numpy().mean(axis=1)
    order = np.argsort(of_gene, kind="stable")
    rows = len(shares)
    figure = style.new_figure(2.5 + max(0.24 * rows, 0.5))
    ((top, corner), (heat, side)) = figure.subplots(
        2,
        2,
        width_ratios=[6, 1],
        height_ratios=[1.1, max(0.24 * rows, 0.5)],
        sharex="col",
        sharey="row",
    )
    corner.set_visible(False)
    _genes(top, 100 * of_gene[order], float(of_gene.mean()))
    image = _heat(heat, 100 * shares.to_numpy()[:, order])
    _name_genes(heat, tissue.symbols_of(expression.var).to_numpy(str)[order])
    splits = expression.obs.drop_duplicates("slide")["split"].astype(str)
    labels = [f"{tissue.short(s)} ({p})" for s, p in zip(shares.index, splits, strict=True)]
    heat.set_yticks(range(rows), labels)
    _slides(side, 100 * of_slide)
    bar = figure.colorbar(image, ax=[top, corner, heat, side], aspect=30, pad=0.01)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=style.SMALL, width=0.8, length=3)
    bar.set_label("missing, % of spots", fontsize=style.SMALL)
    return figure


def missing_shares(expression: AnnData) -> pd.DataFrame:
    """Return the missing share of each gene on each slide, from 0 to 1 (slides × genes)."""
    slide = pd.Categorical(
        expression.obs["slide"].astype(str),
        categories=list(dict.fromkeys(expression.obs["slide"].astype(str))),
    )
    code = np.asarray(slide.codes, dtype=np.intp)
    entries = (1 / np.bincount(code)[code], (code, np.arange(len(code))))
    mean = sparse.csr_matrix(entries, shape=(len(slide.categories), len(code)))
    measured = mean @ np.asarray(expression.layers["measured"], dtype=np.float32)
    return pd.DataFrame(1 - measured, index=slide.categories, columns=expression.var_names)


def _genes(axes: Axes, shares: NDArray[np.float64], mean: float) -> None:
    number = len(shares)
    title = f"{percent(mean, 1)} of the entries of {whole(number)} chosen genes are missing"
    style.dress(axes, title, "", "all slides, %")
    axes.bar(np.arange(number), shares, width=1.0 if number > 40 else 0.85, color=style.BLUE)
    axes.set_ylim(0, 100)
    axes.tick_params(axis="x", length=0, labelbottom=False)


def _heat(axes: Axes, shares: NDArray[np.float64]) -> AxesImage:
    image = axes.imshow(
        shares, aspect="auto", cmap="viridis", vmin=0, vmax=100, interpolation="nearest"
    )
    style.dress(axes)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _name_genes(axes: Axes, names: NDArray[np.str_]) -> None:
    step = -(-len(names) // _NAMED)
    shown = np.arange(0, len(names), step)
    axes.set_xticks(shown, [tissue.short(name, 15) for name in names[shown]])
    axes.tick_params(axis="x", labelrotation=90, labelsize=style.SMALL - 1, labelbottom=True)
    every = "" if step == 1 else f"; one in {step} is named"
    axes.set_xlabel(f"genes, the least missing first{every}", fontsize=style.TEXT)


def _slides(axes: Axes, shares: NDArray[np.float64]) -> None:
    style.dress(axes, "", "all genes, %")
    axes.barh(np.arange(len(shares)), shares, height=0.85, color=style.BLUE)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", length=0, labelleft=False)
