"""What every completer is: fitted once on train slides, then applied to one slide at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.belief import Belief
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ConfigurationError, ContractError, nearest
from spared_benchmark.registry import Card
from spared_benchmark.study import Lattice, Size

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training


class Completer(ABC):
    """A method that fills every entry of a slide from the slide's visible entries.

    Subclasses write ``_fit``, ``_complete``, ``state`` and ``load_state``; that visible entries
    come back unchanged, that genes and lattice are those of the fit, and that every entry gets a
    finite value is seen to here.

    Attributes:
        card: What the method is.
        defaults: Hyper-parameters that do not depend on the size.
        reads_fill: The method's paper evaluates it with medians at missing entries; it is then
            scored in that mode too, beside the honest one.
        takes_image: It makes something of the features of images that may be shown.
        tells_uncertainty: `believe` can be asked for a standard deviation and an interval.
        name: The name in tables: the card's, or that of a variant.
        settings: The hyper-parameters in use.
        record: What there is to tell of the fit, fit for JSON.
    """

    card: ClassVar[Card]
    defaults: ClassVar[Mapping[str, Any]] = {}
    reads_fill: ClassVar[bool] = False
    takes_image: ClassVar[bool] = False
    tells_uncertainty: ClassVar[bool] = False

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        known = {**self.defaults, **self.card.settings(size)}
        for key in settings:
            if key not in known:
                allowed = ", ".join(sorted(known)) or "none"
                msg = (
                    f"{self.card.name} has no hyper-parameter {key!r}{nearest(key, known)}; "
                    f"allowed: {allowed}"
                )
                raise ConfigurationError(msg)
        self.name = self.card.name
        self.size: Size = size
        self.settings: dict[str, Any] = {**known, **settings}
        self.record: dict[str, Any] = {}
        self._genes: tuple[str, ...] | None = None
        self._lattice: Lattice | None = None

    @property
    def genes(self) -> tuple[str, ...]:
        """The genes it was fitted on, in order.

        Raises:
            ContractError: Before the fit.
        """
        if self._genes is None:
            msg = f"{self.card.name} is not fitted; call fit, or load a fitted one"
            raise ContractError(msg)
        return self._genes

    @property
    def lattice(self) -> Lattice:
        """The lattice it was fitted on.

        Raises:
            ContractError: Before the fit.
        """
        if self._lattice is None:
            msg = f"{self.card.name} is not fitted; call fit, or load a fitted one"
            raise ContractError(msg)
        return self._lattice

    def fit(self, train: Visible, selection: Selection, training: Training) -> None:
        """Learn from the train slides and choose on the selection entries of the val slides.

        Args:
            train: Train slides; hiding within them is the method's own affair.
            selection: Val slides under masks that differ from the reported ones.
            training: Budget, seed and store; closed forms need none of it.

        Raises:
            ContractError: When train and selection differ in genes or lattice.
        """
        self.bind(train.genes, train.lattice)
        self._check(selection.visible)
        self._fit(train, selection, training)

    def identified(self, training: Training, train: Visible, selection: Selection) -> Training:
        """Return ``training`` with all that makes a trial: method, settings and what is seen."""
        identity = {
            **training.identity,
            "method": self.card.name,
            "version": self.card.version,
            "settings": self.settings,
            "train": train.digest(),
            "selection": selection.digest(),
        }
        return replace(training, identity=identity)

    def complete(self, slide: Visible) -> NDArray[np.float32]:
        """Return a value for every entry ``(n_spots, n_genes)``; visible ones unchanged.

        Args:
            slide: One slide, or several, which do not see each other.

        Raises:
            ContractError: When genes or lattice are not those of the fit.
        """
        self._check(slide)
        completed = self._checked(self._complete(slide), slide)
        return np.where(slide.visible, slide.values, completed)

    def believe(self, slide: Visible) -> Belief:
        """Return what `complete` returns, with the uncertainty of every entry.

        Args:
            slide: One slide, or several, which do not see each other.

        Raises:
            ContractError: As `complete`, and when the method tells no uncertainty.
        """
        self._check(slide)
        if not self.tells_uncertainty:
            msg = f"{self.card.name} tells no uncertainty; complete gives its values alone"
            raise ContractError(msg)
        told = self._believe(slide)
        values, sd, lower, upper = (
            self._checked(part, slide) for part in (told.values, told.sd, told.lower, told.upper)
        )
        shown = slide.visible
        return Belief(
            values=np.where(shown, slide.values, values),
            sd=np.where(shown, np.float32(0), sd),
            lower=np.where(shown, slide.values, lower),
            upper=np.where(shown, slide.values, upper),
        )

    def bind(self, genes: tuple[str, ...], lattice: Lattice) -> None:
        """Set what the fitted state belongs to; for loading."""
        self._genes, self._lattice = tuple(genes), lattice

    @abstractmethod
    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that was learnt, as arrays."""

    @abstractmethod
    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what an earlier fit learnt; genes and lattice come from `bind`."""

    @abstractmethod
    def _fit(self, train: Visible, selection: Selection, training: Training) -> None: ...

    @abstractmethod
    def _complete(self, slide: Visible) -> NDArray[np.floating]: ...

    def _believe(self, slide: Visible) -> Belief:
        raise NotImplementedError

    def _checked(self, given: NDArray[np.floating], slide: Visible) -> NDArray[np.float32]:
        values = np.asarray(given)
        if values.shape != slide.values.shape or not np.isfinite(values).all():
            msg = (
                f"{self.card.name} gave shape {values.shape} with "
                f"{int((~np.isfinite(values)).sum())} values that are not finite; every entry "
                f"of {slide.values.shape} needs a number"
            )
            raise ContractError(msg)
        return values.astype(np.float32)

    def _check(self, given: Visible) -> None:
        name = self.card.name
        if given.genes != self.genes:
            raise ContractError(_gene_mismatch(name, self.genes, given.genes))
        if given.lattice != self.lattice:
            msg = (
                f"{name} was fitted on a {self.lattice} lattice; found {given.lattice}. Fit it "
                "on a cohort of the same lattice"
            )
            raise ContractError(msg)


def _gene_mismatch(name: str, fitted: tuple[str, ...], given: tuple[str, ...]) -> str:
    if set(fitted) == set(given) and len(fitted) == len(given):
        place = next(
            i for i, pair in enumerate(zip(fitted, given, strict=True)) if len({*pair}) > 1
        )
        found = f"the same in another order (place {place}: {given[place]}, not {fitted[place]})"
    else:
        missing = [gene for gene in fitted if gene not in set(given)]
        extra = [gene for gene in given if gene not in set(fitted)]
        found = f"{len(given)}: missing {missing[:3]}, unknown {extra[:3]}"
    return (
        f"{name} was fitted on {len(fitted)} genes; found {found}. Give it the genes of the fit "
        "in their order, or fit it again"
    )
