"""Scores of predictions, from the files alone: the one place where test labels are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.metrics import gene_scores, scores
from spared_benchmark.prediction.spaces import SPACES, Space, converted
from spared_benchmark.study import Protocol

_KEY = (
    *("cohort", "protocol", "space", "target", "predictor", "kind", "seed", "split"),
    "slide",
)
COLUMNS = (*_KEY, "metric", "value", "n")
GENE_COLUMNS = (*_KEY, "gene", "metric", "value", "n")


def score_predictions(
    expression: AnnData, predictions: Sequence[AnnData], cohort: str, protocol: Protocol
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every predictor and seed on measured entries, per split and slide and pooled.

    The same predictions are scored in both spaces, mapped by each slide and gene's affine map.

    Args:
        expression: Of the cohort.
        predictions: Made by `run_predictors`, of any targets and predictors.
        cohort: Its code.
        protocol: Of the study.

    Returns:
        The tidy tables of scores (`COLUMNS`) and of genes (`GENE_COLUMNS`); an empty ``slide`` is
        pooled.

    Raises:
        ContractError: When predictions are of other spots or genes.
    """
    tables, genes = [], []
    for adata in predictions:
        rows = _rows(expression, adata)
        for space in SPACES:
            for key, truth, predicted, measured, slide in _parts(expression, adata, rows, space):
                named = {"cohort": cohort, "protocol": protocol, "space": space, **key}
                table = scores(truth, predicted, measured, slide)
                tables.append(table.assign(**named)[list(COLUMNS)])
                by_gene = gene_scores(
                    truth, predicted, measured, slide, list(map(str, expression.var_names))
                )
                genes.append(by_gene.assign(**named)[list(GENE_COLUMNS)])
    return _joined(tables, COLUMNS), _joined(genes, GENE_COLUMNS)


_Part = tuple[
    dict[str, str | int],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.bool_],
    NDArray[np.str_],
]


def _parts(
    expression: AnnData, adata: AnnData, rows: NDArray[np.int64], space: Space
) -> Iterator[_Part]:
    """Yield key, truth, prediction, measured and slide of every layer and split."""
    truth = np.asarray(expression.layers[space])[rows]
    measured = np.asarray(expression.layers["measured"], dtype=bool)[rows]
    slide = adata.obs["slide"].astype(str).to_numpy()
    split = adata.obs["split"].astype(str).to_numpy()
    for layer, values in adata.layers.items():
        predictor, _, seed = layer.rpartition(".")
        predicted = converted(np.asarray(values), slide, expression, adata.uns["space"], space)
        key: dict[str, str | int] = {
            "target": str(adata.uns["target"]),
            "predictor": predictor,
            "kind": str(adata.uns["kinds"][predictor]),
            "seed": int(seed),
        }
        for part in dict.fromkeys(split):
            kept = split == part
            yield (
                {**key, "split": part},
                truth[kept],
                predicted[kept],
                measured[kept],
                slide[kept],
            )


def _rows(expression: AnnData, adata: AnnData) -> NDArray[np.int64]:
    what = f"predictions for target {adata.uns.get('target')!r}"
    if not adata.var_names.equals(expression.var_names):
        msg = f"{what}: their genes are not those of the expression; predict again"
        raise ContractError(msg)
    rows = expression.obs_names.get_indexer(adata.obs_names)
    if (rows < 0).any():
        strange = adata.obs_names[int(np.flatnonzero(rows < 0)[0])]
        msg = f"{what}: spot {strange!r} is not in the expression; predict again"
        raise ContractError(msg)
    return np.asarray(rows, dtype=np.int64)


def _joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(tables, ignore_index=True)
