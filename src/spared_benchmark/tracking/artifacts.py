"""Tables and pictures as files that MLflow's page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spared_benchmark.errors import ContractError

_PNG_HEAD = b"\x89PNG"


def written(name: str, content: Any) -> tuple[str, bytes]:
    """Return file name and bytes: a PNG as it is, a table as CSV.

    Args:
        name: Without suffix.
        content: Bytes of a PNG, a DataFrame, or rows that are mappings.

    Raises:
        ContractError: For anything else.
    """
    import pandas as pd

    if isinstance(content, bytes) and content.startswith(_PNG_HEAD):
        return f"{name}.png", content
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        content = pd.DataFrame(list(content))
    if isinstance(content, pd.DataFrame):
        return f"{name}.csv", content.to_csv(index=False, float_format="%.6g").encode()
    msg = f"artifact {name!r} is a {type(content).__name__}; give PNG bytes, a DataFrame or rows"
    raise ContractError(msg)
