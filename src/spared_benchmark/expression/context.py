"""Context genes in the layers that the chosen genes have."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from spared_benchmark.expression.assemble import batch_of_slide
from spared_benchmark.expression.combat import fit_combat
from spared_benchmark.tissue.lattice import neighbour_table
from spared_benchmark.tissue.median import adaptive_median


def corrected_context(context: AnnData, expression: AnnData) -> AnnData:
    """Return the context genes with ``median`` and ``combat`` beside their own layers.

    Medians are those of the cohort's processing. Batches are corrected as those of the chosen
    genes, but by a fit of the context genes alone, so that the chosen genes stay as they are; in
    parity studies too, whose published fault is not repeated.

    Args:
        context: Of the same spots; not changed.
        expression: Tells how the cohort was processed.
    """
    wide = context.copy()
    if wide.n_vars == 0:
        wide.layers.update(dict.fromkeys(("median", "combat"), wide.layers["log_tpm"]))
        return wide
    obs, uns = expression.obs, expression.uns
    slide = obs["slide"].astype("category").cat.codes.to_numpy(np.int32)
    places = obs["array_row"].to_numpy(np.int32), obs["array_col"].to_numpy(np.int32), slide
    hops = int(uns["processing"]["median_hops"])
    tables = [neighbour_table(*places, uns["lattice"], ring) for ring in range(1, hops + 1)]
    values = np.asarray(wide.layers["log_tpm"], dtype=np.float32)
    absent = ~np.asarray(wide.layers["measured"], dtype=bool)
    median = adaptive_median(values, absent, tables, slide)
    train = (obs["split"] == "train").to_numpy(bool) if uns["protocol"] == "inductive" else None
    who = obs.drop_duplicates("slide")
    of_slide = batch_of_slide(who, str(uns["combat"]["batch_key"]), str(uns["protocol"]))
    names = pd.Index(who["slide"].astype(str))
    batch = of_slide[names.get_indexer(obs["slide"].astype(str))]
    wide.layers["median"] = median
    wide.layers["combat"] = fit_combat(median, batch, train).apply(median, batch)
    return wide
