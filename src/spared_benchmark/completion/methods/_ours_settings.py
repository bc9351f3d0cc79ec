"""What the hyper-parameters of `ours` may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from spared_benchmark.errors import ConfigurationError

# Least and largest, both allowed.
_WHOLE: dict[str, tuple[float, float]] = {
    "rank": (1, math.inf),
    "rounds": (1, math.inf),
    "train_rounds": (1, math.inf),
    "networks": (0, math.inf),
    "width": (1, math.inf),
}
_NUMBERS: dict[str, tuple[float, float]] = {
    "length": (0.1, 1e6),
    "dropout": (0, 0.95),
    "least_hidden": (0.01, 0.99),
    "most_hidden": (0.01, 0.99),
    "inner_share": (0.01, 0.9),
    "weight": (0, 1),
    "weight_entries": (0, math.inf),
    "prior_spots": (0.001, math.inf),
}


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that cannot be.

    Args:
        name: Of the method, for the error.
        settings: All of its hyper-parameters.

    Raises:
        ConfigurationError: With the setting, what was found and what is allowed.
    """
    for key, (least, most) in {**_WHOLE, **_NUMBERS}.items():
        found = settings[key]
        several = key == "prior_spots" and isinstance(found, (tuple, list))
        values = list(found) if several else [found]
        kind = "whole number" if key in _WHOLE else "number"
        if not values or not all(_is(kind, value) and least <= value <= most for value in values):
            upper = "" if most == math.inf else f" to {most:g}"
            more = ", or a list of such" if key == "prior_spots" else ""
            msg = f"{name}: {key} is {found!r}; allowed: a {kind} from {least:g}{upper}{more}"
            raise ConfigurationError(msg)
    if settings["least_hidden"] > settings["most_hidden"]:
        msg = (
            f"{name}: least_hidden {settings['least_hidden']} is above most_hidden "
            f"{settings['most_hidden']}; give it the smaller share"
        )
        raise ConfigurationError(msg)
    for key in ("space", "depth"):
        if not isinstance(settings[key], bool):
            msg = f"{name}: {key} is {settings[key]!r}; allowed: true or false"
            raise ConfigurationError(msg)


def _is(kind: str, value: object) -> bool:
    types = int if kind == "whole number" else (int, float)
    return isinstance(value, types) and not isinstance(value, bool)
