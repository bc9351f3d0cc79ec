"""Simulated tissue with known truth: what tests, the demonstration and its report run on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "SimulatedSlide": "slide",
    "simulate_slide": "slide",
    "simulated_gene_lengths": "genes",
    "write_gene_lengths": "folders",
    "write_legacy_st": "folders",
    "write_slide": "folders",
    "write_space_ranger": "folders",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
