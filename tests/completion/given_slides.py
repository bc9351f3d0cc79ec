"""What completers are given in tests, and what can be taken from it or done to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spared_benchmark.completion.visible import Visible


def seen(expression, hidden, slides=("D",)):
    """Return what is measured and not hidden on some slides."""
    rows = expression.obs["slide"].isin(slides).to_numpy()
    return Visible.of(expression, "log_tpm", expression.layers["measured"] & ~hidden, rows=rows)


def withheld(given, rows):
    """Return ``given`` with nothing visible in ``rows``."""
    visible = given.visible.copy()
    visible[rows] = False
    values = np.where(visible, given.values, np.float32(0))
    library_size = np.where(visible.any(axis=1), given.library_size, np.float32(np.nan))
    return replace(given, values=values, visible=visible, library_size=library_size)


def scattered(given):
    """Return ``given`` with no spot near another."""
    return replace(given, array_row=given.array_row * 10, array_col=given.array_col * 10)


def in_gene_order(given, order):
    """Return ``given`` with its genes in another order."""
    genes = tuple(given.genes[place] for place in order)
    values, visible = given.values[:, order], given.visible[:, order]
    return replace(given, values=values, visible=visible, genes=genes)


def large_slide(genes, side=100):
    """Return a hexagonal slide of ``side`` x ``side`` spots with noise for values."""
    row, col = (axis.ravel().astype(np.int32) for axis in np.mgrid[:side, :side])
    generator = np.random.default_rng(0)
    visible = generator.random((row.size, len(genes))) < 0.6
    values = np.where(visible, generator.normal(8, 1, visible.shape), 0).astype(np.float32)
    return Visible(
        values=values,
        visible=visible,
        slide=np.zeros(row.size, dtype=np.int32),
        array_row=row,
        array_col=2 * col + row % 2,
        lattice="hexagonal",
        library_size=np.where(visible.any(axis=1), 100, np.nan).astype(np.float32),
        genes=genes,
    )
