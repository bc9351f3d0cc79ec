"""Errors that say what is wrong, where, what was found, what is allowed and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SparedError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(SparedError):
    """A study, cohort or parameter that cannot be run as written."""


class InputError(SparedError):
    """A file or array that does not hold what its format promises."""


class ContractError(SparedError):
    """An object that breaks the contract of its layer (schema, shape, dtype or key)."""


class MissingInputError(SparedError):
    """Inputs of a run that are not there, with the command that makes them."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word nearest to ``word``, else nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
