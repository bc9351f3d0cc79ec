"""What an adopted cohort tells about itself; what the published file lost stays unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray


def gene_table(expression: AnnData, source: NDArray[np.str_]) -> pd.DataFrame:
    """Return one row per gene of the file; all were chosen, ranked by Moran's I.

    Args:
        expression: See the schema ``expression``.
        source: What the file calls each gene ``(n_genes,)``.
    """
    var = expression.var
    place = np.argsort(-var["moran"].to_numpy(np.float64), kind="stable")
    rank = np.empty(len(var))
    rank[place] = np.arange(1, len(var) + 1)
    return pd.DataFrame(
        {
            "gene": var.index.to_numpy(str).astype(object),
            "source": source.astype(object),
            "symbol": var["symbol"].to_numpy(),
            "fraction_min": var["fraction_min"].to_numpy(np.float64),
            "fraction": var["fraction"].to_numpy(np.float64),
            "total": expression.layers["counts"].sum(axis=0, dtype=np.float64).astype(np.int64),
            "gene_length": var["gene_length"].to_numpy(np.float64),
            "moran": var["moran"].to_numpy(np.float64),
            "rank": np.where(np.isnan(var["moran"].to_numpy(np.float64)), np.nan, rank),
            "fate": "chosen",
        }
    )


def spot_table(expression: AnnData) -> pd.DataFrame:
    """Return one row per spot of the file; all were kept.

    ``total_counts`` is what the file calls so: the counts of the genes that passed its filter.
    Those of the other genes are lost.
    """
    obs = expression.obs
    slides = obs["slide"].astype(str).to_numpy(object)
    names = zip(obs.index, slides, strict=True)
    spatial = expression.obsm["spatial"]
    return pd.DataFrame(
        {
            "slide": slides,
            "split": obs["split"].astype(str).to_numpy(object),
            "barcode": [name.removeprefix(f"{slide}_") for name, slide in names],
            "array_row": obs["array_row"].to_numpy(np.int32),
            "array_col": obs["array_col"].to_numpy(np.int32),
            "x": spatial[:, 0],
            "y": spatial[:, 1],
            "total_counts": np.rint(obs["library_size"].to_numpy(np.float64)).astype(np.int64),
            "library_size": obs["library_size"].to_numpy(np.float64),
            "fate": "kept",
        }
    )
