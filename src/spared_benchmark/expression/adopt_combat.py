"""The batch correction of a published file, recovered from its values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.expression.adopt_checks import TOLERANCE

NO_CORRECTION = "the published file holds no layer c_d_log1p"


def recovered_maps(
    median: NDArray[np.float32],
    combat: NDArray[np.float32],
    batch: NDArray[np.int_],
    path: Path,
    genes: NDArray[np.str_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scale and shift of each batch and gene: combat = scale · median + shift.

    ComBat is affine within a batch and gene (Johnson, Li & Rabinovic 2007), so that least squares
    give its maps back. A gene that does not vary in a batch has the scale 1.

    Args:
        median: Before the correction ``(n_spots, n_genes)``.
        combat: After it ``(n_spots, n_genes)``.
        batch: Code of each spot's batch, 0 … n_batches − 1 ``(n_spots,)``.
        path: The file that errors name.
        genes: Names ``(n_genes,)``.

    Returns:
        Two arrays ``(n_batches, n_genes)``.

    Raises:
        InputError: When the values are not affine in each other, or a scale is 0.
    """
    maps = []
    for code in range(int(batch.max()) + 1):
        before, after = (layer[batch == code].astype(np.float64) for layer in (median, combat))
        scale, shift = _least_squares(before, after)
        astray = np.abs(after - (before * scale + shift)).max(axis=0)
        worst = int(astray.argmax())
        if astray[worst] > TOLERANCE or not scale.all():
            found = (
                f"values of gene {genes[worst]} are up to {astray[worst]:.3g} log2 units off a line"
                if astray[worst] > TOLERANCE
                else f"values of gene {genes[int((scale == 0).argmax())]} are constant"
            )
            msg = (
                f"{path}: layers['c_d_log1p'] is no batch correction of layers['d_log1p']: within "
                f"a batch {found} (at most {TOLERANCE} is allowed). Check the cohort's 'batch_key' "
                "(slide, or subject for the file's obs['patient']) against the file's combat_key"
            )
            raise InputError(msg)
        maps.append((scale, shift))
    return np.stack([scale for scale, _ in maps]), np.stack([shift for _, shift in maps])


def shared_maps(scale: NDArray[np.float64], shift: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the pairs of batches whose maps are the same for most genes, and not the identity.

    Not for all genes, because one that is constant in a batch has no map to recover.

    Args:
        scale: ``(n_batches, n_genes)``.
        shift: ``(n_batches, n_genes)``, log2 units.
    """
    changed = (np.abs(scale - 1) > TOLERANCE) | (np.abs(shift) > TOLERANCE)
    pairs = []
    for one in range(len(scale)):
        for other in range(one + 1, len(scale)):
            alike = np.isclose(scale[one], scale[other], rtol=0, atol=10 * TOLERANCE)
            alike &= np.isclose(shift[one], shift[other], rtol=0, atol=10 * TOLERANCE)
            if changed[one].any() and alike.mean() > 0.5:
                pairs.append((one, other))
    return pairs


def _least_squares(
    before: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean_before, mean_after = before.mean(axis=0), after.mean(axis=0)
    centred = before - mean_before
    spread = np.square(centred).sum(axis=0)
    # Of a gene whose values are one number, float32 rounding alone would set the slope.
    varies = np.abs(centred).max(axis=0) > 1e-5 * (1 + np.abs(mean_before))
    shared = (centred * (after - mean_after)).sum(axis=0)
    scale = np.divide(shared, spread, out=np.ones_like(spread), where=varies)
    return scale, mean_after - scale * mean_before
