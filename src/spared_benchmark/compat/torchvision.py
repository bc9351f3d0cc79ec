"""Import timm where torch and torchvision do not come from the same index.

The torchvision of the general index is built against CUDA torch. Beside CPU torch its native
library does not load, and its import then stops because ``torchvision::nms`` and
``torchvision::qnms`` are registered as fake kernels without being defined. Defining the two
schemas, and only when the library cannot be loaded, lets all else work; calling a real ``nms``
still raises torchvision's own error. Every use of timm or torchvision goes through this module,
in every process.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_log = logging.getLogger(__name__)
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# The definitions live as long as this object: it must not be collected.
_library: dict[str, Any] = {}


def ensure_torchvision() -> None:
    """Make ``import torchvision`` work in this process; a healthy installation is left alone."""
    if _library or not _is_broken():
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _library["torchvision"] = library
    _log.info(
        "torchvision's native library does not fit this torch: detection operators are missing, "
        "everything else works. Install torch and torchvision from the same index to mend it."
    )


def import_timm() -> ModuleType:
    """Return the module ``timm``."""
    ensure_torchvision()
    return importlib.import_module("timm")


def _is_broken() -> bool:
    # Looking the library up must not import torchvision: that is what fails.
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or hasattr(torch.ops.torchvision, "nms"):
        return False
    for library in sorted(Path(found.origin).parent.glob("_C*.*")):
        if library.suffix not in {".so", ".pyd", ".dylib"}:
            continue
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return True
        return False
    return True
