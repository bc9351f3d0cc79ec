"""Who watches a training: a context variable, so that the loop knows nothing of trackers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

_log = logging.getLogger(__name__)

# What is to be seen of a trained network, by name: PNG bytes, or a table as a DataFrame or as rows.
Artifacts = Mapping[str, Any]


class Observer(Protocol):
    """Told of every trial of a sweep; what it does can change no result."""

    def trial_started(self, trial: str, parameters: Mapping[str, Any]) -> None:
        """A trial begins, or continues, or is read from disk; its past validations follow."""
        ...

    def validated(self, trial: str, step: int, metrics: Mapping[str, float]) -> None:
        """A validation took place after ``step`` steps."""
        ...

    def shown(self, trial: str, make: Callable[[], Artifacts]) -> None:
        """The trial is about to end; ``make`` draws what its best weights do on val slides.

        Drawing takes time and memory: an observer that shows nothing does not call it.
        """
        ...

    def trial_ended(self, trial: str, status: str, summary: Mapping[str, Any]) -> None:
        """The trial is ``finished``, ``halted``, ``diverged`` or ``failed`` (with ``error``)."""
        ...

    def selected(self, trial: str) -> None:
        """The trial, which has ended, is the best of its sweep."""
        ...


class Silent:
    """The observer when nobody watches."""

    def trial_started(self, trial: str, parameters: Mapping[str, Any]) -> None:
        """Do nothing."""

    def validated(self, trial: str, step: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def shown(self, trial: str, make: Callable[[], Artifacts]) -> None:
        """Do nothing."""

    def trial_ended(self, trial: str, status: str, summary: Mapping[str, Any]) -> None:
        """Do nothing."""

    def selected(self, trial: str) -> None:
        """Do nothing."""


class _Guarded:
    """An observer whose failures are logged and go no further: watching loses no result."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def trial_started(self, trial: str, parameters: Mapping[str, Any]) -> None:
        self._call("trial_started", trial, parameters)

    def validated(self, trial: str, step: int, metrics: Mapping[str, float]) -> None:
        self._call("validated", trial, step, metrics)

    def shown(self, trial: str, make: Callable[[], Artifacts]) -> None:
        self._call("shown", trial, make)

    def trial_ended(self, trial: str, status: str, summary: Mapping[str, Any]) -> None:
        self._call("trial_ended", trial, status, summary)

    def selected(self, trial: str) -> None:
        self._call("selected", trial)

    def _call(self, report: str, *arguments: Any) -> None:
        try:
            getattr(self._observer, report)(*arguments)
        except Exception as error:  # noqa: BLE001 - a lost tracker may raise anything at all
            _log.warning("the observer of the training failed and is passed over: %r", error)


_current: ContextVar[Observer | None] = ContextVar("training_observer", default=None)


def current() -> Observer:
    """Return the observer of this context."""
    return _current.get() or Silent()


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Let ``observer`` watch every training of the block."""
    token = _current.set(_Guarded(observer))
    try:
        yield
    finally:
        _current.reset(token)
