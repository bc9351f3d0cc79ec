"""Completion of missing and hidden entries from visible ones; one method per file in `methods`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spared_benchmark.registry import Registry

if TYPE_CHECKING:
    from spared_benchmark.completion.completer import Completer

completers: Registry[Completer] = Registry(
    "spared_benchmark.completion.methods", Path(__file__).parent / "methods", "completer"
)
