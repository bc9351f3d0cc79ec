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
from spared_benchmark.completion.beside import Beside
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.cost import Cost, measured
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.raw_slide import Recipe, on_card
from spared_benchmark.completion.score_tables import NO_ASSAY
from spared_benchmark.completion.setting import Setting
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import HEADLINE, CompletionSettings, Regime, Split, Variant

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CompletionResult:
    """What a completer gives to the rest of a study.

    Attributes:
        completed: The layer named by the completer, in ``log_tpm``, and beside it its uncertainty
            if it tells any; nothing was hidden.
        state: What was learnt in ``log_tpm``.
        card: Method, hyper-parameters, genes, seconds and the trials of every space, fit for JSON.
        scores: The tidy table.
        examples: What ``log_tpm`` values the hidden entries of the first assay of the headline
            were given, float32 ``(n_hidden,)`` in the order of its mask.
    """

    completed: anndata.AnnData
    state: dict[str, NDArray[Any]]
    card: dict[str, Any]
    scores: pd.DataFrame
    examples: NDArray[np.float32]


def run_completer(
    name: str,
    expression: anndata.AnnData,
    masks: Masks,
    settings: CompletionSettings,
    training: Training,
    noiseless: NDArray[np.float32] | None = None,
    variant: Variant | None = None,
    beside: Beside | None = None,
) -> CompletionResult:
    """Fit a completer on train slides, score it under every mask and complete the cohort.

    Every space has its own fit with the same budget, which serves all regimes: train slides are
    whole in each, in ``molecular`` at twice the depth of what is then completed. The completed
    layer always comes from ``log_tpm``; targets in corrected space are made from it by each
    slide's affine map.

    Args:
        name: Of the completer, or of the variant.
        expression: All slides of the cohort.
        masks: Drawn from this expression.
        settings: Sizes and spaces.
        training: Budget, seed and store for completers that are trained.
        noiseless: True expression of simulated slides, for scores alone; see `Setting`.
        variant: What ``name`` is a variant of, when it is no registered completer.
        beside: What the variant is shown beside the chosen genes.

    Raises:
        ContractError: When the masks belong to another expression.
        ConfigurationError: For an unknown completer, size or hyper-parameter.
    """
    masks.check(expression)
    setting = Setting(expression, masks, "log_tpm", noiseless, beside)
    completer, cost = _fitted(_new(name, settings, variant), setting, training)
    scored, examples = _scored(completer, cost, setting)
    tables = [scored]
    trials = _trials(completer, setting)
    if completer.reads_fill:
        tables.append(_scored_as_published(completer, setting))
    if "combat" in settings.spaces:
        corrected = Setting(expression, masks, "combat", beside=beside)
        refitted, taken = _fitted(_new(name, settings, variant), corrected, training)
        tables.append(_scored(refitted, taken, corrected)[0])
        trials += _trials(refitted, corrected)
    card = {**describe(completer), **on_card(Recipe.of(expression)), "seconds": cost.seconds}
    return CompletionResult(
        completed=completed_cohort(completer, setting),
        state=completer.state(),
        card={**card, "trials": trials} if trials else card,
        scores=pd.concat(tables, ignore_index=True),
        examples=examples,
    )


def completed_cohort(completer: Completer, setting: Setting) -> anndata.AnnData:
    """Complete every slide with nothing hidden.

    Returns:
        The cohort's spots and genes with ``obs`` slide and split and one layer, the completer's;
        of one that tells its uncertainty those of `Belief.layers`.
    """
    started = time.perf_counter()
    where = setting.untouched, completer, get_args(Split)
    if completer.tells_uncertainty:
        layers = setting.believed_in(*where).layers(completer.name)
    else:
        layers = {completer.name: setting.completed_in(*where)}
    completed = anndata.AnnData(
        obs=setting.expression.obs[["slide", "split"]].copy(),
        var=pd.DataFrame(index=setting.expression.var_names.copy()),
        layers=layers,
    )
    for key in ("cohort", "protocol"):
        completed.uns[key] = setting.expression.uns[key]
    completed.uns["completer"] = completer.name
    _log.info(
        "%s %s: completed %d spots in %.1f s",
        setting.expression.uns["cohort"],
        completer.name,
        completed.n_obs,
        time.perf_counter() - started,
    )
    return stamp(completed, "completed")


