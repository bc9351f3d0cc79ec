"""From one space of values to the other by each slide and gene's affine map."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError

Space = Literal["log_tpm", "combat"]
SPACES: tuple[Space, ...] = ("log_tpm", "combat")


def converted(
    values: NDArray[np.floating[Any]],
    slide: NDArray[Any],
    expression: AnnData,
    source: Space,
    target: Space,
) -> NDArray[np.float32]:
    """Return ``values`` of space ``source`` in space ``target``, ``(n_spots, n_genes)``.

    ``combat = scale · log_tpm + shift`` with the scale and shift of the spot's slide and of the
    gene, from ``expression.uns["combat"]``.

    Args:
        values: ``(n_spots, n_genes)``.
        slide: Name of each spot's slide, ``(n_spots,)``.
        expression: Holds the maps.
        source: Space of ``values``.
        target: Space wanted.

    Raises:
        ContractError: When a slide has no map, or a map cannot be inverted.
    """
    if source == target:
        return np.asarray(values, dtype=np.float32)
    maps = expression.uns["combat"]
    known = [str(name) for name in np.asarray(maps["slides"])]
    names, codes = np.unique(np.asarray(slide).astype(str), return_inverse=True)
    absent = [name for name in names if name not in known]
    if absent:
        msg = f"uns['combat'] has no map for slide '{absent[0]}'; it knows {', '.join(known)}"
        raise ContractError(msg)
    rows = np.array([known.index(name) for name in names])
    scale, shift = (np.asarray(maps[key], dtype=np.float64)[rows] for key in ("scale", "shift"))
    if not (np.isfinite(scale) & np.isfinite(shift) & (scale != 0)).all():
        msg = "uns['combat']: every scale must be finite and not 0, every shift finite"
        raise ContractError(msg)
    if target == "log_tpm":
        scale, shift = 1 / scale, -shift / scale
    return np.asarray(values * scale[codes] + shift[codes], dtype=np.float32)
