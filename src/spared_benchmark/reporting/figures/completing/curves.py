"""How the error on val fell while networks were trained, one line per learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spared_benchmark.reporting.figures import style
from spared_benchmark.reporting.numbers import decimal, whole

_COLUMNS = 2
_HEIGHT = 2.5  # inches of a row of panels
_TOP = 2.0  # times the lowest error of a panel: what lies above is on the way down or diverging


@dataclass(frozen=True)
class Curve:
    """One training.

    Attributes:
        space: Of the values it learnt.
        learning_rate: Of Adam.
        steps: At which it was validated.
        errors: ``val_mse`` there.
    """

    space: str
    learning_rate: float
    steps: tuple[int, ...]
    errors: tuple[float, ...]


def learning_curves(curves: Mapping[str, Sequence[Curve]]) -> Figure | None:
    """Draw the error on selection entries against the step, a panel per method and space.

    A mark stands at the lowest error, whose weights are kept. Errors beyond twice the lowest of a
    panel are cut.

    Args:
        curves: By method.

    Returns:
        None when nothing was trained.
    """
    panels = [
        (method, space, [curve for curve in own if curve.space == space])
        for method, own in curves.items()
        for space in dict.fromkeys(curve.space for curve in own)
    ]
    if not panels:
        return None
    rows = math.ceil(len(panels) / _COLUMNS)
    figure = style.new_figure(_HEIGHT * rows + 0.3)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for axes, (method, space, own) in zip(grid, panels, strict=False):
        style.dress(axes, f"{method}, {space}")
        _panel(axes, own)
    for axes in list(figure.axes)[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel("step", fontsize=style.TEXT, color=style.INK)
    figure.supylabel("MSE on val entries of selection", fontsize=style.TEXT, color=style.INK)
    return figure


def _panel(axes: Axes, curves: Sequence[Curve]) -> None:
    lowest = min((min(curve.errors) for curve in curves if curve.errors), default=math.nan)
    for number, curve in enumerate(sorted(curves, key=lambda curve: curve.learning_rate)):
        if not curve.errors:
            continue
        colour = style.PALETTE[number % len(style.PALETTE)]
        best = curve.errors.index(min(curve.errors))
        label = (
            f"{curve.learning_rate:g}: {decimal(curve.errors[best])} at {whole(curve.steps[best])}"
        )
        axes.plot(curve.steps, curve.errors, color=colour, lw=1.4, label=label)
        axes.plot(curve.steps[best], curve.errors[best], "o", ms=5, color=colour)
    if math.isfinite(lowest):
        highest = max(max(curve.errors) for curve in curves if curve.errors)
        top = min(highest, _TOP * lowest)
        margin = 0.06 * max(top - lowest, 1e-3 * lowest)
        axes.set_ylim(lowest - margin, top + margin)
    axes.legend(
        title="rate: lowest at step",
        fontsize=style.SMALL,
        title_fontsize=style.SMALL,
        frameon=False,
    )
