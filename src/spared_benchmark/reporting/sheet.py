"""Many pictures on one sheet."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image

_COLUMNS = 4
_SIDE = 460
_GAP = 12


def contact_sheet(pictures: Mapping[str, bytes]) -> bytes:
    """Return one PNG with all pictures side by side, in their order, at most four in a row.

    Args:
        pictures: PNG bytes by name.
    """
    columns = min(_COLUMNS, max(len(pictures), 1))
    rows = -(-max(len(pictures), 1) // columns)
    cell = _SIDE + _GAP
    sheet = Image.new("RGB", (columns * cell + _GAP, rows * cell + _GAP), "white")
    for place, content in enumerate(pictures.values()):
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGB")
        small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        left = _GAP + column * cell + (_SIDE - small.width) // 2
        sheet.paste(small, (left, _GAP + row * cell + (_SIDE - small.height) // 2))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
