"""What stands beside every completion score: the one-count control and the Poisson floor."""

from __future__ import annotations

import logging
import time

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.score_tables import FLOOR
from spared_benchmark.completion.scoring import SCORED_SPLITS, labelled
from spared_benchmark.completion.setting import Setting
from spared_benchmark.completion.truth import HIDDEN_ERROR
from spared_benchmark.evaluation.floor import (
    ceiling_correlation,
    mean_noise,
    one_count,
    thinned_noise,
)
from spared_benchmark.study import HALF, CompletionSettings

_log = logging.getLogger(__name__)
ONE_COUNT, MEASURED = "one_count", "measured"


def completion_controls(
    expression: anndata.AnnData,
    masks: Masks,
    settings: CompletionSettings,
    noiseless: NDArray[np.float32] | None = None,
) -> pd.DataFrame:
    """Score the controls and ceilings of a cohort under every mask.

    ``one_count`` fills each entry with the value of a single molecule, which depth alone decides:
    what it correlates with is not biology. It is told the depth of spots of which nothing is
    seen. In ``molecular`` it takes the depth of the half that is seen. ``floor`` gives the lowest
    error (``mse``) and the highest correlation (``pcc_gene``) that Poisson counting allows on the
    same entries, the depth of spots taken as known: where whole spots are hidden no completer
    knows it, and the true floor lies higher by what is unknown of log depth. In ``molecular`` the
    noise is that of half the molecules around the same rates. In ``combat`` both go through each
    slide and gene's affine map. ``measured`` is what was hidden, scored against the true
    expression where that is known: the noise of counting, which a completer can undercut.

    Args:
        expression: All slides of the cohort.
        masks: Drawn from this expression.
        settings: Spaces.
        noiseless: True expression of simulated slides; see `Setting`.

    Returns:
        The tidy table; kinds ``control`` and ``ceiling``.

    Raises:
        ContractError: When the masks belong to another expression.
    """
    masks.check(expression)
    started = time.perf_counter()
    shares = (1.0, HALF) if "molecular" in masks.regimes else (1.0,)
    noise = dict(zip(shares, _noise(Setting(expression, masks, "log_tpm"), shares), strict=True))
    tables = []
    for space in settings.spaces:
        setting = Setting(expression, masks, space, noiseless if space == "log_tpm" else None)
        slope, shift = setting.affine()
        controls, ceilings, measured = [], [], []
        for regime, fraction in setting.drawings:
            share = HALF if regime == "molecular" else 1.0
            for assay in setting.assays(regime, fraction):
                single = _single(setting, assay) * slope + shift
                controls.append(setting.score(single.astype(np.float32), assay))
                ceilings.append(_ceilings(setting, noise[share] * slope**2, assay))
                true = setting.against_truth(assay.truth, assay)
                measured += [table[table["metric"] == HIDDEN_ERROR] for table in true]
        tables.append(setting.labelled(pd.concat(controls), ONE_COUNT, "control"))
        tables.append(setting.labelled(pd.concat(ceilings), FLOOR, "ceiling"))
        if measured:
            tables.append(setting.labelled(pd.concat(measured), MEASURED, "control"))
    cohort, seconds = expression.uns["cohort"], time.perf_counter() - started
    _log.info("%s controls and floor: %.1f s", cohort, seconds)
    return pd.concat(tables, ignore_index=True)


def _noise(setting: Setting, shares: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the Poisson noise at shares of the depth ``(n_shares, n_spots, n_genes)``.

    NaN on slides that are not scored.
    """
    rows = np.isin(setting.split, SCORED_SPLITS)
    counts = np.asarray(setting.expression.layers["counts"])[rows]
    lengths = setting.expression.var["gene_length"].to_numpy(dtype=np.float64)
    denominator = setting.expression.obs["tpm_denominator"].to_numpy(dtype=np.float64)[rows]
    noise = np.full((len(shares), *setting.expression.shape), np.nan)
    noise[:, rows] = thinned_noise(counts, lengths, denominator, setting.slide[rows], shares)
    return noise


def _single(setting: Setting, assay: Assay) -> NDArray[np.float64]:
    """Return the value of one molecule at the depth that is seen ``(n_spots, n_genes)``.

    A spot of which no molecule is seen has the median depth of its slide.
    """
    depth = assay.seen_depth.copy()
    for name in dict.fromkeys(setting.slide[depth == 0].tolist()):
        inside = setting.slide == name
        depth[inside & (depth == 0)] = np.median(depth[inside & (depth > 0)])
    lengths = setting.expression.var["gene_length"].to_numpy(dtype=np.float64)
    single: NDArray[np.float64] = np.log2(1 + one_count(lengths, depth))
    return single


def _ceilings(setting: Setting, noise: NDArray[np.float64], assay: Assay) -> pd.DataFrame:
    tables = []
    for split in SCORED_SPLITS:
        rows = setting.split == split
        if not rows.any():
            continue
        parts = noise[rows], assay.hidden[rows], setting.slide[rows]
        tables.append(mean_noise(*parts).assign(split=split))
        tables.append(ceiling_correlation(assay.truth[rows], *parts).assign(split=split))
    return labelled(pd.concat(tables, ignore_index=True), assay)
