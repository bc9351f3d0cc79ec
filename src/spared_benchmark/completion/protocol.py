"""A completer's whole run on a cohort: fitted once, scored under every mask, then applied."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion import completers
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.setting import Setting
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import CompletionSettings, Split

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CompletionResult:
    """What a completer gives to the rest of a study.

    Attributes:
        completed: One layer, named by the completer, in ``log_tpm``; nothing was hidden.
        state: What was learnt in ``log_tpm``.
        card: Method, hyper-parameters, genes, seconds and the trials of every space, fit for JSON.
        scores: The tidy table.
    """

    completed: anndata.AnnData
    state: dict[str, NDArray[Any]]
    card: dict[str, Any]
    scores: pd.DataFrame


def run_completer(
    name: str,
    expression: anndata.AnnData,
    masks: Masks,
    settings: CompletionSettings,
    training: Training,
) -> CompletionResult:
    """Fit a completer on train slides, score it under every mask and complete the cohort.

    Every space has its own fit with the same budget. The completed layer always comes from
    ``log_tpm``; targets in corrected space are made from it by each slide's affine map.

    Args:
        name: Of the completer.
        expression: All slides of the cohort.
        masks: Drawn from this expression.
        settings: Sizes and spaces.
        training: Budget, seed and store for completers that are trained.

    Raises:
        ContractError: When the masks belong to another expression.
        ConfigurationError: For an unknown completer or size.
    """
    masks.check(expression)
    setting = Setting(expression, masks, "log_tpm")
    completer, seconds = _fitted(name, setting, settings, training)
    tables = [_scored(completer, seconds, setting)]
    trials = _trials(completer, setting)
    if completer.reads_fill:
        tables.append(_scored_as_published(completer, setting))
    if "combat" in settings.spaces:
        corrected = Setting(expression, masks, "combat")
        refitted, taken = _fitted(name, corrected, settings, training)
        tables.append(_scored(refitted, taken, corrected))
        trials += _trials(refitted, corrected)
    card = {**describe(completer), "seconds": seconds}
    return CompletionResult(
        completed=completed_cohort(completer, setting),
        state=completer.state(),
        card={**card, "trials": trials} if trials else card,
        scores=pd.concat(tables, ignore_index=True),
    )


def completed_cohort(completer: Completer, setting: Setting) -> anndata.AnnData:
    """Complete every slide with nothing hidden.

    Returns:
        The cohort's spots and genes with ``obs`` slide and split and one layer, the completer's.
    """
    started = time.perf_counter()
    nothing = np.zeros(setting.expression.shape, dtype=bool)
    values = setting.completed(completer, nothing, splits=get_args(Split))
    completed = anndata.AnnData(
        obs=setting.expression.obs[["slide", "split"]].copy(),
        var=pd.DataFrame(index=setting.expression.var_names.copy()),
        layers={completer.card.name: values},
    )
    for key in ("cohort", "protocol"):
        completed.uns[key] = setting.expression.uns[key]
    completed.uns["completer"] = completer.card.name
    _log.info(
        "%s %s: completed %d spots in %.1f s",
        setting.expression.uns["cohort"],
        completer.card.name,
        completed.n_obs,
        time.perf_counter() - started,
    )
    return stamp(completed, "completed")


def describe(completer: Completer) -> dict[str, Any]:
    """Return the JSON card of a fitted completer: all that loading needs beside its state."""
    card = completer.card
    return {
        "method": card.name,
        "label": card.label,
        "version": card.version,
        "size": completer.size,
        "settings": dict(completer.settings),
        "genes": list(completer.genes),
        "lattice": completer.lattice,
        **completer.record,
    }


def restored(card: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> Completer:
    """Return the fitted completer that `describe` and ``state`` tell of."""
    completer = completers.create(card["method"], size=card["size"], **card["settings"])
    completer.bind(tuple(card["genes"]), card["lattice"])
    completer.load_state(state)
    return completer


def _fitted(
    name: str, setting: Setting, settings: CompletionSettings, training: Training
) -> tuple[Completer, float]:
    started = time.perf_counter()
    completer = completers.create(name, size=settings.sizes.get(name, "small"))
    identity = {**training.identity, "space": setting.space}
    completer.fit(setting.train(), setting.selection(), replace(training, identity=identity))
    seconds = time.perf_counter() - started
    cohort = setting.expression.uns["cohort"]
    _log.info("%s %s: fitted in %s in %.1f s", cohort, name, setting.space, seconds)
    return completer, seconds


def _trials(completer: Completer, setting: Setting) -> list[dict[str, Any]]:
    """Return the trials of a fit with their space; none of a closed form."""
    return [{"space": setting.space, **trial} for trial in completer.record.get("trials", ())]


def _scored(completer: Completer, fit_seconds: float, setting: Setting) -> pd.DataFrame:
    started = time.perf_counter()
    card = completer.card
    table = _assays(completer, setting, published=False)
    seconds = time.perf_counter() - started
    cohort = setting.expression.uns["cohort"]
    _log.info("%s %s: scored in %s in %.1f s", cohort, card.name, setting.space, seconds)
    rows = setting.labelled(table, card.name, card.kind)
    taken = setting.seconds(card.name, card.kind, fit_seconds + seconds)
    return pd.concat([rows, taken], ignore_index=True)


def _scored_as_published(completer: Completer, setting: Setting) -> pd.DataFrame:
    # Medians at missing entries tell them apart from hidden ones, and hidden entries entered the
    # medians: a number to compare with printed ones, never to rank.
    table = _assays(completer, setting, published=True)
    return setting.labelled(table, f"{completer.card.name} (paper evaluation)", "control")


def _assays(completer: Completer, setting: Setting, *, published: bool) -> pd.DataFrame:
    tables = []
    for assay in range(setting.masks.assays):
        hidden = setting.masks.reported(assay)
        completed = setting.completed(completer, hidden, published=published)
        tables.append(setting.score(completed, hidden, assay))
    return pd.concat(tables, ignore_index=True)
