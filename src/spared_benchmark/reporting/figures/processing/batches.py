"""Slides before and after ComBat: how far apart they lie, in numbers and in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.figures.processing import tissue
from spared_benchmark.reporting.numbers import percent

Floats = NDArray[np.float64]
Colour = str | tuple[float, float, float, float]
_SHARES = (5, 25, 50, 75, 95)


def batches(expression: AnnData) -> Figure:
    """Draw gene means by slide and the spots' principal components, before and after ComBat.

    Both panels of components show the same two axes, those of the values before; how much of the
    variance lies between slides is said above.

    Args:
        expression: Layers ``median`` (before) and ``combat`` (after); ``uns["combat"]`` tells
            whether and why a correction was skipped.
    """
    names = list(dict.fromkeys(expression.obs["slide"].astype(str)))
    places = {name: place for place, name in enumerate(names)}
    slide = expression.obs["slide"].astype(str).map(places).to_numpy(np.intp)
    before, after = (
        np.asarray(expression.layers[name], dtype=np.float64) for name in ("median", "combat")
    )
    if np.array_equal(before, after):
        shown = {"without ComBat": before}
    else:
        shown = {"before ComBat": before, "after ComBat": after}
    figure = style.new_figure(max(3.6, 1.5 + 0.26 * len(names)))
    left, *rest = figure.subplots(1, 1 + len(shown), width_ratios=[1.1] + [1] * len(shown))
    colours = slide_colours(len(names))
    _gene_means(left, {when: gene_deviations(one, slide) for when, one in shown.items()})
    _name_slides(figure, left, names, colours)
    _components(rest, shown, slide, colours)
    if len(shown) > 1:
        figure.legend(
            loc="outside lower left", ncols=2, frameon=False, fontsize=style.SMALL, handlelength=1
        )
    style.headline(figure, _headline(dict(expression.uns.get("combat", {})), shown, slide))
    return figure


def between_slide_share(values: Floats, slide: NDArray[np.intp]) -> float:
    """Return the mean over genes of the variance between slides over the total variance.

    Genes that do not vary are left out; NaN when none varies.

    Args:
        values: ``(n_spots, n_genes)``.
        slide: Code of each spot's slide, from 0 ``(n_spots,)``.
    """
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    between = np.bincount(slide) @ gene_deviations(values, slide) ** 2
    varying = total > 1e-12 * len(values)
    return float((between[varying] / total[varying]).mean()) if varying.any() else float("nan")


def gene_deviations(values: Floats, slide: NDArray[np.intp]) -> Floats:
    """Return each gene's mean on each slide less its mean over all spots ``(n_slides, n_genes)``.

    Args:
        values: ``(n_spots, n_genes)``.
        slide: Code of each spot's slide, from 0 ``(n_spots,)``.
    """
    spots = np.bincount(slide)
    entries = (1 / spots[slide], (slide, np.arange(len(slide))))
    means = sparse.csr_matrix(entries, shape=(spots.size, len(slide))) @ values
    return np.asarray(means - values.mean(axis=0))


def slide_colours(number: int) -> list[Colour]:
    """Return one colour per slide: the house's for up to 7, else steps from dark to light."""
    if number <= len(style.PALETTE):
        return list(style.PALETTE[:number])
    return [colormaps["viridis"](place) for place in np.linspace(0, 0.95, number)]


def _headline(combat: dict[str, Any], shown: Mapping[str, Floats], slide: NDArray[np.intp]) -> str:
    reason, key = str(combat.get("skipped", "")), combat.get("batch_key", "slide")
    if slide.max() == 0:
        text = "One slide: no variance between slides"
    else:
        text = "Share of the variance that lies between slides: " + ", ".join(
            f"{percent(between_slide_share(values, slide), 1)} {when}"
            for when, values in shown.items()
        )
    if len(shown) == 1:
        return f"{text}. " + (
            f"ComBat was skipped: {reason}" if reason else "ComBat changed nothing"
        )
    return f"{text} (batch: {key})" + (f"\nComBat in part only: {reason}" if reason else "")


