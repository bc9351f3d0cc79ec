"""A published SpaRED file taken over as a processed cohort, with nothing computed anew.

Its layers map one to one: ``counts``, ``log1p`` (base 2) to ``log_tpm``, ``mask`` to
``measured``, ``d_log1p`` to ``median``, ``c_d_log1p`` to ``combat``; ``c_t_log1p``, the published
completion in corrected space, is kept as ``published_spackle``. What the file does not say is
recovered: the denominators of TPM, the maps of the batch correction and the train means.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import InputError
from spared_benchmark.expression.adopt_checks import (
    broken,
    check_definition,
    check_layers,
    denominators_of,
    places_of,
    positions_of,
    refuse_inductive,
)
from spared_benchmark.expression.adopt_combat import NO_CORRECTION, recovered_maps, shared_maps
from spared_benchmark.expression.adopt_tables import gene_table, spot_table
from spared_benchmark.expression.annotation import without_version
from spared_benchmark.expression.assemble import add_train_means
from spared_benchmark.expression.process import Processed
from spared_benchmark.expression.statistics import numbers_after, table_of_numbers
from spared_benchmark.slides.schema import stamp
from spared_benchmark.slides.spared_file import SparedFile, need_keys
from spared_benchmark.study import Cohort, Protocol, SlideDefinition

PUBLISHED_SPACKLE = "published_spackle"

_NAMES = {
    "counts": "counts",
    "log1p": "log_tpm",
    "mask": "measured",
    "d_log1p": "median",
    "c_d_log1p": "combat",
    "c_t_log1p": PUBLISHED_SPACKLE,
}
_NEEDED = ("counts", "tpm", "log1p", "d_log1p", "mask")
_VAR = {
    "d_log1p_moran": "moran",
    "exp_frac": "fraction_min",
    "glob_exp_frac": "fraction",
    "gene_length": "gene_length",
}

_WHO = {"subject", "split"}

logger = logging.getLogger(__name__)


def adopt(path: Path, cohort: Cohort, code: str, protocol: Protocol) -> Processed:
    """Take over the slides of a published file that the cohort's definition names.

    Args:
        path: The file, or the folder that holds it as ``adata.h5ad``.
        cohort: Its definition; slides are called as in the file.
        code: The cohort's code.
        protocol: Of the study.

    Returns:
        What `process` returns. The context has no genes, because the file holds the chosen ones
        only; ``spots`` and ``genes`` tell of those in the file and of none that its filter
        dropped.

    Raises:
        ConfigurationError: When the protocol is inductive, or splits differ.
        InputError: When the file lacks a slide or key, or a key holds something else.
    """
    refuse_inductive(code, protocol)
    file = SparedFile.of(path)
    _check_keys(file, cohort)
    check_definition(file, cohort, code)
    names = [name for name in _NAMES if name in file.layers]
    if cohort.resplit and "c_t_log1p" in names:
        names.remove("c_t_log1p")
    var = _genes(file)
    lengths = var["gene_length"].to_numpy(np.float64)
    expression = _joined([_slide(file, slide, names, lengths) for slide in cohort.slides], cohort)
    expression.var = var
    _add_maps(expression, file, cohort)
    add_train_means(expression)
    _describe(expression, cohort, code, file)
    return Processed(
        expression=stamp(expression, "expression"),
        context=_context(expression),
        # What the file lost, such as the spots that its filter dropped, stays unknown.
        statistics=table_of_numbers(numbers_after(expression), cohort),
        genes=gene_table(expression, np.asarray(file.var.index, dtype=str)),
        spots=spot_table(expression),
    )


def definitions_of(path: Path) -> dict[str, SlideDefinition]:
    """Return the slides of a published file with the splits and patients that it names.

    Args:
        path: The file, or the folder that holds it.

    Raises:
        InputError: When the file does not name them, or a split is none of train, val and test.
    """
    file = SparedFile.of(path)
    need_keys(file.path, "obs", list(file.obs), "split", "patient")
    splits, patients = file.by_slide("split"), file.by_slide("patient")
    strange = sorted(set(splits.values()) - {"train", "val", "test"})
    if strange:
        msg = f"{file.path}: obs['split']: found {', '.join(strange)}; needed: train, val or test"
        raise InputError(msg)
    return {
        slide: SlideDefinition.model_validate({"subject": patients[slide], "split": splits[slide]})
        for slide in file.slides
    }


@dataclass(frozen=True)
class _Slide:
    name: str
    obs: pd.DataFrame
    layers: dict[str, NDArray[Any]]
    spatial: NDArray[np.float64]
    digest: str


def _check_keys(file: SparedFile, cohort: Cohort) -> None:
    need_keys(file.path, "obs", list(file.obs), "split", "total_counts")
    need_keys(file.path, "layers", file.layers, *_NEEDED)
    need_keys(file.path, "var", list(file.var), *_VAR)
    if cohort.batch_key == "subject" and "c_d_log1p" in file.layers:
        need_keys(file.path, "obs", list(file.obs), "patient")


def _genes(file: SparedFile) -> pd.DataFrame:
    """Return the genes of the file, in its order, as the expression's ``var``."""
    names = pd.Index([without_version(str(gene)) for gene in file.var.index])
    if not names.is_unique:
        twice = names[names.duplicated()][0]
        msg = f"{file.path}: var: gene {twice} occurs more than once; each gene has one column"
        raise InputError(msg)
    numbers = {ours: file.var[theirs].to_numpy(np.float64) for theirs, ours in _VAR.items()}
    wrong = ~(numbers["gene_length"] > 0)
    if wrong.any():
        msg = (
            f"{file.path}: var['gene_length']: found {numbers['gene_length'][wrong][0]} for gene "
            f"{names[wrong][0]}; every gene needs a length above 0 (base pairs)"
        )
        raise InputError(msg)
    return pd.DataFrame({"symbol": file.symbols.astype(object), **numbers}, index=names)


