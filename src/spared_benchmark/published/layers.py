"""The layers of the published library that a processed cohort does not keep by another name.

==================  ======================================================================
published           here
==================  ======================================================================
counts              counts
log1p               log_tpm
mask                measured
d_log1p             median
c_d_log1p           combat
c_log1p             `add_published_layers`: ComBat of log_tpm
deltas              `add_published_layers`: log_tpm minus its mean over train spots
d_deltas            … of median
c_deltas            … of c_log1p
c_d_deltas          … of combat
noisy_c_d_log1p     `add_published_layers`: combat, 0 where nothing was measured
noisy_c_d_deltas    `add_published_layers`: c_d_deltas, minus the gene's mean there
c_t_log1p           the completed layer of SpaCKLE, which is another stage's output
==================  ======================================================================
"""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.published.combat import published_combat

_OURS = {"log1p": "log_tpm", "d_log1p": "median", "c_d_log1p": "combat"}
_DELTAS = {
    "deltas": "log1p",
    "d_deltas": "d_log1p",
    "c_deltas": "c_log1p",
    "c_d_deltas": "c_d_log1p",
}


def deltas(
    values: NDArray[np.floating], train: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values minus each gene's mean over train spots, and that mean.

    The mean is over all entries, imputed ones and zeros included.

    Args:
        values: A layer ``(n_spots, n_genes)``.
        train: Spots of train slides ``(n_spots,)``.

    Returns:
        The deltas ``(n_spots, n_genes)`` and the means ``(n_genes,)``.

    Raises:
        InputError: When no spot is train.
    """
    if not train.any():
        msg = f"deltas: none of the {train.size} spots is of a train slide; their mean is undefined"
        raise InputError(msg)
    wide = np.asarray(values, dtype=np.float64)
    mean = wide[train].mean(axis=0)
    return wide - mean, mean


def noisy(
    values: NDArray[np.floating],
    measured: NDArray[np.bool_],
    mean: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the values with missing entries put back to no expression ``(n_spots, n_genes)``.

    Args:
        values: A log layer or its deltas ``(n_spots, n_genes)``.
        measured: Entries with a count ``(n_spots, n_genes)``; the others become 0, or in a layer
            of deltas minus the gene's mean.
        mean: For deltas, what was subtracted ``(n_genes,)``; a log layer when not given.
    """
    missing = 0.0 if mean is None else -mean
    return np.where(measured, np.asarray(values, dtype=np.float64), missing)


def add_published_layers(expression: AnnData, batch: NDArray[np.integer]) -> None:
    """Add the layers of the published library that are not there under our names.

    Adds the float32 layers of the table above and ``var["<layer>_avg_exp"]``, the mean over train
    spots of ``log1p``, ``d_log1p``, ``c_log1p`` and ``c_d_log1p``, float64.

    Args:
        expression: A cohort processed with the switch ``published``: layers ``log_tpm``,
            ``measured``, ``median`` and ``combat``, ``obs["split"]``.
        batch: Integer code of each spot's batch, those of the layer ``combat`` ``(n_spots,)``.

    Raises:
        ContractError: When one of the layers or ``obs["split"]`` is not there.
        InputError: When no spot is train, or a gene of ``log_tpm`` is constant in every batch.
    """
    absent = sorted({*_OURS.values(), "measured"} - set(expression.layers))
    if absent or "split" not in expression.obs:
        held = sorted(expression.layers)
        msg = (
            f"published layers: {', '.join(absent) or 'obs[split]'} not found; layers: {held}, obs "
            f"columns: {list(expression.obs)}. Give the expression of a processed cohort"
        )
        raise ContractError(msg)
    train = (expression.obs["split"] == "train").to_numpy(bool)
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    layers = {name: np.asarray(expression.layers[ours]) for name, ours in _OURS.items()}
    fit = published_combat(layers["log1p"], batch, list(expression.var_names))
    layers["c_log1p"] = fit.apply(layers["log1p"], batch)
    expression.layers["c_log1p"] = layers["c_log1p"]
    means = {}
    for name, source in _DELTAS.items():
        values, means[source] = deltas(layers[source], train)
        expression.layers[name] = values.astype(np.float32)
        expression.var[f"{source}_avg_exp"] = means[source]
    noisy_log = noisy(layers["c_d_log1p"], measured)
    noisy_deltas = noisy(expression.layers["c_d_deltas"], measured, means["c_d_log1p"])
    expression.layers["noisy_c_d_log1p"] = noisy_log.astype(np.float32)
    expression.layers["noisy_c_d_deltas"] = noisy_deltas.astype(np.float32)
