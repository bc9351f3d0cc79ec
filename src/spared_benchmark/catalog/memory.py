"""What an input looked like when it was last there.

Raw data may be on a disk that is not mounted now. What was made of it then still counts: an absent
input is taken to be as it last was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spared_benchmark.atomic import write_json


def remembered(memory: Path, found: list[Any]) -> list[Any]:
    """Return ``found`` and keep it in the file ``memory``; when it is empty, return what was kept.

    Args:
        memory: A small file beside what is made of the input.
        found: Names, sizes and times of the input's files, fit for JSON.
    """
    kept: list[Any] = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else []
    if not found:
        return kept
    if found != kept:
        write_json(memory, found)
    return found
