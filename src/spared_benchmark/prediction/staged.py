"""Predictors that build on the predictions of another one, fitted before them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.atomic import digest_of
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.predictor import NetworkPredictor, Predictor, State
from spared_benchmark.prediction.tiles import tiles_of
from spared_benchmark.prediction.types import Attached, BlindSlide, Slide
from spared_benchmark.study import Size

_FIRST = "first."
_FOLDS = 4


class Staged(NetworkPredictor):
    """A network on what an earlier predictor, the first stage, says of each spot.

    A method's card names its first stage, a registered predictor, in ``stages``, and the method
    defines `shown`. The first stage is fitted as it would be alone, at the same size and budget,
    and then stays as it is.

    `out_of_fold`, unless the setting of that name is false, it shows train spots by stages that
    were fitted without them, see `folds`: a stage is over-confident on spots that it was fitted to,
    and the second would learn to trust it too much. Two limits: what several stages show differs a
    little from what the one shows that speaks in prediction; and of a single slide, spots on the
    border of a quarter have neighbours that are shown by stages fitted to these spots.
    """

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        self._stage: Predictor | None = None
        self._held_out: Mapping[str, Attached] = {}

    @abstractmethod
    def shown(self, stage: Predictor, slide: BlindSlide) -> Attached:
        """Return what the second stage is shown of a slide, a row for each spot."""

    @property
    def first(self) -> str:
        """Name of the first stage."""
        return self.card.stages[0]

    @property
    def stage(self) -> Predictor:
        """The first stage.

        Raises:
            ContractError: Before `take` or ``load_state``.
        """
        if self._stage is None:
            msg = f"{self.card.name}: its first stage {self.first!r} was not fitted yet"
            raise ContractError(msg)
        return self._stage

    @property
    def out_of_fold(self) -> bool:
        """Whether train spots are shown by stages fitted without them."""
        return bool(self.settings.get("out_of_fold", True))

    def first_settings(self) -> dict[str, Any]:
        """Return the settings of the first stage that are not those of its size."""
        return {}

    def take(self, stage: Predictor, held_out: Mapping[str, Attached] | None = None) -> None:
        """Take over the fitted first stage.

        Args:
            stage: Fitted to all train slides.
            held_out: For the training alone: what train slides show by stages fitted without them.
        """
        self._stage, self._held_out = stage, held_out or {}

    def attach(self, slide: BlindSlide) -> Attached:
        """Return what the first stage says of the slide."""
        if slide.slide in self._held_out:
            return self._held_out[slide.slide]
        return self.shown(self.stage, slide)

    def state(self) -> State:
        """Return the state of both stages."""
        first = {_FIRST + name: value for name, value in self.stage.state().items()}
        return {**first, **super().state()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over both stages."""
        own = {name: value for name, value in state.items() if not name.startswith(_FIRST)}
        first = {name.removeprefix(_FIRST): state[name] for name in state if name not in own}
        stage = predictors.create(self.first, size=self.size, **self.first_settings())
        stage.load_state(first)
        if stage.trained:
            stage.module.eval()
        self.take(stage)
        super().load_state(own)


@dataclass(frozen=True)
class Fold:
    """A part of the train spots that a stage is fitted without.

    Attributes:
        rest: What it is fitted to.
        held_out: What is left out, blind: whole slides, or a part of the only one.
        rows: Which spots of their slides these are.
    """

    rest: tuple[Slide, ...]
    held_out: tuple[BlindSlide, ...]
    rows: tuple[NDArray[np.int64], ...]


def folds(train: Sequence[Slide]) -> list[Fold]:
    """Return what is left out in turn, four times at most.

    Whole subjects where there are several, whole slides where there are several, and of a single
    slide its quarters.

    Raises:
        InputError: When the only slide is too small to divide.
    """
    if len(train) == 1:
        return _quarters(train[0])
    subjects = [slide.subject for slide in train]
    units = subjects if len(set(subjects)) > 1 else [slide.slide for slide in train]
    order = list(dict.fromkeys(units))
    number = [order.index(unit) % _FOLDS for unit in units]
    found = []
    for fold in range(max(number) + 1):
        out = [slide for slide, own in zip(train, number, strict=True) if own == fold]
        rest = tuple(slide for slide, own in zip(train, number, strict=True) if own != fold)
        rows = tuple(np.arange(slide.n_spots) for slide in out)
        found.append(Fold(rest, tuple(slide.blind() for slide in out), rows))
    return found


def digest_of_folds(train: Sequence[Slide]) -> str:
    """Return what tells these folds from any others."""
    parts = [zip(fold.held_out, fold.rows, strict=True) for fold in folds(train)]
    return digest_of([[[part.whole, rows.tolist()] for part, rows in fold] for fold in parts])


def _quarters(slide: Slide) -> list[Fold]:
    section = tiles_of(slide.xy_um, round(_FOLDS**0.5))
    if section.max() == 0:
        msg = (
            f"out of fold: slide {slide.slide!r} is the only one of train and has {slide.n_spots} "
            "spots, too few to fit a first stage without a part of them; set out_of_fold: false"
        )
        raise InputError(msg)
    found = []
    for number in range(int(section.max()) + 1):
        rows, others = (np.flatnonzero(of) for of in (section == number, section != number))
        name = f"{slide.slide} {number}"
        held_out = replace(slide.take(rows).blind(), slide=name, part_of=slide.whole)
        found.append(Fold((slide.take(others),), (held_out,), (rows,)))
    return found


def put_together(
    train: Sequence[Slide], shown: Sequence[tuple[Fold, Sequence[Attached]]]
) -> dict[str, Attached]:
    """Return what each train slide was shown as, from what its folds' held-out parts were."""
    result: dict[str, dict[str, NDArray[Any]]] = {slide.slide: {} for slide in train}
    sizes = {slide.slide: slide.n_spots for slide in train}
    for fold, parts in shown:
        for part, rows, arrays in zip(fold.held_out, fold.rows, parts, strict=True):
            for name, values in arrays.items():
                array = np.asarray(values)
                whole = result[part.whole].setdefault(
                    name, np.zeros((sizes[part.whole], *array.shape[1:]), array.dtype)
                )
                whole[rows] = array
    return {slide: dict(arrays) for slide, arrays in result.items()}


def device_of(predictor: Predictor) -> str:
    """Return where a fitted predictor computes."""
    if not predictor.trained:
        return "cpu"
    weight: torch.Tensor = next(predictor.module.parameters())
    return str(weight.device)