def describe(completer: Completer) -> dict[str, Any]:
    """Return the JSON card of a fitted completer: all that loading needs beside its state."""
    card = completer.card
    variant = {} if completer.name == card.name else {"variant": completer.name}
    return {
        "method": card.name,
        **variant,
        "label": completer.name if variant else card.label,
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
    completer.name = card.get("variant", completer.name)
    completer.bind(tuple(card["genes"]), card["lattice"])
    completer.load_state(state)
    return completer


def _new(name: str, settings: CompletionSettings, variant: Variant | None) -> Completer:
    size = settings.sizes.get(name, "small")
    if variant is None:
        return completers.create(name, size=size)
    completer = completers.create(variant.of, size=size, **variant.settings)
    completer.name = name
    return completer


def _fitted(completer: Completer, setting: Setting, training: Training) -> tuple[Completer, Cost]:
    identity = {**training.identity, "space": setting.space}
    with measured() as cost:
        completer.fit(setting.train(), setting.selection(), replace(training, identity=identity))
    cohort, name = setting.expression.uns["cohort"], completer.name
    _log.info("%s %s: fitted in %s in %.1f s", cohort, name, setting.space, cost.seconds)
    return completer, cost


def _trials(completer: Completer, setting: Setting) -> list[dict[str, Any]]:
    """Return the trials of a fit with their space; none of a closed form."""
    return [{"space": setting.space, **trial} for trial in completer.record.get("trials", ())]


def _scored(
    completer: Completer, fit: Cost, setting: Setting
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Return the scores under every mask, and the values of the headline's first."""
    started = time.perf_counter()
    tables, examples = [], np.empty(0, dtype=np.float32)
    for regime, fraction in setting.drawings:
        table, cost, first = _assays(completer, setting, regime, fraction, published=False)
        examples = first if (regime, fraction) == HEADLINE else examples
        taken = {
            "seconds": fit.seconds + cost.seconds,
            "memory_mb": max(fit.memory_mb, cost.memory_mb),
        }
        tables += [table, _cost_rows(taken, regime, fraction)]
    name = completer.name
    rows = setting.labelled(pd.concat(tables, ignore_index=True), name, completer.card.kind)
    cohort, seconds = setting.expression.uns["cohort"], time.perf_counter() - started
    _log.info("%s %s: scored in %s in %.1f s", cohort, name, setting.space, seconds)
    return rows, examples


def _scored_as_published(completer: Completer, setting: Setting) -> pd.DataFrame:
    # Medians at missing entries tell them apart from hidden ones, and hidden entries entered the
    # medians: a number to compare with printed ones, never to rank.
    tables = [
        _assays(completer, setting, regime, fraction, published=True)[0]
        for regime, fraction in setting.drawings
        if regime == HEADLINE[0]
    ]
    name = f"{completer.name} (paper evaluation)"
    return setting.labelled(pd.concat(tables, ignore_index=True), name, "control")


def _assays(
    completer: Completer, setting: Setting, regime: Regime, fraction: float, *, published: bool
) -> tuple[pd.DataFrame, Cost, NDArray[np.float32]]:
    """Return the scores under every mask, what completing took, and the first mask's values."""
    tables, total = [], Cost(memory_mb=0.0)
    first = np.empty(0, dtype=np.float32)
    for assay in setting.assays(regime, fraction):
        belief = None
        with measured() as cost:
            if completer.tells_uncertainty and not published:
                belief = setting.believed_in(assay, completer)
                completed = belief.values
            else:
                completed = setting.completed_in(assay, completer, published=published)
        total.seconds += cost.seconds
        total.memory_mb = max(total.memory_mb, cost.memory_mb)
        tables.append(setting.score(completed, assay))
        tables += [] if belief is None else [setting.score_belief(belief, assay)]
        first = first if assay.number else completed[assay.hidden]
    return pd.concat(tables, ignore_index=True), total, first


def _cost_rows(taken: Mapping[str, float], regime: Regime, fraction: float) -> pd.DataFrame:
    row = {"assay": NO_ASSAY, "split": "", "slide": "", "n": 1}
    row |= {"regime": regime, "hidden_fraction": fraction}
    return pd.DataFrame([{**row, "metric": name, "value": value} for name, value in taken.items()])
