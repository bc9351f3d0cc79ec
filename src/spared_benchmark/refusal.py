"""A run that is refused before any node: a message for a person, no traceback."""

from __future__ import annotations

import click

from spared_benchmark.errors import SparedError


class RunRefusedError(SparedError, click.ClickException):
    """Shown by the command line as one message; an ordinary exception elsewhere."""

    def __init__(self, message: str) -> None:
        click.ClickException.__init__(self, message)