def _slide(file: SparedFile, slide: str, names: list[str], lengths: NDArray[np.float64]) -> _Slide:
    rows = file.rows(slide)
    stored = {name: file.layer(name, rows) for name in dict.fromkeys([*names, "tpm"])}
    check_layers(file, slide, stored)
    place = places_of(file, slide, rows)
    positions = positions_of(file, slide, rows)
    counts = stored["counts"]
    library = file.obs["total_counts"].to_numpy(np.float64)[rows]
    if not (library >= counts.sum(axis=1) - 0.5).all():
        found = "sums above obs['total_counts']"
        raise broken(file.path, slide, "counts", found, "no more counts than the spot has")
    denominators = denominators_of(file, slide, stored, lengths)
    _fill_unknown(denominators, library, file, slide)
    obs = pd.DataFrame(
        {**place, "library_size": library, "tpm_denominator": denominators},
        index=pd.Index(file.barcodes(slide).astype(object)),
    )
    layers = {_NAMES[name]: stored[name].astype(np.float32) for name in names}
    layers["measured"] = stored["mask"] != 0
    return _Slide(slide, obs, layers, positions, file.digest(slide))


def _fill_unknown(
    denominators: NDArray[np.float64], library: NDArray[np.float64], file: SparedFile, slide: str
) -> None:
    """Estimate in place what spots without a count of any gene of the file do not tell."""
    unknown = np.isnan(denominators)
    if unknown.all():
        raise broken(file.path, slide, "counts", "no count at all", "at least one measured entry")
    if unknown.any():
        share = np.median(denominators[~unknown] / library[~unknown])
        denominators[unknown] = np.maximum(library[unknown], 1) * share
        logger.warning(
            "slide %s: the TPM denominators of %d spots without any count are estimated from their "
            "library sizes",
            *(slide, int(unknown.sum())),
        )


