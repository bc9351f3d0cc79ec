"""What can be asked of any predictor, or of a completed target, by a suffix of its name."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Fitted to the labels of exchanged spots: a control.
SHUFFLED = "_shuffled"
# The mean of each spot's prediction and those of its lattice neighbours; made beside the plain one.
SMOOTHED = "_smoothed"
# Of a target: entries that were completed weigh less, by how sure the completer is of them.
WEIGHTED = "_weighted"
# Between a method and what it is called with other settings: ``hist2st-quarters``.
_OTHER = "-"
_OTHERWISE = re.compile(r"[a-z][a-z0-9_]*-[a-z0-9_]*[a-z0-9]")


def fitted_of(name: str) -> str:
    """Return ``name`` without its suffixes: what is fitted, to labels exchanged or not."""
    return name.removesuffix(SMOOTHED).removesuffix(SHUFFLED)


def method_of(name: str) -> str:
    """Return the registered predictor that ``name``, perhaps with a suffix, is about."""
    return fitted_of(name).partition(_OTHER)[0]


def plain_of(name: str) -> str:
    """Return ``name`` without what the method is called with other settings, if anything."""
    fitted = fitted_of(name)
    return method_of(name) + name.removeprefix(fitted)


def called(name: str) -> str:
    """Return what the method is called with other settings; nothing for the plain one."""
    return fitted_of(name).partition(_OTHER)[2]


def keys_of(name: str) -> tuple[str, ...]:
    """Return the names under which settings of ``name`` may stand, what counts most first."""
    return tuple(
        dict.fromkeys((name, name.removesuffix(SMOOTHED), fitted_of(name), method_of(name)))
    )


def with_other_settings(name: str) -> bool:
    """Say whether ``name`` is a method's with other settings, ``<method>-<what it is called>``."""
    return bool(_OTHERWISE.fullmatch(name)) and fitted_of(name) == name


def completer_of(target: str, completers: Iterable[str]) -> str | None:
    """Return which of ``completers`` the target is made from, weighted or not; none of the rest."""
    known = set(completers)
    plain = target.removesuffix(WEIGHTED)
    return next((name for name in (target, plain) if name in known), None)
