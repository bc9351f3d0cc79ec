"""What processing says about a cohort, one number per row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from spared_benchmark.expression.filter import Tally
from spared_benchmark.expression.genes import FilteredGenes
from spared_benchmark.study import Cohort

COLUMNS = ("statistic", "value")


def statistics_table(
    expression: AnnData,
    tallies: Mapping[str, Tally],
    cohort: Cohort,
    filtered: FilteredGenes,
) -> pd.DataFrame:
    """Return the statistics of a processed cohort (columns ``statistic``, ``value``).

    ``missing_before`` is the share of zeros over the spots in tissue and the genes counted at
    least once, before any limit; ``missing_after`` that among the chosen genes. ``spots_corrupt``
    counts spots with at least one zero among the chosen genes, ``spots_dropped`` those that the
    quality limits drop or leave empty, ``lengths_missing`` the genes lost for want of a length
    (``lengths_ambiguous`` of them because their symbol names several genes). Figures that the
    paper prints come beside as ``published_…``.

    Args:
        expression: See the schema ``expression``.
        tallies: What each slide contributed to the filter.
        cohort: The cohort's definition.
        filtered: What the filter left.
    """
    spots = sum(tally.kept.size for tally in tallies.values())
    present = np.sum([tally.present for tally in tallies.values()], axis=0)
    seen = int(np.count_nonzero(present))
    before: dict[str, float] = {
        "spots_dropped": spots - expression.n_obs,
        "genes_measured": seen,
        "genes_filtered": filtered.id.size,
        "missing_before": 1.0 - float(present.sum()) / (spots * seen),
        "lengths_missing": filtered.missing,
        "lengths_ambiguous": filtered.ambiguous,
    }
    return table_of_numbers(numbers_after(expression) | before, cohort)


def numbers_after(expression: AnnData) -> dict[str, float]:
    """Return the statistics that the chosen genes and kept spots tell, by name.

    Args:
        expression: See the schema ``expression``.
    """
    split = expression.obs["split"].value_counts()
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    return {
        "slides": expression.obs["slide"].nunique(),
        "subjects": expression.obs["subject"].nunique(),
        "spots": expression.n_obs,
        "spots_corrupt": int(np.count_nonzero(~measured.all(axis=1))),
        "genes": expression.n_vars,
        "missing_after": 1.0 - float(measured.mean()),
        "median_library_size": float(expression.obs["library_size"].median()),
        **{f"{name}_spots": int(split.get(name, 0)) for name in ("train", "val", "test")},
    }


def table_of_numbers(numbers: Mapping[str, float], cohort: Cohort) -> pd.DataFrame:
    """Return statistics as a table (columns ``statistic``, ``value``), the paper's beside them.

    Args:
        numbers: By name.
        cohort: May hold the paper's figures, which come beside as ``published_…``.
    """
    numbers = dict(numbers)
    if cohort.published is not None:
        published = cohort.published.model_dump()
        numbers.update({f"published_{name}": value for name, value in published.items()})
    rows = [(name, float(value)) for name, value in numbers.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))
