"""Slides put together into the expression and context of a cohort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.expression.combat import fit_combat
from spared_benchmark.expression.slide_spots import SlideSpots
from spared_benchmark.study import Cohort, ProcessingSettings, Protocol


def expression_block(
    spots: SlideSpots,
    genes: NDArray[np.intp],
    slide: str,
    cohort: Cohort,
    settings: ProcessingSettings,
) -> AnnData:
    """Return one slide's rows of the expression, before batch correction.

    Args:
        spots: The slide.
        genes: Positions of the chosen genes among the filtered ones ``(n_genes,)``.
        slide: Its name.
        cohort: Says its subject and split.
        settings: Of the median filter.
    """
    definition = cohort.slides[slide]
    counts, values = spots.dense_counts(genes), spots.log_tpm(genes)
    median = spots.median_completed(values, cohort.lattice, settings.median_hops)
    obs = spots.spots.set_axis([f"{slide}_{barcode}" for barcode in spots.spots.index])
    who = {"slide": slide, "subject": definition.subject, "split": definition.split}
    for position, (name, value) in enumerate(who.items()):
        obs.insert(position, name, value)
    return AnnData(
        obs=obs,
        layers={"counts": counts, "log_tpm": values, "measured": counts > 0, "median": median},
        obsm={"spatial": spots.spatial},
        uns={"source_digest": spots.source_digest},
        shape=values.shape,
    )


def context_block(spots: SlideSpots, genes: NDArray[np.intp]) -> AnnData:
    """Return one slide's rows of the context: genes that rank after the chosen ones.

    Args:
        spots: The slide.
        genes: Positions of those genes among the filtered ones, perhaps none.
    """
    counts = spots.dense_counts(genes)
    layers = {"counts": counts, "log_tpm": spots.log_tpm(genes), "measured": counts > 0}
    return AnnData(layers=layers, shape=counts.shape)


def join_expression(blocks: Sequence[AnnData], var: pd.DataFrame) -> AnnData:
    """Return the slides' rows one after the other.

    Args:
        blocks: From `expression_block`.
        var: The chosen genes.
    """
    obs = pd.concat([block.obs for block in blocks])
    for name in ("slide", "subject", "split"):
        obs[name] = pd.Categorical(obs[name], categories=list(dict.fromkeys(obs[name])))
    spatial = np.concatenate([block.obsm["spatial"] for block in blocks])
    slides = list(obs["slide"].cat.categories)
    digests = [block.uns["source_digest"] for block in blocks]
    return AnnData(
        obs=obs,
        var=var,
        layers=_layers(blocks),
        obsm={"spatial": spatial},
        uns={"source_digests": dict(zip(slides, digests, strict=True))},
    )


def join_context(blocks: Sequence[AnnData], var: pd.DataFrame, expression: AnnData) -> AnnData:
    """Return the context of the same spots.

    Args:
        blocks: From `context_block`, in the order of the expression's slides.
        var: The context genes.
        expression: Gives the spots.
    """
    return AnnData(
        obs=expression.obs[["slide", "subject", "split"]].copy(),
        var=var,
        layers=_layers(blocks),
        uns={name: expression.uns[name] for name in ("cohort", "protocol", "organism")},
    )


def correct_batches(expression: AnnData, cohort: Cohort, protocol: Protocol) -> None:
    """Add the layer ``combat``: the layer ``median``, batch-corrected.

    ``uns["combat"]`` holds the map of each slide and gene, combat = scale · median + shift, as
    ``slides`` (names), ``scale`` and ``shift`` ``(n_slides, n_genes)``; ``skipped`` says why
    nothing or not everything was corrected. Under the protocol ``inductive`` each slide whose
    batch no train slide has is a batch of its own, so that no val or test slide moves another.
    """
    who = expression.obs.drop_duplicates("slide")
    slide = expression.obs["slide"].cat.codes.to_numpy(np.int32)
    batch_of_slide = _batch_of_slide(who, cohort, protocol)
    train = (expression.obs["split"] == "train").to_numpy(bool)
    median = expression.layers["median"]
    fit = fit_combat(median, batch_of_slide[slide], train if protocol == "inductive" else None)
    expression.layers["combat"] = fit.apply(median, batch_of_slide[slide])
    place = np.searchsorted(fit.batches, batch_of_slide)
    expression.uns["combat"] = {
        "slides": who["slide"].to_numpy(str).astype(object),
        "scale": fit.scale[place],
        "shift": fit.shift[place],
        "batch_key": cohort.batch_key,
        "skipped": fit.skipped,
    }


def add_train_means(expression: AnnData) -> None:
    """Add ``train_mean`` and ``train_mean_combat``: means over measured entries of train spots.

    A gene that no train spot measures gets 0, as a missing entry holds.
    """
    train = (expression.obs["split"] == "train").to_numpy(bool)
    measured = expression.layers["measured"][train]
    count = measured.sum(axis=0)
    for name, layer in (("train_mean", "log_tpm"), ("train_mean_combat", "combat")):
        values = expression.layers[layer][train]
        total = np.where(measured, values, 0).sum(axis=0, dtype=np.float64)
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        expression.var[name] = mean.astype(np.float32)


def describe(
    expression: AnnData,
    cohort: Cohort,
    code: str,
    protocol: Protocol,
    settings: ProcessingSettings,
) -> None:
    """Write into ``uns`` which cohort this is and every parameter that made it."""
    expression.uns.update(
        cohort=code,
        protocol=protocol,
        organism=cohort.organism,
        tissue=cohort.tissue,
        lattice=cohort.lattice,
        pitch_um=cohort.pitch,
        filter={
            "spot_counts": np.array(cohort.filter.spot_counts, dtype=np.float64),
            "gene_counts": np.array(cohort.filter.gene_counts, dtype=np.float64),
            "mean_fraction": cohort.filter.mean_fraction,
        },
        processing=settings.model_dump(mode="json"),
    )


def _batch_of_slide(who: pd.DataFrame, cohort: Cohort, protocol: Protocol) -> NDArray[np.int32]:
    batch = pd.factorize(who[cohort.batch_key].astype(str))[0]
    if protocol == "inductive":
        seen = np.isin(batch, batch[(who["split"] == "train").to_numpy(bool)])
        own = batch.size + np.arange(batch.size)
        batch = pd.factorize(np.where(seen, batch, own))[0]
    return batch.astype(np.int32)


def _layers(blocks: Sequence[AnnData]) -> dict[str, NDArray[np.generic]]:
    names = list(blocks[0].layers)
    return {name: np.concatenate([block.layers[name] for block in blocks]) for name in names}
