"""Neighbourhoods on the lattice that the spots are printed on.

Which spots are neighbours is known from their array coordinates; nothing is guessed from pixel
distances, so borders and holes have fewer neighbours, never farther ones.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spared_benchmark.errors import ConfigurationError, InputError, nearest
from spared_benchmark.study import Lattice

# One step on each lattice. Space Ranger counts hexagonal columns twice: a row holds every other
# column, and the next row the ones between.
_STEPS: dict[str, tuple[tuple[int, int], ...]] = {
    "hexagonal": ((-1, -1), (-1, 1), (0, -2), (0, 2), (1, -1), (1, 1)),
    "diamond": ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    "square": ((-1, 0), (0, -1), (0, 1), (1, 0)),
}
_DIAGONALS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def offsets(
    lattice: Lattice, hops: int, *, moore: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps to every lattice site at most ``hops`` away, without the site itself.

    Args:
        lattice: How the spots lie.
        hops: Largest distance on the unbounded lattice.
        moore: Diagonals are neighbours too (square lattice only), as in squidpy's grids.

    Returns:
        The offsets ``(k, 2)`` in rows and columns, by ring and then by row and column, and the
        ring ``(k,)`` of each, from 1 to ``hops``.

    Raises:
        ConfigurationError: For an unknown lattice, negative hops, or ``moore`` off the square
            lattice.
    """
    if lattice not in _STEPS:
        allowed = ", ".join(get_args(Lattice))
        msg = f"unknown lattice {lattice!r}{nearest(lattice, _STEPS)}; allowed: {allowed}"
        raise ConfigurationError(msg)
    if hops < 0:
        msg = f"hops of a neighbourhood: found {hops}; give 0 or more"
        raise ConfigurationError(msg)
    if moore and lattice != "square":
        msg = f"moore (8 neighbours) belongs to the square lattice; found {lattice!r}"
        raise ConfigurationError(msg)
    steps = _STEPS[lattice] + (_DIAGONALS if moore else ())
    rings: dict[tuple[int, int], int] = {(0, 0): 0}
    frontier = {(0, 0)}
    for ring in range(1, hops + 1):
        reached = {(row + dr, col + dc) for row, col in frontier for dr, dc in steps}
        frontier = reached - rings.keys()
        rings.update(dict.fromkeys(frontier, ring))
    del rings[0, 0]
    ordered = sorted((ring, row, col) for (row, col), ring in rings.items())
    table = np.array(ordered, dtype=np.int64).reshape(-1, 3)
    return table[:, 1:], table[:, 0]


def neighbour_table(
    array_row: ArrayLike,
    array_col: ArrayLike,
    slide: ArrayLike,
    lattice: Lattice,
    hops: int,
    *,
    moore: bool = False,
) -> NDArray[np.int32]:
    """Return the rows of each spot's neighbours at most ``hops`` lattice steps away.

    Distance is that of the unbounded lattice: a neighbour counts even where the spots between
    are not on tissue. Column ``c`` is always the neighbour at ``offsets(lattice, hops)[0][c]``,
    so the first columns of a wide table are the table of fewer hops.

    Args:
        array_row: Lattice row of each spot ``(n_spots,)``.
        array_col: Lattice column of each spot ``(n_spots,)``.
        slide: Integer code of each spot's slide ``(n_spots,)``; neighbours never cross it.
        lattice: How the spots lie.
        hops: Largest distance, 0 for no neighbours.
        moore: Diagonals are neighbours too (square lattice only).

    Returns:
        Row indices into the arrays given, int32 ``(n_spots, k)``, −1 where there is no spot; k is
        6, 18, 36 for 1, 2, 3 hops on the hexagonal and 4, 12, 24 on the other lattices.

    Raises:
        ConfigurationError: As `offsets`.
        InputError: When the arrays differ in length, two spots share a place, or a slide's spots
            cannot lie on the lattice.
    """
    rows, cols, slides = _checked(array_row, array_col, slide, lattice)
    steps, _ = offsets(lattice, hops, moore=moore)
    if rows.size == 0 or len(steps) == 0:
        return np.full((rows.size, len(steps)), -1, dtype=np.int32)
    # A margin as wide as the widest step keeps the sites of a row apart from those of the next.
    margin = int(np.abs(steps).max())
    rows = rows - rows.min() + margin
    cols = cols - cols.min() + margin
    width = int(cols.max()) + margin + 1
    height = int(rows.max()) + margin + 1
    site = (np.unique(slides, return_inverse=True)[1] * height + rows) * width + cols
    order = np.argsort(site, kind="stable")
    present = site[order]
    _refuse_doubles(present, order, rows=array_row, cols=array_col)
    wanted = site[:, None] + (steps[:, 0] * width + steps[:, 1])[None, :]
    place = np.minimum(np.searchsorted(present, wanted), present.size - 1)
    return np.where(present[place] == wanted, order[place], -1).astype(np.int32)


def _checked(
    array_row: ArrayLike, array_col: ArrayLike, slide: ArrayLike, lattice: Lattice
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    arrays = {
        name: np.asarray(values)
        for name, values in (("array_row", array_row), ("array_col", array_col), ("slide", slide))
    }
    shapes = {name: values.shape for name, values in arrays.items()}
    if len(set(shapes.values())) > 1 or arrays["slide"].ndim != 1:
        msg = f"a neighbour table needs three arrays of one length; found {shapes}"
        raise InputError(msg)
    for name, values in arrays.items():
        if values.size and not np.array_equal(values, np.floor(values)):
            msg = f"{name} of a neighbour table: whole numbers are needed; found {values.dtype}"
            raise InputError(msg)
    rows, cols, slides = (values.astype(np.int64) for values in arrays.values())
    if lattice in ("hexagonal", "diamond"):
        _refuse_mixed_parity(rows, cols, slides, lattice)
    return rows, cols, slides


def _refuse_mixed_parity(
    rows: NDArray[np.int64], cols: NDArray[np.int64], slides: NDArray[np.int64], lattice: Lattice
) -> None:
    codes, slide = np.unique(slides, return_inverse=True)
    odd = np.bincount(slide, weights=(rows + cols) % 2, minlength=codes.size)
    total = np.bincount(slide, minlength=codes.size)
    mixed = codes[(odd > 0) & (odd < total)]
    if mixed.size:
        msg = (
            f"slides {mixed.tolist()}: on a {lattice} lattice row + column is even at every spot "
            "or odd at every spot; found both. Check array_row and array_col, or declare the "
            "lattice 'square'"
        )
        raise InputError(msg)


def _refuse_doubles(
    present: NDArray[np.int64], order: NDArray[np.int64], *, rows: ArrayLike, cols: ArrayLike
) -> None:
    double = np.flatnonzero(present[1:] == present[:-1])
    if double.size:
        first, second = order[double[0]], order[double[0] + 1]
        msg = (
            f"spots {first} and {second} lie at one place of one slide "
            f"(array_row {np.asarray(rows)[first]}, array_col {np.asarray(cols)[first]}); "
            f"{double.size} such pairs. Give each slide its own code"
        )
        raise InputError(msg)
