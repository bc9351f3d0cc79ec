"""How likely the published SpaCKLE is to hide an entry, by gene."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import ConfigurationError, InputError, nearest

HidingMethod = Literal["mask_prob", "prob_median", "scale_factor"]

_SCALE_FACTOR = 0.8


def hiding_probability(
    fraction: NDArray[np.floating], method: HidingMethod, share: float = 0.3
) -> NDArray[np.float64]:
    """Return the probability that the published library hides a measured entry ``(n_genes,)``.

    ``mask_prob``: share / f, at most 1, so that ``share`` of all entries are hidden, not of the
    measured ones, and a gene expressed in less than ``share`` of the spots is hidden whole.
    ``prob_median``: (1 − f) / f. ``scale_factor``: 0.8 (1 − f) / f. Both are at most 1 too.

    Args:
        fraction: f, the expressed fraction of each gene over all spots, above 0 ``(n_genes,)``.
        method: One of the library's three.
        share: Of all entries to hide; read by ``mask_prob`` only.

    Raises:
        ConfigurationError: For an unknown method.
        InputError: When a fraction is not above 0 and at most 1.
    """
    if method not in get_args(HidingMethod):
        allowed = ", ".join(get_args(HidingMethod))
        hint = nearest(method, get_args(HidingMethod))
        msg = f"unknown hiding probability {method!r}{hint}; allowed: {allowed}"
        raise ConfigurationError(msg)
    f = np.asarray(fraction, dtype=np.float64)
    outside = ~((f > 0) & (f <= 1))
    if outside.any():
        msg = (
            f"expressed fractions must lie above 0 and at most at 1; found {f[outside][0]:g} for "
            f"gene {int(outside.argmax())} (counted from 0). Leave out genes without any count"
        )
        raise InputError(msg)
    factor = {"prob_median": 1.0, "scale_factor": _SCALE_FACTOR}
    unlimited = share / f if method == "mask_prob" else factor[method] * (1 - f) / f
    return np.minimum(unlimited, 1.0)