def _joined(slides: list[_Slide], cohort: Cohort) -> AnnData:
    tables = []
    for slide in slides:
        who = {"slide": slide.name, **cohort.slides[slide.name].model_dump(include=_WHO)}
        index = [f"{slide.name}_{barcode}" for barcode in slide.obs.index]
        tables.append(slide.obs.set_axis(index).assign(**who))
    obs = pd.concat(tables)[["slide", "subject", "split", *slides[0].obs]]
    for key in ("slide", "subject", "split"):
        obs[key] = pd.Categorical(obs[key], categories=list(dict.fromkeys(obs[key])))
    layers = {
        name: np.concatenate([slide.layers[name] for slide in slides]) for name in slides[0].layers
    }
    return AnnData(
        obs=obs,
        layers=layers,
        obsm={"spatial": np.concatenate([slide.spatial for slide in slides])},
        uns={"source_digests": {slide.name: slide.digest for slide in slides}},
        shape=layers["counts"].shape,
    )


def _add_maps(expression: AnnData, file: SparedFile, cohort: Cohort) -> None:
    """Add ``uns["combat"]``, and the layer ``combat`` where the file has no correction."""
    slides = list(expression.obs["slide"].cat.categories)
    shape, skipped = (len(slides), expression.n_vars), ""
    if "combat" in expression.layers:
        batch_of_slide = _batches(file, slides, cohort)
        batch = batch_of_slide[expression.obs["slide"].cat.codes.to_numpy(np.intp)]
        before, after = expression.layers["median"], expression.layers["combat"]
        genes = expression.var_names.to_numpy(str)
        scale, shift = recovered_maps(before, after, batch, file.path, genes)
        scale, shift = scale[batch_of_slide], shift[batch_of_slide]
        if cohort.batch_key == "slide":
            _report_shared_maps(file, cohort, scale, shift)
    else:
        logger.warning("%s: %s; 'combat' equals 'median'", file.path, NO_CORRECTION)
        expression.layers["combat"] = expression.layers["median"].copy()
        scale, shift, skipped = np.ones(shape), np.zeros(shape), NO_CORRECTION
    expression.uns["combat"] = {
        "slides": np.array(slides, dtype=object),
        "scale": scale,
        "shift": shift,
        "batch_key": cohort.batch_key,
        "skipped": skipped,
    }


def _report_shared_maps(
    file: SparedFile, cohort: Cohort, scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    slides = list(cohort.slides)
    if "patient" in file.obs:
        patients = file.by_slide("patient")
    else:
        patients = {slide: one.subject for slide, one in cohort.slides.items()}
    patient = np.array([patients[slide] for slide in slides])
    same = patient[:, None] == patient
    for one, other in shared_maps(scale, shift):
        if same[one, other]:
            logger.warning(
                "%s: the slides %s and %s of patient %s share one batch correction: the file was "
                "corrected by patient, so batch_key: subject describes it",
                *(file.path, slides[one], slides[other], patient[one]),
            )


def _batches(file: SparedFile, slides: list[str], cohort: Cohort) -> NDArray[np.int_]:
    """Return the code of each slide's batch as the file was corrected ``(n_slides,)``."""
    if cohort.batch_key == "slide":
        return np.arange(len(slides))
    patients = [str(file.obs["patient"].iloc[file.rows(slide)[0]]) for slide in slides]
    return np.asarray(pd.factorize(np.array(patients, dtype=object))[0], dtype=np.int_)


def _describe(expression: AnnData, cohort: Cohort, code: str, file: SparedFile) -> None:
    expression.uns.update(
        cohort=code,
        protocol="transductive",
        organism=cohort.organism,
        tissue=cohort.tissue,
        lattice=cohort.lattice,
        pitch_um=cohort.pitch,
        processing={"adopted": file.path.name},
    )


def _context(expression: AnnData) -> AnnData:
    shape = (expression.n_obs, 0)
    context = AnnData(
        obs=expression.obs[["slide", "subject", "split"]].copy(),
        var=expression.var.iloc[:0].drop(columns=["train_mean", "train_mean_combat"]),
        layers={
            "counts": np.empty(shape, np.float32),
            "log_tpm": np.empty(shape, np.float32),
            "measured": np.empty(shape, bool),
        },
        uns={key: expression.uns[key] for key in ("cohort", "protocol", "organism")},
    )
    return stamp(context, "context")
