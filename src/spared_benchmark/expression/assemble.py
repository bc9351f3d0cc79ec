"""Slides put together into the expression and context of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.expression.combat import fit_combat
from spared_benchmark.expression.slide_spots import SlideSpots, median_completed
from spared_benchmark.published.combat import published_combat
from spared_benchmark.published.layers import add_published_layers
from spared_benchmark.study import Cohort, ProcessingSettings, Protocol


def gather_expression(
    slides: Mapping[str, SlideSpots],
    chosen: NDArray[np.intp],
    cohort: Cohort,
    settings: ProcessingSettings,
) -> AnnData:
    """Put the slides' chosen genes under one another, before batch correction.

    Args:
        slides: By name, in the cohort's order.
        chosen: Positions of the chosen genes among the filtered ones ``(n_genes,)``.
        cohort: Says each slide's subject and split.
        settings: Of the median filter.
    """
    shape = sum(len(slide.spots) for slide in slides.values()), chosen.size
    layers = _empty_layers(shape) | {"median": np.empty(shape, dtype=np.float32)}
    start = 0
    for slide in slides.values():
        rows = slice(start, start + len(slide.spots))
        _fill(layers, rows, slide, chosen)
        windows = slide.windows(cohort.lattice, settings)
        layers["median"][rows] = median_completed(layers["log_tpm"][rows], windows)
        start = rows.stop
    obs = pd.concat([_described(slide, name, cohort) for name, slide in slides.items()])
    for key in ("slide", "subject", "split"):
        obs[key] = pd.Categorical(obs[key], categories=list(dict.fromkeys(obs[key])))
    return AnnData(
        obs=obs,
        layers=layers,
        obsm={"spatial": np.concatenate([slide.spatial for slide in slides.values()])},
        uns={"source_digests": {name: slide.source_digest for name, slide in slides.items()}},
        shape=shape,
    )


def gather_context(
    slides: dict[str, SlideSpots], others: NDArray[np.intp], expression: AnnData
) -> AnnData:
    """Put the genes that rank after the chosen ones under one another.

    The last use of the slides' counts: each slide is taken out of ``slides`` as it is filled in,
    so that memory holds its counts or its context, not both.

    Args:
        slides: By name, in the cohort's order; empty afterwards.
        others: Positions of those genes among the filtered ones, perhaps none.
        expression: Gives the spots.
    """
    shape = expression.n_obs, others.size
    layers = _empty_layers(shape)
    start = 0
    for name in list(slides):
        slide = slides.pop(name)
        rows = slice(start, start + len(slide.spots))
        _fill(layers, rows, slide, others)
        start = rows.stop
    who = expression.obs[["slide", "subject", "split"]].copy()
    uns = {key: expression.uns[key] for key in ("cohort", "protocol", "organism")}
    return AnnData(obs=who, layers=layers, uns=uns, shape=shape)


def correct_batches(
    expression: AnnData, cohort: Cohort, protocol: Protocol, *, published: bool = False
) -> None:
    """Add the layer ``combat``: the layer ``median``, batch-corrected.

    ``uns["combat"]`` holds the map of each slide and gene, combat = scale · median + shift, as
    ``slides`` (names), ``scale`` and ``shift`` ``(n_slides, n_genes)``; ``skipped`` says why
    nothing or not everything was corrected. With ``published`` the correction and some more
    layers are those of the published library. Under the protocol ``inductive`` each slide whose
    batch no train slide has is a batch of its own, so that no val or test slide moves another.
    """
    who = expression.obs.drop_duplicates("slide")
    slide = expression.obs["slide"].cat.codes.to_numpy(np.int32)
    of_slide = batch_of_slide(who, cohort.batch_key, protocol)
    train = (expression.obs["split"] == "train").to_numpy(bool)
    median = expression.layers["median"]
    if published:
        fit = published_combat(median, of_slide[slide], expression.var_names.tolist())
    else:
        fit = fit_combat(median, of_slide[slide], train if protocol == "inductive" else None)
    expression.layers["combat"] = fit.apply(median, of_slide[slide])
    place = np.searchsorted(fit.batches, of_slide)
    expression.uns["combat"] = {
        "slides": who["slide"].to_numpy(str).astype(object),
        "scale": fit.scale[place],
        "shift": fit.shift[place],
        "batch_key": cohort.batch_key,
        "skipped": fit.skipped,
    }
    if published:
        add_published_layers(expression, of_slide[slide])


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
            **cohort.filter.model_dump(),
            "spot_counts": np.array(cohort.filter.spot_counts, dtype=np.float64),
            "gene_counts": np.array(cohort.filter.gene_counts, dtype=np.float64),
            "by_name": bool(cohort.gene_names),
        },
        processing=settings.model_dump(mode="json", exclude_none=True),
    )


def batch_of_slide(who: pd.DataFrame, batch_key: str, protocol: str) -> NDArray[np.int32]:
    """Return the code of each slide's batch ``(n_slides,)``.

    Args:
        who: One row of ``obs`` per slide.
        batch_key: ``slide`` or ``subject``.
        protocol: Inductive: a slide whose batch no train slide has is a batch of its own.
    """
    batch = pd.factorize(who[batch_key].astype(str))[0]
    if protocol == "inductive":
        seen = np.isin(batch, batch[(who["split"] == "train").to_numpy(bool)])
        own = batch.size + np.arange(batch.size)
        batch = pd.factorize(np.where(seen, batch, own))[0]
    return batch.astype(np.int32)


def _empty_layers(shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    kinds = {"counts": np.float32, "log_tpm": np.float32, "measured": np.bool_}
    return {name: np.empty(shape, dtype=kind) for name, kind in kinds.items()}


def _fill(
    layers: dict[str, NDArray[Any]], rows: slice, slide: SlideSpots, genes: NDArray[np.intp]
) -> None:
    layers["counts"][rows] = slide.dense_counts(genes)
    layers["log_tpm"][rows] = slide.log_tpm(genes)
    layers["measured"][rows] = layers["counts"][rows] > 0


def _described(slide: SlideSpots, name: str, cohort: Cohort) -> pd.DataFrame:
    definition = cohort.slides[name]
    obs = slide.spots.set_axis([f"{name}_{barcode}" for barcode in slide.spots.index])
    who = {"slide": name, "subject": definition.subject, "split": definition.split}
    for position, (key, value) in enumerate(who.items()):
        obs.insert(position, key, value)
    return obs
