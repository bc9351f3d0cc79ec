"""Methods found by their files: a folder of modules, one method each, with a card beside it.

The names are the names of the files, so listing them imports nothing; a module is imported when
its method is first used.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from spared_benchmark.errors import ConfigurationError, nearest

Method = TypeVar("Method")
Kind = Literal["method", "contaminated", "control", "ceiling"]


@dataclass(frozen=True)
class Card:
    """What a method is: the line that tables, reports and tests take from it.

    Attributes:
        name: The module's name, and the name in tables.
        label: The name that a reader sees.
        summary: One sentence: what it does.
        source: Paper, equation or package it follows.
        year: Of that source.
        uses: What its output depends on, of ``genes``, ``space``, ``image``, ``library_size``.
        kind: A ``control`` or ``ceiling`` stands beside the scores and is never ranked.
        version: Raised when the code changes results; old artifacts are then made again.
        sizes: Hyper-parameters by size (``paper``, ``small``, ``tiny``).
        trained: Whether a gradient loop with a learning rate is run.
        stages: Registered methods that are fitted before it.
        weighs: Of a predictor: entries may count in its loss by fractions, not only or not at all.
        exemptions: Invariants that cannot hold: of predictors ``retrieval`` or ``closed_form``; of
            completers ``constant_gene``, and of released behaviour ``batch_composition``,
            ``slide_isolation`` and ``spot_order``.
    """

    name: str
    label: str
    summary: str
    source: str
    year: int
    uses: frozenset[str] = frozenset()
    kind: Kind = "method"
    version: int = 1
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trained: bool = False
    stages: tuple[str, ...] = ()
    weighs: bool = False
    exemptions: frozenset[str] = frozenset()

    def settings(self, size: str) -> dict[str, Any]:
        """Return the hyper-parameters of ``size``.

        Raises:
            ConfigurationError: When the card has sizes and none is called so.
        """
        if not self.sizes:
            return {}
        if size not in self.sizes:
            msg = f"{self.name} has no size {size!r}; it has {', '.join(self.sizes)}"
            raise ConfigurationError(msg)
        return dict(self.sizes[size])


class Registry(Generic[Method]):
    """The methods of one package: a folder whose every public module defines one class.

    The class is the public one defined in the module that carries a ``card`` with the module's
    name.
    """

    def __init__(self, package: str, folder: Path, word: str) -> None:
        self._package, self._folder, self._word = package, folder, word

    def available(self) -> list[str]:
        """Return the names of all methods, in alphabetical order; imports none of them."""
        modules = pkgutil.iter_modules([str(self._folder)])
        return sorted(module.name for module in modules if not module.name.startswith("_"))

    def get(self, name: str) -> type[Method]:
        """Return the class of the method called ``name``.

        Raises:
            ConfigurationError: For an unknown name, with the nearest known one.
        """
        known = self.available()
        if name not in known:
            msg = (
                f"unknown {self._word} {name!r}{nearest(name, known)}; "
                f"available: {', '.join(known)}"
            )
            raise ConfigurationError(msg)
        module = importlib.import_module(f"{self._package}.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                card = None if value.__name__.startswith("_") else vars(value).get("card")
                if isinstance(card, Card) and card.name == name:
                    return value
        msg = f"{module.__name__} defines no class with a card named {name!r}"
        raise ConfigurationError(msg)

    def card(self, name: str) -> Card:
        """Return the card of the method called ``name``."""
        card: Card = self.get(name).card  # type: ignore[attr-defined]
        return card

    def create(self, name: str, **settings: Any) -> Method:
        """Return a new method called ``name`` with ``settings`` for its constructor."""
        return self.get(name)(**settings)
