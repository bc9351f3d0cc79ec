"""A raw slide brought to the values that a completer was fitted on.

A value is log2(TPM+1) with a denominator over all genes that passed the filter of the fit's cohort,
and a completer knows the genes it was fitted on alone. So those names and lengths travel with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.completion.completer import Completer
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.evaluation.floor import one_count
from spared_benchmark.slides import schema

_CARD_KEY = "input"
_NAMED = 5  # genes that an error names

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the values of a cohort were made from counts.

    Attributes:
        genes: Filtered genes as the expression names them ``(n_filtered,)``.
        columns: The same as the slides' tables name them ``(n_filtered,)``.
        lengths: Of the filtered genes, base pairs ``(n_filtered,)``.
        spot_counts: A spot was kept when its total lay strictly between the two.
    """

    genes: tuple[str, ...]
    columns: tuple[str, ...]
    lengths: NDArray[np.float64]
    spot_counts: tuple[float, float]

    @classmethod
    def of(cls, expression: anndata.AnnData) -> Recipe | None:
        """Return how an expression was made, None when it does not tell."""
        told = expression.uns.get("filtered_genes")
        limits = expression.uns.get("filter", {}).get("spot_counts")
        if told is None or limits is None:
            return None
        return cls(
            genes=tuple(map(str, told["gene"])),
            columns=tuple(map(str, told["column"])),
            lengths=np.asarray(told["gene_length"], dtype=np.float64),
            spot_counts=(float(limits[0]), float(limits[1])),
        )

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Recipe | None:
        """Return what `on_card` wrote, None when it wrote nothing."""
        told = card.get(_CARD_KEY)
        if told is None:
            return None
        return cls(
            genes=tuple(told["genes"]),
            columns=tuple(told["columns"]),
            lengths=np.asarray(told["lengths"], dtype=np.float64),
            spot_counts=(float(told["spot_counts"][0]), float(told["spot_counts"][1])),
        )

    def values_of(self, slide: anndata.AnnData, completer: Completer) -> anndata.AnnData:
        """Return a raw slide as the expression that the completer was fitted on would hold it.

        Spots whose total is outside the limits of the fit, and spots with no count of a filtered
        gene, are left out, as in the cohort of the fit.

        Args:
            slide: See the schema ``slide``; counts of all genes.
            completer: Fitted on a cohort of this recipe.

        Returns:
            The completer's genes: layers ``counts``, ``log_tpm`` and ``measured``; ``obs`` and
            ``uns`` as in an expression.

        Raises:
            ContractError: When the slide breaks its schema, lies on another lattice or lacks a
                gene.
            InputError: When no spot is left.
        """
        schema.check(slide, "slide")
        facts = slide.uns["slide"]
        name = str(facts["slide"])
        if str(facts["lattice"]) != completer.lattice:
            msg = (
                f"slide {name}: {completer.card.name} was fitted on a {completer.lattice} lattice; "
                f"this slide's is {facts['lattice']}. Fit it on a cohort of the same lattice"
            )
            raise ContractError(msg)
        counts = self._counts(slide, name, completer.card.name)
        kept = self._kept(slide, counts, name)
        counts = counts[kept]
        denominators = np.asarray(counts @ (1.0 / self.lengths)).ravel()
        places = self._places(completer)
        chosen = np.asarray(counts[:, places].toarray(), dtype=np.float64)
        values = np.log2(1 + chosen * one_count(self.lengths[places], denominators))
        obs = slide.obs.iloc[np.flatnonzero(kept)][["array_row", "array_col"]].copy()
        obs.insert(0, "slide", pd.Categorical([name] * len(obs)))
        obs["library_size"] = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        obs["tpm_denominator"] = denominators
        symbols = slide.var["symbol"].reindex(np.asarray(self.columns, dtype=object)[places])
        var = pd.DataFrame(
            {"symbol": symbols.to_numpy(object), "gene_length": self.lengths[places]},
            index=pd.Index(list(completer.genes)),
        )
        layers = {
            "counts": chosen.astype(np.float32),
            "log_tpm": values.astype(np.float32),
            "measured": chosen > 0,
        }
        told = {"lattice": completer.lattice, "pitch_um": facts["pitch_um"], "slide": dict(facts)}
        spatial = {"spatial": np.asarray(slide.obsm["spatial"])[kept]}
        return anndata.AnnData(obs=obs, var=var, layers=layers, obsm=spatial, uns=told)

    def _places(self, completer: Completer) -> NDArray[np.intp]:
        """Return where the completer's genes stand among the filtered ones ``(n_genes,)``."""
        places = pd.Index(self.genes).get_indexer(pd.Index(completer.genes))
        unknown = np.asarray(completer.genes, dtype=object)[places < 0].tolist()
        if unknown:
            msg = (
                f"{completer.card.name} was fitted on {len(unknown)} genes that its values are not "
                f"normalised over: {', '.join(unknown[:_NAMED])}; fit it again on what process "
                "returns"
            )
            raise ContractError(msg)
        return np.asarray(places)

    def _counts(self, slide: anndata.AnnData, name: str, method: str) -> sparse.csr_matrix:
        """Return the counts of the filtered genes ``(n_spots, n_filtered)``."""
        place = slide.var_names.get_indexer(list(self.columns))
        missing = np.asarray(self.columns, dtype=object)[place < 0].tolist()
        if missing:
            more = ", …" if len(missing) > _NAMED else ""
            msg = (
                f"slide {name} has no column for {len(missing)} of the {len(self.columns)} genes "
                f"over which {method}'s values are normalised: {', '.join(missing[:_NAMED])}{more} "
                f"(its own are called {', '.join(map(str, slide.var_names[:2]))}). The slide must "
                "be of the same organism and panel as the fit; if its table leaves out genes "
                "without a count, add them with zeros"
            )
            raise ContractError(msg)
        return sparse.csr_matrix(slide.X)[:, place]

    def _kept(
        self, slide: anndata.AnnData, counts: sparse.csr_matrix, name: str
    ) -> NDArray[np.bool_]:
        total = np.asarray(slide.X.sum(axis=1)).ravel()
        low, high = self.spot_counts
        of_genes = np.asarray(counts.sum(axis=1)).ravel()
        kept: NDArray[np.bool_] = (total > low) & (total < high) & (of_genes > 0)
        if not kept.any():
            msg = (
                f"slide {name}: none of its {kept.size} spots has a total between {low:g} and "
                f"{high:g}, as the spots of the fit, and a count of its genes"
            )
            raise InputError(msg)
        if not kept.all():
            left = int((~kept).sum())
            _log.info("slide %s: %d of %d spots are outside the limits", name, left, kept.size)
        return kept


def on_card(recipe: Recipe | None) -> dict[str, Any]:
    """Return what a model's card tells of a recipe, fit for JSON."""
    if recipe is None:
        return {}
    told = {
        "genes": list(recipe.genes),
        "columns": list(recipe.columns),
        "lengths": recipe.lengths.tolist(),
        "spot_counts": list(recipe.spot_counts),
    }
    return {_CARD_KEY: told}


def is_raw(adata: anndata.AnnData) -> bool:
    """Return whether this is a slide as it was read, by its schema's stamp."""
    stamp = adata.uns.get("schema", {})
    return bool(stamp) and str(stamp["name"]) == "slide"
