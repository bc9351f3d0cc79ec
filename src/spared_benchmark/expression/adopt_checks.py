"""Whether a published file says what its keys promise; every problem names its key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.expression.normalisation import PER_MILLION
from spared_benchmark.slides.spared_file import SparedFile
from spared_benchmark.study import Cohort, Protocol

TOLERANCE = 1e-3  # log2 units; relative for TPM: published layers may be float32

Layers = Mapping[str, NDArray[Any]]

logger = logging.getLogger(__name__)


def refuse_inductive(code: str, protocol: Protocol) -> None:
    """Refuse the protocol that a published file cannot follow.

    Raises:
        ConfigurationError: When the study's protocol is ``inductive``.
    """
    if protocol == "inductive":
        msg = (
            f"{code}: a cohort of the format 'spared' is transductive: its genes were chosen and "
            "its batches corrected over the slides of all splits before it was published. Write "
            "'protocol: transductive' in the study, or process the raw slides"
        )
        raise ConfigurationError(msg)


def check_definition(file: SparedFile, cohort: Cohort, code: str) -> None:
    """Compare the slides, splits and subjects of the definition with those of the file.

    Slides that the definition leaves out are logged, and so are subjects that group the slides
    in another way: the file's ``patient`` comes from names and is not always a patient.

    Raises:
        InputError: When the file lacks a slide.
        ConfigurationError: When a slide is in another split, and the cohort does not say
            ``resplit``.
    """
    for slide in cohort.slides:
        file.rows(slide)
    left = [slide for slide in file.slides if slide not in cohort.slides]
    if left:
        logger.info("%s: slides of %s left out: %s", code, file.path.name, ", ".join(left))
    own = {slide: definition.split for slide, definition in cohort.slides.items()}
    theirs = file.by_slide("split")
    moved = [
        f"{slide}: {theirs[slide]} / {own[slide]}" for slide in own if theirs[slide] != own[slide]
    ]
    if moved and not cohort.resplit:
        msg = (
            f"{code}: slides are in other splits in {file.path} than in the cohort's definition "
            f"(file / definition): {'; '.join(moved)}. Write the file's splits, or 'resplit: true' "
            "if the definition is meant: it is then what counts, and the published completion, "
            "trained on other slides, is left out"
        )
        raise ConfigurationError(msg)
    if moved:
        logger.warning("%s: splits differ from the file's: %s", code, "; ".join(moved))
    if "patient" in file.obs:
        _report_subjects(file.by_slide("patient"), cohort, code)


def check_layers(file: SparedFile, slide: str, layers: Layers) -> None:
    """Check what the layers of a slide say of each other.

    Args:
        file: Where they are from.
        slide: Its name.
        layers: By published name, dense ``(n_spots, n_genes)``.

    Raises:
        InputError: Naming the first layer that does not hold what it should.
    """
    for name, values in layers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(np.count_nonzero(~np.isfinite(values)))
            found = f"{bad} of {values.size} values are NaN or infinite"
            raise broken(file.path, slide, name, found, "numbers throughout")
    counts, tpm, mask = layers["counts"], layers["tpm"], layers["mask"] != 0
    whole = (counts >= 0) & (np.mod(counts, 1) == 0)
    if not whole.all():
        raise broken(file.path, slide, "counts", counts[~whole][0], "raw counts, 0, 1, 2, …")
    for name, present in (("tpm", tpm != 0), ("counts", counts > 0)):
        if not np.array_equal(mask, present):
            found = f"{int(np.count_nonzero(mask != present))} entries differ from {name} != 0"
            raise broken(file.path, slide, "mask", found, f"true exactly where {name} is not 0")
    _check_logs(file, slide, layers, mask)


def places_of(file: SparedFile, slide: str, rows: NDArray[np.intp]) -> dict[str, NDArray[np.int32]]:
    """Return ``array_row`` and ``array_col`` of a slide's spots, each ``(n_spots,)``.

    Raises:
        InputError: When one is no whole number, or two spots lie on one place of the lattice.
    """
    places = {}
    for key in ("array_row", "array_col"):
        values = file.obs[key].to_numpy(dtype=np.float64)[rows]
        # NaN is not equal to itself; infinity has no remainder.
        whole = np.isfinite(values) & (np.rint(values) == values)
        if not whole.all():
            found = f"{values[~whole][0]} for {int((~whole).sum())} of {whole.size} spots"
            raise _misplaced(file.path, slide, f"obs[{key!r}]", found, "whole numbers")
        places[key] = values.astype(np.int32)
    pairs, spots = np.unique(np.stack(list(places.values()), axis=1), axis=0, return_counts=True)
    if (spots > 1).any():
        row, col = pairs[spots.argmax()]
        found = f"row {row}, column {col} for {spots.max()} spots"
        rule = "one spot on each place of the lattice"
        raise _misplaced(file.path, slide, "obs['array_row'], obs['array_col']", found, rule)
    return places


def positions_of(file: SparedFile, slide: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the centres of a slide's spots, full-resolution pixels ``(n_spots, 2)``.

    Raises:
        InputError: When one is NaN or infinite.
    """
    positions = file.positions(rows)
    wrong = ~np.isfinite(positions).all(axis=1)
    if wrong.any():
        found = f"NaN or infinite values for {int(wrong.sum())} of {wrong.size} spots"
        raise _misplaced(file.path, slide, "obsm['spatial']", found, "pixels throughout")
    return positions


