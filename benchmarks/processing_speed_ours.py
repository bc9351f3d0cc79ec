"""This project's side of `processing_speed.py`, and how its results compare with the peer's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from spared_benchmark.evaluation.metrics import scores
from spared_benchmark.expression.combat import fit_combat
from spared_benchmark.expression.moran import morans_i
from spared_benchmark.published.combat import published_combat
from spared_benchmark.published.graph import hop_neighbourhoods, hop_tables, pixel_graph
from spared_benchmark.tissue.lattice import neighbour_table, offsets
from spared_benchmark.tissue.median import adaptive_median

HOPS = 4
WIDE_GENES = 15_000
# The peer's names of the metrics, in the order of the alphabet, and ours.
METRICS = {
    "Global": "",
    "MAE": "mae",
    "MSE": "mse",
    "PCC-Gene": "pcc_gene",
    "PCC-Patch": "pcc_spot",
    "R2-Gene": "r2_gene",
    "R2-Patch": "r2_spot",
}


class Slides:
    """The inputs, and this project's side of every stage."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "inputs.npz") as inputs:
            self.truth = inputs["log_tpm"]
            self.place = tuple(inputs[name] for name in ("array_row", "array_col", "slide"))
            spatial = inputs["spatial"]
        self.slide = self.place[2]
        self.rows = [np.flatnonzero(self.slide == code) for code in np.unique(self.slide)]
        self.graphs = [pixel_graph(spatial[rows], "hexagonal", "new") for rows in self.rows]
        self.log_tpm = self.truth.astype(np.float32)
        self.completed = self.median()
        self.one = tuple(part[self.rows[0]] for part in self.place)
        shape = (self.rows[0].size, WIDE_GENES)
        self.wide = np.random.default_rng(1).normal(6, 1, shape).astype(np.float32)
        self.prediction = self.truth + np.random.default_rng(0).normal(0, 1, self.truth.shape)
        self.measured = self.truth != 0
        self.together = np.zeros(self.slide.size, dtype=np.int32)

    def neighbourhoods(self, hops: int) -> np.ndarray:
        """Return the neighbours within some hops on the lattice, all slides at once."""
        return neighbour_table(*self.place, "hexagonal", hops)

    def median(self) -> np.ndarray:
        """Return the values with missing entries filled, neighbourhoods included."""
        widest = self.neighbourhoods(HOPS)
        _, ring = offsets("hexagonal", HOPS)
        tables = [widest[:, ring <= hop] for hop in range(1, HOPS + 1)]
        return adaptive_median(self.log_tpm, self.log_tpm == 0, tables, self.slide)

    def moran(self) -> np.ndarray:
        """Return Moran's I, averaged over slides, neighbourhoods included."""
        table = self.neighbourhoods(1)
        # Each slide's rows stand together, so local indices are global ones less the first.
        local = [np.where(table[rows] < 0, -1, table[rows] - rows[0]) for rows in self.rows]
        parts = zip(self.rows, local, strict=True)
        return np.mean([morans_i(self.completed[rows], near) for rows, near in parts], axis=0)

    def moran_wide(self) -> np.ndarray:
        """Return Moran's I of many genes on one slide, neighbourhoods included."""
        return morans_i(self.wide, neighbour_table(*self.one, "hexagonal", 1))

    def combat(self) -> np.ndarray:
        """Return the values with batches corrected, one a slide."""
        return fit_combat(self.completed, self.slide).apply(self.completed, self.slide)

    def metrics(self) -> pd.DataFrame:
        """Return the six metrics, all spots taken as one slide, as the peer takes them."""
        return scores(self.truth, self.prediction, self.measured, self.together)

    def gap_neighbourhoods(self, found: np.ndarray, hops: int) -> float:
        """Return how many spots have other neighbours than the peer's, on its graph."""
        parts = [hop_neighbourhoods(graph, hops) for graph in self.graphs]
        width = max(found.shape[1], *(part.shape[1] for part in parts))
        ours, theirs = (np.full((len(found), width), -1) for _ in range(2))
        theirs[:, : found.shape[1]] = found
        for rows, part in zip(self.rows, parts, strict=True):
            ours[rows, : part.shape[1]] = part
        return float((np.sort(ours) != np.sort(theirs)).any(axis=1).sum())

    def gap_median(self, found: np.ndarray) -> float:
        """Return the largest difference on the peer's graph."""
        gaps = []
        for rows, graph in zip(self.rows, self.graphs, strict=True):
            values, alone = self.log_tpm[rows], np.zeros(rows.size, dtype=np.int32)
            ours = adaptive_median(values, values == 0, hop_tables(graph, HOPS), alone)
            gaps.append(np.abs(ours - found[rows]).max())
        return float(max(gaps))

    def gap_moran(self, found: np.ndarray, folder: Path) -> float:
        """Return the largest difference on the peer's graph and the peer's medians."""
        completed = np.load(folder / "median.npy")
        parts = [
            morans_i(completed[rows], hop_tables(graph, 1)[0])
            for rows, graph in zip(self.rows, self.graphs, strict=True)
        ]
        return float(np.abs(np.mean(parts, axis=0) - found).max())

    def gap_wide(self, found: np.ndarray) -> float:
        """Return the largest difference on the peer's graph."""
        ours = morans_i(self.wide, hop_tables(self.graphs[0], 1)[0])
        return float(np.abs(ours - found).max())

    def gap_combat(self, found: np.ndarray, folder: Path) -> float:
        """Return the largest difference with the published package's fault in the scales."""
        completed = np.load(folder / "median.npy")
        ours = published_combat(completed, self.slide).apply(completed, self.slide)
        return float(np.abs(ours - found).max())

    def gap_metrics(self, found: np.ndarray) -> float:
        """Return the largest difference of a metric."""
        table = self.metrics()
        pooled = table[table["slide"] == ""].set_index("metric")["value"]
        pairs = zip(METRICS.values(), found, strict=True)
        return max(abs(float(pooled[name]) - value) for name, value in pairs if name)
