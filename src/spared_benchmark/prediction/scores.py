"""Scores of predictions on disk: test labels are read here and in `comparisons` alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.metrics import gene_scores, scores
from spared_benchmark.prediction.ceilings import FLOOR, KINDS, TRUTH, Beside
from spared_benchmark.prediction.spaces import SPACES, converted
from spared_benchmark.study import Protocol

_KEY = (
    *("cohort", "protocol", "space", "target", "predictor", "kind", "seed", "split"),
    "slide",
)
COLUMNS = (*_KEY, "metric", "value", "n")
GENE_COLUMNS = (*_KEY, "gene", "metric", "value", "n")
# What every row of the controls and ceilings says that are told something of the truth.
_TOLD: dict[str, str | int] = {"target": TRUTH, "seed": 0}


def score_predictions(
    expression: AnnData, predictions: Sequence[AnnData], cohort: str, protocol: Protocol
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every predictor and seed on measured entries, per split and slide and pooled.

    The same predictions are scored in both spaces, mapped by each slide and gene's affine map.
    Controls and ceilings that are told something of the truth stand beside them (`Beside`), on the
    same spots, under the target ``truth`` and the seed 0; the floor has ``mse`` and ``pcc_gene``
    and is not told of by gene.

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
    parts = chain(_predicted(expression, predictions), _told(expression, predictions))
    names = list(map(str, expression.var_names))
    tables, genes = [], []
    for part in parts:
        named = {"cohort": cohort, "protocol": protocol, **part.key}
        table = scores(*part.compared)
        tables.append(table.assign(**named)[list(COLUMNS)])
        by_gene = gene_scores(*part.compared, names)
        genes.append(by_gene.assign(**named)[list(GENE_COLUMNS)])
    floor = _floor(expression, predictions).assign(cohort=cohort, protocol=protocol)
    tables.append(floor[list(COLUMNS)])
    return _joined(tables, COLUMNS), _joined(genes, GENE_COLUMNS)


@dataclass(frozen=True)
class _Part:
    """The spots of one split with what one predictor says of them.

    Attributes:
        key: Columns that tell whose scores they are.
        compared: Truth, prediction, measured ``(n_spots, n_genes)`` and slide ``(n_spots,)``.
    """

    key: dict[str, str | int]
    compared: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.str_]]


def _predicted(expression: AnnData, predictions: Sequence[AnnData]) -> Iterator[_Part]:
    """Yield every layer of the predictions."""
    for adata in predictions:
        rows, obs = _rows(expression, adata), adata.obs
        slide = np.asarray(obs["slide"], dtype=np.str_)
        for space in SPACES:
            for layer, values in adata.layers.items():
                predictor, _, seed = layer.rpartition(".")
                key: dict[str, str | int] = {
                    "space": space,
                    "target": str(adata.uns["target"]),
                    "predictor": predictor,
                    "kind": str(adata.uns["kinds"][predictor]),
                    "seed": int(seed),
                }
                mapped = converted(np.asarray(values), slide, expression, adata.uns["space"], space)
                yield from _by_split(expression, rows, obs, mapped, key)


def _told(expression: AnnData, predictions: Sequence[AnnData]) -> Iterator[_Part]:
    """Yield the controls and ceilings that are told something of the truth."""
    obs = _shown(predictions)
    if obs.empty:
        return
    rows = expression.obs_names.get_indexer(obs.index)
    beside = Beside(expression, rows)
    for space in SPACES:
        for name, values in beside.values(space).items():
            key = {**_TOLD, "space": space, "predictor": name, "kind": KINDS[name]}
            yield from _by_split(expression, rows, obs, values, key)


def _floor(expression: AnnData, predictions: Sequence[AnnData]) -> pd.DataFrame:
    """Return the rows of the Poisson floor."""
    obs = _shown(predictions)
    if obs.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    beside = Beside(expression, expression.obs_names.get_indexer(obs.index))
    split = np.asarray(obs["split"], dtype=np.str_)
    tables = [beside.floor(space, split).assign(space=space) for space in SPACES]
    return pd.concat(tables).assign(**_TOLD, predictor=FLOOR, kind="ceiling")


def _shown(predictions: Sequence[AnnData]) -> pd.DataFrame:
    """Return slide and split of every spot that was predicted, each once."""
    if not predictions:
        return pd.DataFrame(columns=["slide", "split"])
    shown = pd.concat([adata.obs[["slide", "split"]].astype(str) for adata in predictions])
    once: pd.DataFrame = shown.loc[~shown.index.duplicated()]
    return once


def _by_split(
    expression: AnnData,
    rows: NDArray[np.int64],
    obs: pd.DataFrame,
    values: NDArray[np.float32],
    key: dict[str, str | int],
) -> Iterator[_Part]:
    truth = np.asarray(expression.layers[key["space"]])[rows]
    measured = np.asarray(expression.layers["measured"], dtype=bool)[rows]
    slide, split = (np.asarray(obs[name], dtype=np.str_) for name in ("slide", "split"))
    for part in dict.fromkeys(split.tolist()):
        kept = split == part
        compared = truth[kept], values[kept], measured[kept], slide[kept]
        yield _Part({**key, "split": part}, compared)


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