def denominators_of(
    file: SparedFile, slide: str, layers: Layers, lengths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Σ count / length of each spot over the genes that TPM was taken over ``(n_spots,)``.

    The file does not hold it, but each measured entry tells it: TPM = 1e6 · count / (length · S).
    The median over a spot's genes is taken. A spot with none gets NaN.

    Raises:
        InputError: When the entries of a spot do not agree.
    """
    measured = layers["counts"] > 0
    tpm = np.asarray(layers["tpm"], dtype=np.float64)
    worth = PER_MILLION * layers["counts"] / lengths
    told = np.divide(worth, tpm, out=np.full(tpm.shape, np.nan), where=measured)
    result = np.full(len(told), np.nan)
    some = measured.any(axis=1)
    result[some] = np.nanmedian(told[some], axis=1)
    astray = measured & (np.abs(told / result[:, None] - 1) > TOLERANCE)
    if astray.any():
        gene = file.var.index[int(astray.sum(axis=0).argmax())]
        found = f"{int(astray.sum())} entries (most of gene {gene}) do not follow from counts"
        rule = "1e6 · counts / var['gene_length'], divided by one number per spot"
        raise broken(file.path, slide, "tpm", found, rule)
    return result


def broken(path: Path, slide: str, layer: str, found: object, rule: str) -> InputError:
    """Return the error that says what is wrong with a layer."""
    return InputError(
        f"{path}, slide {slide}: layers[{layer!r}]: found {found}; needed: {rule}. The file cannot "
        "be adopted as published; process the raw slides instead"
    )


def _misplaced(path: Path, slide: str, key: str, found: str, rule: str) -> InputError:
    return InputError(
        f"{path}, slide {slide}: {key}: found {found}; needed: {rule}. Neighbours follow from it; "
        "download the file anew, or leave the slide out of the cohort"
    )


def _check_logs(file: SparedFile, slide: str, layers: Layers, mask: NDArray[np.bool_]) -> None:
    logs = np.log2(np.asarray(layers["tpm"], dtype=np.float64) + 1)
    off = float(np.abs(layers["log1p"] - logs).max())
    if off > TOLERANCE:
        natural = np.abs(layers["log1p"] - logs * np.log(2)).max() <= TOLERANCE
        found = "natural logarithms" if natural else f"values up to {off:.3g} off"
        raise broken(file.path, slide, "log1p", found, "log2(tpm + 1)")
    off = float(np.abs(np.where(mask, layers["d_log1p"] - layers["log1p"], 0)).max())
    if off > TOLERANCE:
        found = f"measured entries that are up to {off:.3g} off log1p"
        raise broken(file.path, slide, "d_log1p", found, "log1p where the mask is true")


def _report_subjects(patients: Mapping[str, str], cohort: Cohort, code: str) -> None:
    """Log when the file's patients and the definition's subjects group the slides differently."""
    pairs = {(patients[slide], one.subject) for slide, one in cohort.slides.items()}
    if (
        len({patient for patient, _ in pairs})
        == len({subject for _, subject in pairs})
        == len(pairs)
    ):
        return
    told = "; ".join(f"{s}: {patients[s]} / {one.subject}" for s, one in cohort.slides.items())
    logger.warning("%s: subjects differ (file / definition, which counts): %s", code, told)
