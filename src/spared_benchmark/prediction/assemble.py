"""From expression, completed values, patches and features to slides with a target."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.atomic import digest_of
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.prediction.entry_weights import entry_weights
from spared_benchmark.prediction.names import WEIGHTED, completer_of
from spared_benchmark.prediction.spaces import Space, converted
from spared_benchmark.prediction.types import BlindSlide, Patches, Sampling, Slide, Weight
from spared_benchmark.tissue.lattice import neighbour_table

if TYPE_CHECKING:
    from spared_benchmark.tissue.patches import PatchStore

_log = logging.getLogger(__name__)
# x per column and y per row, as shares of the centre-to-centre distance.
_STEP = {
    "hexagonal": (0.5, np.sqrt(3) / 2),
    "square": (1.0, 1.0),
    "diamond": (np.sqrt(0.5), np.sqrt(0.5)),
}


@dataclass(frozen=True)
class Assembled:
    """The slides of a cohort with one target, ready for any predictor.

    Attributes:
        slides: Those with an image, in the cohort's order.
        target: ``raw``, ``measured`` or a completer's name, perhaps with ``_weighted``.
        space: Space of the target's values.
        genes: Names, ``(n_genes,)``.
        symbols: What a reader knows them by, ``(n_genes,)``.
        names: Names of the spots by slide.
        dropped: Slides without an image: they take no part.
    """

    slides: tuple[Slide, ...]
    target: str
    space: Space
    genes: tuple[str, ...]
    symbols: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    dropped: tuple[str, ...]

    def of(self, split: str) -> list[Slide]:
        """Return the slides of ``split``."""
        return [slide for slide in self.slides if slide.split == split]

    @property
    def weighted(self) -> bool:
        """Whether entries count in the loss by fractions."""
        return any(slide.weight.dtype != np.bool_ for slide in self.slides)

    def digest(self, sampling: Sampling) -> str:
        """Return a digest of everything that training and selection see of it by ``sampling``."""
        seen = [slide for slide in self.slides if slide.split != "test"]
        prints = [_fingerprint(slide, sampling) for slide in seen]
        return digest_of([self.target, self.space, self.genes, *prints])


def assemble(
    expression: AnnData,
    *,
    target: str,
    space: Space,
    completed: AnnData | None = None,
    patches: Mapping[str, PatchStore] | None = None,
    features: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
) -> Assembled:
    """Return the slides that have patches, with ``target`` in ``space`` as what is learnt.

    ``raw``: missing entries are 0 and count in the loss (the paper). ``measured``: they do not
    count. A completer's name: they hold its values and count. The same followed by ``_weighted``:
    they hold its values and count by how sure it is of them, see `entry_weights`.

    Args:
        expression: Of the cohort.
        target: ``raw``, ``measured`` or the name of the completer of ``completed``, perhaps with
            ``_weighted``.
        space: ``combat`` or ``log_tpm``.
        completed: The completer's layer in ``log_tpm``, for weights ``<completer>_sd`` beside it;
            the spots and genes of ``expression``.
        patches: By slide.
        features: By encoder, then by slide; rows as those of the slide's patches.

    Raises:
        InputError: When no train or val slide has an image.
        ContractError: When spots or genes do not fit together.
    """
    y, weight = _target(expression, target, space, completed)
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    counts = _counts(expression)
    of_spot = expression.obs["slide"].astype(str).to_numpy()
    order = list(dict.fromkeys(of_spot))
    kept = [slide for slide in order if slide in (patches or {})]
    dropped = tuple(slide for slide in order if slide not in kept)
    if dropped:
        _log.info("slides without an image take no part in prediction: %s", ", ".join(dropped))
    slides, names = [], {}
    for slide in kept:
        rows = np.flatnonzero(of_spot == slide)
        seen = _seen(expression, slide, rows, (patches or {})[slide], features or {})
        slides.append(
            Slide(
                **vars(seen),
                y=y[rows],
                measured=measured[rows],
                weight=weight[rows],
                counts=None if counts is None else counts[rows],
            )
        )
        names[slide] = tuple(expression.obs_names[rows])
    splits = {slide.split for slide in slides}
    for split in ("train", "val"):
        if split not in splits:
            msg = (
                f"cohort {expression.uns.get('cohort')!r}: no {split} slide has an image "
                f"(without one: {', '.join(dropped) or 'none'}); prediction needs train and val"
            )
            raise InputError(msg)
    genes = tuple(map(str, expression.var_names))
    known = expression.var.get("symbol", expression.var_names)
    return Assembled(tuple(slides), target, space, genes, tuple(map(str, known)), names, dropped)


def features_of_spots(
    expression: AnnData, slides: Mapping[str, tuple[PatchStore, NDArray[Any]]]
) -> NDArray[np.float32]:
    """Return the features of every spot's patch, float32 ``(n_spots, d)``.

    Args:
        expression: Of the cohort.
        slides: Of each slide its patches and their features, rows as those of the patches.

    Raises:
        ContractError: When a spot has no patch, or a slide none of both.
    """
    of_spot = expression.obs["slide"].astype(str).to_numpy()
    lost = sorted(set(of_spot.tolist()) - set(slides))
    if lost:
        msg = f"no features for the slides {', '.join(lost)}; found {', '.join(sorted(slides))}"
        raise ContractError(msg)
    width = {array.shape[1] for _, array in slides.values()}.pop()
    features = np.empty((expression.n_obs, width), dtype=np.float32)
    for slide, (store, array) in slides.items():
        rows = np.flatnonzero(of_spot == slide)
        features[rows] = np.asarray(array)[_rows_of(store, slide, expression.obs.index[rows])]
    return features


def _target(
    expression: AnnData, target: str, space: Space, completed: AnnData | None
) -> tuple[NDArray[np.float32], Weight]:
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    known = np.asarray(expression.layers[space], dtype=np.float32)
    everything = np.ones_like(measured)
    if target in {"raw", "measured"}:
        y = np.where(measured, known, np.float32(0))
        return y, everything if target == "raw" else measured
    layers = {} if completed is None else completed.layers
    completer = completer_of(target, layers) or target.removesuffix(WEIGHTED)
    needed = [completer] if completer == target else [completer, f"{completer}_sd"]
    if completed is None or not set(needed) <= set(layers):
        found = ", ".join(layers) if completed is not None else "no file"
        names = " and ".join(map(repr, needed))
        msg = f"target {target!r}: the completed expression needs {names} as layers; found {found}"
        raise ContractError(msg)
    for axis in ("obs_names", "var_names"):
        if not getattr(completed, axis).equals(getattr(expression, axis)):
            msg = f"target {target!r}: {axis} of completed and expression differ; complete again"
            raise ContractError(msg)
    slide = expression.obs["slide"].astype(str).to_numpy()
    values = np.asarray(layers[completer])
    filled = converted(values, slide, expression, "log_tpm", space)
    y = np.where(measured, known, filled)
    if completer == target:
        return y, everything
    sd = np.asarray(layers[f"{completer}_sd"])
    # A spread takes the slope of an affine map and not its shift.
    ends = (converted(part, slide, expression, "log_tpm", space) for part in (sd, 0 * sd))
    train = (expression.obs["split"] == "train").to_numpy()
    return y, entry_weights(y, np.abs(np.subtract(*ends)), measured, train)


def _counts(expression: AnnData) -> NDArray[np.float32] | None:
    """Return the molecules ``(n_spots, n_genes)``, where the expression has them."""
    if "counts" not in expression.layers:
        return None
    counts = expression.layers["counts"]
    dense = counts.toarray() if hasattr(counts, "toarray") else counts
    return np.asarray(dense, dtype=np.float32)


def _seen(
    expression: AnnData,
    slide: str,
    rows: NDArray[np.int64],
    store: PatchStore,
    features: Mapping[str, Mapping[str, NDArray[Any]]],
) -> BlindSlide:
    obs = expression.obs.iloc[rows]
    array_rc = obs[["array_row", "array_col"]].to_numpy(dtype=np.int32)
    lattice = expression.uns["lattice"]
    step = np.multiply(_STEP[lattice], float(expression.uns["pitch_um"]))
    one_slide = np.zeros(len(rows), dtype=np.int32)
    neighbours = neighbour_table(array_rc[:, 0], array_rc[:, 1], one_slide, lattice, hops=1)
    stored = _rows_of(store, slide, obs.index)
    return BlindSlide(
        slide=slide,
        subject=str(obs["subject"].iloc[0]),
        split=str(obs["split"].iloc[0]),
        array_rc=array_rc,
        xy_um=(array_rc[:, ::-1] * step).astype(np.float32),
        neighbours=neighbours,
        lattice=lattice,
        patches=Patches(store.array, stored, f"{store.image_digest}/{store.window}"),
        features={
            name: np.asarray(by_slide[slide])[stored].astype(np.float32)
            for name, by_slide in features.items()
            if slide in by_slide
        },
    )


def _rows_of(store: PatchStore, slide: str, spots: pd.Index) -> NDArray[np.int64]:
    names = pd.Index([f"{slide}_{barcode}" for barcode in store.names])
    rows = names.get_indexer(spots)
    if (rows < 0).any():
        lost = spots[int(np.flatnonzero(rows < 0)[0])]
        msg = (
            f"slide {slide!r}: {int((rows < 0).sum())} spots of the expression have no patch, the "
            f"first is {lost!r}; the patches are of other spots: cut them again"
        )
        raise ContractError(msg)
    return np.asarray(rows, dtype=np.int64)


def _fingerprint(slide: Slide, sampling: Sampling) -> list[Any]:
    arrays: list[NDArray[Any]] = [slide.y, slide.weight, slide.measured]
    arrays += [slide.array_rc, slide.xy_um, slide.neighbours]
    arrays += [slide.features[name] for name in sampling.features if name in slide.features]
    arrays += [slide.counts] if sampling.counts and slide.counts is not None else []
    identity = ""
    if slide.patches is not None and sampling.image_size is not None:
        identity = slide.patches.identity
        arrays.append(slide.patches.rows)
    names = [slide.slide, slide.subject, slide.split, identity, *sampling.features]
    return [*names, *map(_array_digest, arrays)]


def _array_digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:16]
