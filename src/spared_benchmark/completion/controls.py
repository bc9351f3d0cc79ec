"""What stands beside every completion score: the one-count control and the Poisson floor."""

from __future__ import annotations

import logging
import time

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.score_tables import FLOOR
from spared_benchmark.completion.setting import SCORED_SPLITS, Setting
from spared_benchmark.evaluation.floor import (
    ceiling_correlation,
    mean_noise,
    one_count,
    poisson_noise,
)
from spared_benchmark.study import CompletionSettings

_log = logging.getLogger(__name__)
ONE_COUNT = "one_count"


def completion_controls(
    expression: anndata.AnnData, masks: Masks, settings: CompletionSettings
) -> pd.DataFrame:
    """Score the controls and ceilings of a cohort under every mask.

    ``one_count`` fills each entry with the value of a single molecule, which depth alone decides:
    what it correlates with is not biology. ``floor`` gives the lowest error (``mse``) and the
    highest correlation (``pcc_gene``) that Poisson counting allows on the same entries. In
    ``combat`` both go through each slide and gene's affine map.

    Args:
        expression: All slides of the cohort.
        masks: Drawn from this expression.
        settings: Spaces.

    Returns:
        The tidy table; kinds ``control`` and ``ceiling``.

    Raises:
        ContractError: When the masks belong to another expression.
    """
    masks.check(expression)
    started = time.perf_counter()
    noise = _noise(Setting(expression, masks, "log_tpm"))
    tables = []
    for space in settings.spaces:
        setting = Setting(expression, masks, space)
        slope, shift = setting.affine()
        single = np.log2(1 + _tpm_of_one(expression)) * slope + shift
        controls, ceilings = [], []
        for assay in range(masks.assays):
            hidden = masks.reported(assay)
            controls.append(setting.score(single.astype(np.float32), hidden, assay))
            ceilings.append(_ceilings(setting, noise * slope**2, hidden, assay))
        tables.append(setting.labelled(pd.concat(controls), ONE_COUNT, "control"))
        tables.append(setting.labelled(pd.concat(ceilings), FLOOR, "ceiling"))
    cohort, seconds = expression.uns["cohort"], time.perf_counter() - started
    _log.info("%s controls and floor: %.1f s", cohort, seconds)
    return pd.concat(tables, ignore_index=True)


def _noise(setting: Setting) -> NDArray[np.float64]:
    """Return the Poisson noise of scored slides ``(n_spots, n_genes)``, NaN on the others."""
    rows = np.isin(setting.split, SCORED_SPLITS)
    counts = np.asarray(setting.expression.layers["counts"])[rows]
    lengths = setting.expression.var["gene_length"].to_numpy(dtype=np.float64)
    denominator = setting.expression.obs["tpm_denominator"].to_numpy(dtype=np.float64)[rows]
    noise = np.full(setting.expression.shape, np.nan)
    noise[rows] = poisson_noise(counts, lengths, denominator, setting.slide[rows])
    return noise


def _tpm_of_one(expression: anndata.AnnData) -> NDArray[np.float64]:
    lengths = expression.var["gene_length"].to_numpy(dtype=np.float64)
    return one_count(lengths, expression.obs["tpm_denominator"].to_numpy(dtype=np.float64))


def _ceilings(
    setting: Setting, noise: NDArray[np.float64], hidden: NDArray[np.bool_], assay: int
) -> pd.DataFrame:
    tables = []
    for split in SCORED_SPLITS:
        rows = setting.split == split
        if not rows.any():
            continue
        slide = setting.slide[rows]
        floor = mean_noise(noise[rows], hidden[rows], slide)
        ceiling = ceiling_correlation(setting.truth[rows], noise[rows], hidden[rows], slide)
        tables.append(pd.concat([floor, ceiling], ignore_index=True).assign(split=split))
    return pd.concat(tables, ignore_index=True).assign(assay=assay)
