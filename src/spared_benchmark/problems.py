"""Problems of a configuration, collected so that all can be told at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.settings_model import Model, parse


class Problems:
    """Collects problems so that all can be told at once."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def parse(self, model: type[Model], content: Any, where: str) -> Model | None:
        """Return the settings, or None and keep what is wrong with them."""
        result, lines = parse(model, content, where)
        self._lines += lines
        return result

    def add(self, line: str) -> None:
        """Keep one problem."""
        self._lines.append(line)

    def extend(self, lines: Iterable[str]) -> None:
        """Keep several."""
        self._lines.extend(lines)

    def raise_any(self, name: str) -> None:
        """Raise one `ConfigurationError` with all that was kept, if anything was."""
        if self._lines:
            count = len(self._lines)
            head = f"the configuration of the study '{name}' has {count} problem(s):"
            raise ConfigurationError("\n  - ".join([head, *self._lines]))
