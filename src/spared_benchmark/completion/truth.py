"""The true expression of simulated slides, and scores against it.

Counting is random: a hidden value is itself a noisy measurement, and an entry that was never
measured has no value to compare with. Where tissue is simulated both have a true one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay
from spared_benchmark.completion.raw_slide import Recipe
from spared_benchmark.completion.scoring import SCORED_SPLITS, labelled
from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.floor import one_count
from spared_benchmark.evaluation.metrics import scores

HIDDEN_ERROR, MISSING_ERROR, CORRELATION = "true_mse", "true_mse_missing", "true_pcc_gene"
TRUE_METRICS = (HIDDEN_ERROR, MISSING_ERROR, CORRELATION)


def true_expression(
    expression: anndata.AnnData, slides: Mapping[str, Callable[[], anndata.AnnData]]
) -> NDArray[np.float32]:
    """Return log2(TPM+1) of the expected shares of molecules ``(n_spots, n_genes)``.

    TPM is relative to the genes that passed the cohort's filter, as in ``log_tpm``: over all
    simulated genes every value would lie lower by the filtered genes' share, and a completer
    without fault would have an error. Counts that equal the expected ones have these values.

    Args:
        expression: All slides of the cohort; tells the filtered genes and their lengths.
        slides: By slide, a function that loads its truth (schema ``truth``).

    Raises:
        ContractError: When the expression does not tell its filtered genes, or a slide's truth is
            not there or lacks a spot or gene.
    """
    recipe = Recipe.of(expression)
    if recipe is None:
        msg = "the expression does not tell its filtered genes: uns['filtered_genes'] is missing"
        raise ContractError(msg)
    slide = np.asarray(expression.obs["slide"], dtype=np.str_)
    values = np.empty(expression.shape, dtype=np.float32)
    for name in dict.fromkeys(slide.tolist()):
        if name not in slides:
            msg = f"no truth is given for slide {name}; there is {', '.join(slides) or 'none'}"
            raise ContractError(msg)
        rows = np.flatnonzero(slide == name)
        spots = expression.obs_names[rows].str.removeprefix(f"{name}_")
        values[rows] = _of_slide(slides[name](), name, spots, expression.var_names, recipe)
    return values


def score_truth(
    assay: Assay,
    completed: NDArray[np.float32],
    truth: NDArray[np.float32],
    split: NDArray[np.str_],
    slide: NDArray[np.str_],
) -> pd.DataFrame:
    """Score what an assay hides, and what was never measured, against the true expression.

    Args:
        assay: Of measured entries; halves of molecules have another truth.
        completed: ``(n_spots, n_genes)``.
        truth: What `true_expression` gives ``(n_spots, n_genes)``.
        split: Of each spot ``(n_spots,)``.
        slide: Of each spot ``(n_spots,)``.

    Returns:
        As `scoring.score_assay`: ``true_mse`` over hidden entries, ``true_mse_missing`` over
        those never measured, and ``true_pcc_gene`` over both together, of each gene within a
        slide, mean over genes, then slides.
    """
    parts = (
        (HIDDEN_ERROR, "mse", assay.hidden),
        (MISSING_ERROR, "mse", ~assay.known),
        (CORRELATION, "pcc_gene", ~assay.visible),
    )
    tables = []
    for name in SCORED_SPLITS:
        rows = split == name
        if not rows.any():
            continue
        for metric, plain, entries in parts:
            table = scores(truth[rows], completed[rows], entries[rows], slide[rows], (plain,))
            tables.append(table.assign(metric=metric, split=name))
    return labelled(pd.concat(tables, ignore_index=True), assay)


def _of_slide(
    truth: anndata.AnnData, name: str, spots: pd.Index, genes: pd.Index, recipe: Recipe
) -> NDArray[np.float32]:
    rows = _places(truth.obs_names, spots, name, "spots")
    columns = _places(truth.var_names, pd.Index(recipe.columns), name, "genes")
    share = np.asarray(truth.layers["share"], dtype=np.float64)[np.ix_(rows, columns)]
    chosen = pd.Index(recipe.genes).get_indexer(genes)
    worth = one_count(recipe.lengths[chosen], share @ (1.0 / recipe.lengths))
    return np.log2(1 + share[:, chosen] * worth).astype(np.float32)


def _places(known: pd.Index, wanted: pd.Index, slide: str, what: str) -> NDArray[np.intp]:
    places: NDArray[np.intp] = known.get_indexer(wanted)
    if (places < 0).any():
        lost = wanted[places < 0]
        msg = (
            f"the truth of slide {slide} lacks {len(lost)} of the expression's {len(wanted)} "
            f"{what}, the first is {lost[0]}; make both of them again"
        )
        raise ContractError(msg)
    return places
