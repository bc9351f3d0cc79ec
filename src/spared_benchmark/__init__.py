"""Completion of spatial transcriptomics, and gene expression predicted from histology.

The public face of the library. Importing it costs nothing: torch, scanpy and the methods are
loaded when they are first used.

    slide = sb.read_slide("outs/")
    cohort = sb.process([slide], genes=128)
    completer = sb.completers.create("additive").fit(cohort)
    cohort = completer.complete(cohort)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "available_encoders": "spared_benchmark.prediction.encoder_zoo",
    "completers": "spared_benchmark.library",
    "evaluate": "spared_benchmark.library",
    "load_completer": "spared_benchmark.library",
    "predictors": "spared_benchmark.prediction",
    "process": "spared_benchmark.library",
    "read_published": "spared_benchmark.library",
    "read_slide": "spared_benchmark.library",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
