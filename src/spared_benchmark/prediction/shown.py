"""What somebody who watches a training sees of it: genes scored and drawn, on val slides alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from spared_benchmark.evaluation.metrics import POOLED, gene_scores
from spared_benchmark.prediction.types import Slide

if TYPE_CHECKING:
    from spared_benchmark.prediction.assemble import Assembled

_METRICS = {"mse": "mse", "mae": "mae", "pcc_gene": "pcc"}
_DPI = 100
_LAYER = "{name}.0"


@dataclass(frozen=True)
class Showcase:
    """The val slides on which a predictor is shown.

    Attributes:
        name: Of the predictor.
        genes: Names ``(n_genes,)``.
        symbols: What a reader knows them by ``(n_genes,)``.
        val: Slides with their target.
        target: What was learnt.
        space: Space of the target's values.
    """

    name: str
    genes: tuple[str, ...]
    symbols: tuple[str, ...]
    val: tuple[Slide, ...]
    target: str
    space: str

    @classmethod
    def of(cls, name: str, assembled: Assembled) -> Showcase:
        """Return the showcase of a predictor on the val slides of ``assembled``."""
        val = tuple(assembled.of("val"))
        named = assembled.genes, assembled.symbols
        return cls(name, *named, val, assembled.target, assembled.space)

    def table(self, predicted: NDArray[np.float32]) -> pd.DataFrame:
        """Return a row per gene, best first: gene, symbol, ``mse``, ``mae``, ``pcc``, ``n``.

        Over the measured entries of all val slides, ``n`` of them; the correlation is a mean over
        slides.

        Args:
            predicted: Values for the spots of all val slides ``(n_spots, n_genes)``.
        """
        scores = self._scores(predicted, self.val)
        pooled = scores[scores["slide"] == POOLED]
        wide = pooled.pivot_table("value", "gene", "metric", dropna=False, sort=False)
        table = wide.rename(columns=_METRICS).reindex(columns=list(_METRICS.values()))
        table["n"] = pooled.groupby("gene")["n"].first()
        table.insert(0, "symbol", pd.Series(self.symbols, index=list(self.genes)))
        ranked = table.sort_values("pcc", ascending=False, kind="stable")
        return ranked.rename_axis(columns=None).reset_index()

    def maps(self, predicted: NDArray[np.float32]) -> bytes:
        """Return a PNG of the best and the worst gene of the first val slide with measured values.

        Args:
            predicted: Values for the spots of all val slides ``(n_spots, n_genes)``.
        """
        from spared_benchmark.reporting.figures.style import png
        from spared_benchmark.reporting.maps import gene_maps

        ends = np.cumsum([slide.n_spots for slide in self.val])[:-1]
        parts = zip(self.val, np.split(predicted, ends), strict=True)
        slide, values = next(pair for pair in parts if pair[0].measured.any())
        layer = _LAYER.format(name=self.name)
        predictions = self._annotated(slide, {layer: values})
        truth = {self.space: slide.y, "measured": slide.measured}
        ranking = self._scores(values, [slide]).assign(
            predictor=self.name, target=self.target, space=self.space, seed="0"
        )
        figure = gene_maps(self._annotated(slide, truth), {}, predictions, ranking, 2, layer)
        return png(figure, _DPI)

    def _scores(self, predicted: NDArray[np.float32], slides: Sequence[Slide]) -> pd.DataFrame:
        return gene_scores(
            np.concatenate([slide.y for slide in slides]),
            predicted,
            np.concatenate([slide.measured for slide in slides]),
            np.repeat([slide.slide for slide in slides], [slide.n_spots for slide in slides]),
            self.genes,
            tuple(_METRICS),
        )

    def _annotated(self, slide: Slide, layers: dict[str, NDArray[np.generic]]) -> AnnData:
        spots = [f"{slide.slide}_{number}" for number in range(slide.n_spots)]
        obs = pd.DataFrame({"slide": slide.slide, "split": slide.split}, index=spots)
        var = pd.DataFrame({"symbol": self.symbols}, index=list(self.genes))
        adata = AnnData(obs=obs, var=var, layers=layers)
        adata.obsm["spatial"] = slide.xy_um
        adata.uns = {"target": self.target, "space": self.space, "pitch_um": _pitch(slide.xy_um)}
        return adata


def _pitch(xy_um: NDArray[np.float32]) -> float:
    """Return the usual distance of a spot from the nearest other, µm."""
    distances = cKDTree(xy_um).query(xy_um, k=min(2, len(xy_um)))[0]
    return float(np.median(np.reshape(distances, (len(xy_um), -1))[:, -1])) or 1.0
