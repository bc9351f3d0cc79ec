"""The size of a pixel from the distance of neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.slides.scale import pitch_in_pixels


def test_hand_computed_on_each_lattice() -> None:
    square = np.array([[0, 0], [0, 1], [1, 0]])
    positions = np.array([[5.0, 5.0], [15.0, 5.0], [5.0, 15.0]])
    assert pitch_in_pixels(square[:, 0], square[:, 1], positions, "square", "x") == 10
    staggered = np.array([[0, 0], [1, 1], [0, 2]])
    positions = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]])
    assert pitch_in_pixels(staggered[:, 0], staggered[:, 1], positions, "diamond", "x") == 5
    wide = positions * [1, 9]
    with pytest.raises(InputError, match="x: array and pixel coordinates do not belong together"):
        pitch_in_pixels(staggered[:, 0], staggered[:, 1], wide, "hexagonal", "x")


def test_rows_do_not_run_into_each_other() -> None:
    # Last column of one row and first of the next are far apart, though their keys are close.
    row, col = np.array([0, 1]), np.array([9, 0])
    with pytest.raises(InputError, match="no two of the 2 spots are neighbours"):
        pitch_in_pixels(row, col, np.zeros((2, 2)), "square", "x")
