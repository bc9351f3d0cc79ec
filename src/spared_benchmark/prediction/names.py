"""What can be asked of any predictor by a suffix of its name."""

from __future__ import annotations

# Fitted to the labels of exchanged spots: a control.
SHUFFLED = "_shuffled"
# The mean of each spot's prediction and those of its lattice neighbours; made beside the plain one.
SMOOTHED = "_smoothed"


def method_of(name: str) -> str:
    """Return the registered predictor that ``name``, perhaps with a suffix, is about."""
    return name.removesuffix(SMOOTHED).removesuffix(SHUFFLED)
