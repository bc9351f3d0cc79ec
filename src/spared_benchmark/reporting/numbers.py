"""Numbers as a reader should see them: sensible precision, true minus signs, no false zeros."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
NARROW = "\N{NARROW NO-BREAK SPACE}"
PLUS_MINUS = "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"


def defined(value: float | None) -> bool:
    """Return whether ``value`` is a finite number."""
    return value is not None and math.isfinite(value)


def decimals(value: float) -> int:
    """Return the decimals that ``value`` is shown with: 3 below 10, 1 below 1000, else none."""
    size = abs(value)
    return 3 if size < 9.9995 else 1 if size < 999.95 else 0


def decimal(value: float | None, places: int | None = None) -> str:
    """Return ``0.782``, ``22.8`` or ``1 204``; an en dash where undefined."""
    if value is None or not math.isfinite(value):
        return DASH
    places = decimals(value) if places is None else places
    text = f"{abs(value):,.{places}f}".replace(",", NARROW)
    negative = value < 0 and float(f"{abs(value):.{places}f}") > 0
    return f"{MINUS}{text}" if negative else text


def whole(value: float | None) -> str:
    """Return a count with its thousands set apart: ``9 667``."""
    return decimal(value, 0)


def percent(fraction: float | None, places: int = 0) -> str:
    """Return a fraction as ``58 %``."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{decimal(100 * fraction, places)}{NARROW}%"


def spread(mean: float | None, deviation: float | None) -> str:
    """Return ``0.604 ± 0.004``: the deviation with the decimals of the mean, when it is known."""
    if mean is None or not math.isfinite(mean):
        return DASH
    if deviation is None or not math.isfinite(deviation):
        return decimal(mean)
    places = decimals(mean)
    if 0 < deviation < 0.5 * 10**-places:
        return f"{decimal(mean)}{PLUS_MINUS}<{decimal(10**-places, places)}"
    return f"{decimal(mean)}{PLUS_MINUS}{decimal(deviation, places)}"
