"""Closed forms with a few numbers that are chosen on the selection entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.closed_form import MeanBased
from spared_benchmark.completion.residual import by_slide
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import InputError

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

Grid = Mapping[str, tuple[float, ...]]
Choice = dict[str, float]
Candidates = Iterator[tuple[Choice, NDArray[np.float64]]]

_PREFIX = "chosen."


class GridChosen(MeanBased):
    """A completer that tries a small grid on the selection entries and keeps the best.

    Attributes:
        tuned: Hyper-parameters that hold the values to try, or the one value to use.
        chosen: The values in use, after the fit.
    """

    tuned: ClassVar[tuple[str, ...]]

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        super()._fit(train, selection, training)
        self._learn(train, training)
        grid = self._grid()
        if all(len(values) == 1 for values in grid.values()):
            self.chosen: Choice = {name: values[0] for name, values in grid.items()}
            self.record = {"chosen": self.chosen}
            return
        tried = validation_errors(self.card.name, selection, lambda one: self._try(one, grid))
        best = min(tried, key=lambda row: row["val_mse"])
        self.chosen = {name: best[name] for name in grid}
        self.record = {"chosen": self.chosen, "grid": tried}

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        grid = {name: (value,) for name, value in self.chosen.items()}
        return by_slide(slide, lambda one: next(self._try(one, grid))[1])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return ``gene_mean`` and each chosen value as ``chosen.<name>`` ``(1,)``."""
        chosen = {_PREFIX + name: np.array([value]) for name, value in self.chosen.items()}
        return {**super().state(), **chosen}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take ``gene_mean`` and the chosen values."""
        super().load_state(state)
        self.chosen = {name: float(state[_PREFIX + name][0]) for name in self.tuned}

    def _learn(self, train: Visible, training: Training) -> None:
        """Learn more than the gene means; called before anything is tried."""

    @abstractmethod
    def _try(self, slide: Visible, grid: Grid) -> Candidates:
        """Yield every point of ``grid`` with its completion of one slide."""

    def _grid(self) -> dict[str, tuple[float, ...]]:
        return {name: _values(self.settings[name]) for name in self.tuned}


def validation_errors(name: str, selection: Selection, candidates: Any) -> list[dict[str, float]]:
    """Return each candidate's choice with ``val_mse``, its error over all selection entries.

    Args:
        name: Of the method, for the error.
        selection: Val slides with entries hidden for this purpose.
        candidates: Gives for one slide an iterator of choices and completions, the same choices
            in the same order for every slide.

    Raises:
        InputError: When no entry is hidden for selection.
    """
    judged = int(selection.hidden.sum())
    if judged == 0:
        msg = (
            f"{name}: no entry is hidden for selection; give val slides with measured entries, or "
            "one value for each hyper-parameter"
        )
        raise InputError(msg)
    totals: dict[tuple[tuple[str, float], ...], float] = {}
    for code in selection.visible.slides:
        rows = selection.visible.slide == code
        hidden, truth = selection.hidden[rows], selection.truth[rows].astype(np.float64)
        for choice, completed in candidates(selection.visible.rows(rows)):
            key = tuple(choice.items())
            error = float(np.square(completed[hidden] - truth[hidden]).sum())
            totals[key] = totals.get(key, 0.0) + error
    return [{**dict(key), "val_mse": total / judged} for key, total in totals.items()]


def _values(given: float | Iterable[float]) -> tuple[float, ...]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)  # type: ignore[return-value]
