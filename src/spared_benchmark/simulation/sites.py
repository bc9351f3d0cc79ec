"""Where the spots lie: a lattice under a piece of tissue with a ragged border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.simulation.fields import Fields
from spared_benchmark.study import Lattice

# Steps of one array row and one array column in units of the pitch.
_STEP: dict[str, tuple[float, float]] = {
    "hexagonal": (np.sqrt(3) / 2, 0.5),
    "square": (1.0, 1.0),
    "diamond": (np.sqrt(0.5), np.sqrt(0.5)),
}
# Candidates per spot wanted: the border is cut out of a larger lattice.
_SURPLUS = 1.9
_MARGIN_PITCHES = 1.5
_ROUGHNESS = 0.05
_MIX = 2_654_435_761  # odd, hence a bijection of the integers modulo 2^32


@dataclass(frozen=True)
class Outline:
    """The border of the tissue: a rounded shape with bays, roughened on the scale of spots."""

    centre: NDArray[np.float64]
    radius: float
    amplitude: NDArray[np.float64]
    phase: NDArray[np.float64]
    roughness: Fields

    def depth(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 0 at the centre, growing outwards, for ``points`` ``(n, 2)``."""
        offset = (points - self.centre) / self.radius
        angle = np.arctan2(offset[:, 1], offset[:, 0])[:, None]
        order = np.arange(2, 2 + len(self.amplitude))
        border = 1 + (self.amplitude * np.cos(order * angle + self.phase)).sum(axis=1)
        rough = _ROUGHNESS * self.roughness.at(points)[:, 0]
        depth: NDArray[np.float64] = np.hypot(offset[:, 0], offset[:, 1]) / border + rough
        return depth


@dataclass(frozen=True)
class Sites:
    """The spots of one slide in pixels of its image.

    Attributes:
        array_row: int32 ``(n_spots,)``.
        array_col: int32 ``(n_spots,)``.
        positions: Centres (x, y), image pixels, ``(n_spots, 2)``.
        size: Width and height of the image, pixels.
        corner: Position of the image's upper left corner in the frame of ``outline``.
        outline: The border of the tissue.
        limit: There is tissue where the outline's depth is at most this.
    """

    array_row: NDArray[np.int32]
    array_col: NDArray[np.int32]
    positions: NDArray[np.float64]
    size: tuple[int, int]
    corner: NDArray[np.float64]
    outline: Outline
    limit: float

    def outside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far ``points`` of the image ``(n, 2)`` lie outside; negative in tissue."""
        return self.outline.depth(points + self.corner) - self.limit


def lattice_positions(
    array_row: NDArray[np.integer], array_col: NDArray[np.integer], lattice: Lattice, pitch: float
) -> NDArray[np.float64]:
    """Return centres (x, y) ``(n, 2)`` of lattice points, in the unit of ``pitch``."""
    row_step, col_step = _STEP[lattice]
    return np.stack([array_col * col_step, array_row * row_step], axis=1) * pitch


def lattice_points(
    rows: int, columns: int, lattice: Lattice
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return row and column of every point of a lattice that starts at (0, 0)."""
    row, col = np.indices((rows, columns), dtype=np.int32).reshape(2, -1)
    if lattice != "square":
        even = (row + col) % 2 == 0
        row, col = row[even], col[even]
    return row, col


def draw_sites(spots: int, lattice: Lattice, pitch: float, generator: np.random.Generator) -> Sites:
    """Draw the outline of a tissue that covers ``spots`` points of a lattice.

    Args:
        spots: Number of spots.
        lattice: How they lie.
        pitch: Distance of neighbours, image pixels.
        generator: Of the slide.
    """
    row_step, col_step = _STEP[lattice]
    area = (row_step * col_step) * (1 if lattice == "square" else 2)
    side = np.sqrt(_SURPLUS * spots * area) + 2
    row, col = lattice_points(int(side / row_step) + 2, int(side / col_step) + 2, lattice)
    positions = lattice_positions(row, col, lattice, pitch)
    outline = Outline(
        centre=positions.mean(axis=0) + generator.normal(size=2) * 0.01 * pitch,
        radius=side * pitch / 2,
        amplitude=generator.uniform(0.02, 0.09, size=4),
        phase=generator.uniform(0, 2 * np.pi, size=4),
        roughness=Fields.draw(1, 1.2 * pitch, positions, generator),
    )
    depth = outline.depth(positions)
    kept = np.sort(np.argsort(depth, kind="stable")[:spots])
    margin = _MARGIN_PITCHES * pitch
    corner = positions[kept].min(axis=0) - margin
    extent = positions[kept].max(axis=0) + margin - corner
    return Sites(
        array_row=row[kept],
        array_col=col[kept],
        positions=positions[kept] - corner,
        size=(int(np.ceil(extent[0])), int(np.ceil(extent[1]))),
        corner=corner,
        outline=outline,
        limit=float(depth[kept].max()),
    )


def barcodes(
    array_row: NDArray[np.integer], array_col: NDArray[np.integer], lattice: Lattice
) -> NDArray[np.str_]:
    """Return one name per lattice point, the same on every slide.

    ``ACGT…-1`` on a hexagonal lattice, as on Visium, else ``{x}x{y}``.
    """
    if lattice != "hexagonal":
        x, y = np.asarray(array_col).astype(str), np.asarray(array_row).astype(str)
        return np.char.add(np.char.add(x, "x"), y)
    number = np.asarray(array_row, dtype=np.uint64) * 65_536 + np.asarray(array_col, np.uint64)
    number = number * np.uint64(_MIX) % np.uint64(2**32)
    digit = (number[:, None] >> np.arange(0, 32, 2, dtype=np.uint64)) & np.uint64(3)
    letters = np.frombuffer(b"ACGT", dtype="S1")[digit.astype(int)]
    words = np.ascontiguousarray(letters).view("S16")[:, 0].astype(str)
    return np.char.add(words, "-1")