def _gene_means(axes: Axes, deviations: Mapping[str, Floats]) -> None:
    unit = "mean on the slide \N{MINUS SIGN} mean of all spots,\nlog$_2$(TPM+1)"
    style.dress(axes, "Gene means by slide: 5 to 95 %", unit)
    step = 0.34
    first = -step * (len(deviations) - 1) / 2
    widest = 0.05
    for place, (when, values) in enumerate(deviations.items()):
        colour = style.BLUE if when.startswith("after") else style.GREY
        rows = np.arange(len(values)) + first + place * step
        low, lower, middle, upper, high = np.percentile(values, _SHARES, axis=1)
        axes.hlines(rows, low, high, color=colour, linewidth=1)
        axes.hlines(rows, lower, upper, color=colour, linewidth=4, label=when)
        axes.plot(middle, rows, "o", markersize=4, color="white", markeredgecolor=style.INK)
        widest = max(widest, -1.06 * float(low.min()), 1.06 * float(high.max()))
    axes.set_xlim(-widest, widest)
    axes.axvline(0, color=style.LIGHT, linewidth=1, zorder=0)


def _name_slides(
    figure: Figure, axes: Axes, names: Sequence[str], colours: Sequence[Colour]
) -> None:
    axes.set_yticks(range(len(names)), [tissue.short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=13)
    beside = offset_copy(axes.get_yaxis_transform(), figure, x=-8, units="points")
    rows = np.arange(len(names))
    axes.scatter(np.zeros(len(names)), rows, s=34, c=list(colours), transform=beside, clip_on=False)


def _components(
    panels: Sequence[Axes],
    shown: Mapping[str, Floats],
    slide: NDArray[np.intp],
    colours: Sequence[Colour],
) -> None:
    before = next(iter(shown.values()))
    directions, shares = principal_axes(before)
    points = [(values - values.mean(axis=0)) @ directions for values in shown.values()]
    # In a random order, or the last slide would hide the others.
    order = np.random.default_rng(0).permutation(len(slide))
    palette = np.array([to_rgba(colour) for colour in colours])
    everything = np.concatenate(points)
    low, high = np.percentile(everything, [0.1, 99.9], axis=0)
    margin = 0.08 * (high - low) + 1e-6
    size = float(np.clip(9000 / len(slide), 1.0, 14.0))
    for axes, when, place in zip(panels, shown, points, strict=True):
        style.dress(axes, f"Spots {when}", f"component 1 ({percent(shares[0])})")
        first, second = place[order].T
        axes.scatter(first, second, s=size, c=palette[slide[order]], alpha=0.6, linewidths=0)
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.tick_params(labelleft=axes is panels[0])
    panels[0].set_ylabel(f"component 2 ({percent(shares[1])})", fontsize=style.TEXT)


def principal_axes(values: Floats) -> tuple[Floats, Floats]:
    """Return the first two principal directions and their shares of the variance.

    Args:
        values: ``(n_spots, n_genes)``.

    Returns:
        ``(n_genes, 2)`` and ``(2,)``; a direction of zeros stands for one that is not there.
    """
    centred = values - values.mean(axis=0)
    # The covariance is small (genes by genes), however many spots there are.
    variances, directions = np.linalg.eigh(centred.T @ centred)
    first = np.zeros((values.shape[1], 2)), np.zeros(2)
    number = min(2, values.shape[1])
    first[0][:, :number] = directions[:, ::-1][:, :number]
    first[1][:number] = variances[::-1][:number] / max(float(variances.sum()), 1e-300)
    # The sign is arbitrary: the largest entry is made positive.
    largest = np.abs(first[0]).argmax(axis=0)
    signs = np.where(first[0][largest, [0, 1]] < 0, -1.0, 1.0)
    return first[0] * signs, first[1]
