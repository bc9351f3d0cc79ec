"""Paired differences between predictions, with intervals: what targets and images are worth.

Labels of test slides are read here, as in `prediction.scores`: from files, after everything is
fixed. Errors of two predictions are compared on the same entries, so what makes an entry hard for
both cancels out; intervals come from drawing blocks of neighbouring spots, or subjects, and from
how much trainings with other seeds differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.evaluation.bootstrap import Part, Units, half_width, interval
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.chance import BLOCKS, Chance, chance_correlation
from spared_benchmark.prediction.common_spots import Spots, common_spots
from spared_benchmark.prediction.names import SHUFFLED, SMOOTHED, WEIGHTED, method_of, plain_of
from spared_benchmark.prediction.spaces import SPACES, Space, converted
from spared_benchmark.prediction.trainings import Trainings, drawn_name, seed_parts
from spared_benchmark.study import Protocol

COLUMNS = (
    *("cohort", "protocol", "space", "split", "comparison", "predictor", "target", "against"),
    *("metric", "value", "low", "high", "over", "units", "n"),
)
DRAWS = 1000
TRAIN_MEAN = "train_mean"
_REFERENCES = ("raw", "measured")

_Model = tuple[str, str]  # target and predictor
_Comparison = Literal["target", "settings", "best_control", "train_mean", "shuffled"]
_Pair = tuple[_Comparison, _Model, _Model]


@dataclass
class _Errors:
    """Errors of every target and predictor in one space.

    Attributes:
        by_spot: By model, each spot's sum over measured genes of squared errors, with every seed
            ``(n_spots, n_seeds)``.
        seeds: By model, its seeds as layers name them.
        kinds: By model: ``method``, ``control`` or ``ceiling``.
        chance: By model that was fitted to exchanged labels, its correlation.
    """

    by_spot: dict[_Model, NDArray[np.float64]] = field(default_factory=dict)
    seeds: dict[_Model, tuple[str, ...]] = field(default_factory=dict)
    kinds: dict[_Model, str] = field(default_factory=dict)
    chance: dict[_Model, Chance] = field(default_factory=dict)


def compare_predictions(
    expression: AnnData,
    predictions: Sequence[AnnData],
    cohort: str,
    protocol: Protocol,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare targets, methods with controls, and exchanged labels with chance.

    Every row is a difference of test MSE (val where no slide is for the test) on measured entries,
    the mean over seeds, with a 95 % interval. ``comparison`` is

    * ``target``: a predictor trained on ``target`` minus the same trained on ``against``, which is
      ``raw``, ``measured`` or, of a weighted target, the same values without weights;
    * ``settings``: a predictor with other settings, ``<predictor>-<name>``, minus the plain one;
    * ``best_control``: a method minus the control of its target that is best on val; without val
      spots among the predictions there is none;
    * ``train_mean``: a method minus the mean of train spots;
    * ``shuffled``: what was fitted to exchanged labels minus the mean of train spots, and with
      metric ``pcc_gene`` its correlation itself, which should be 0 within its interval.

    ``over`` says what was drawn: ``blocks`` within slides, and ``subjects`` where there are three
    or more; of few subjects the interval is little more than their range. Where seeds change a
    model it is ``blocks and seeds``: the variance over trainings is added, see
    `prediction.trainings`. ``blocks of one seed`` is of what was trained once: it does not tell
    what another seed would change, and may exclude 0 by luck. Of subjects likewise. A correlation
    by chance is told over ``blocks and exchanges`` where labels were exchanged with several seeds;
    of one exchange the interval excludes 0 far too often, see `prediction.chance`. ``units`` counts
    blocks or subjects, ``n`` the entries (genes for ``pcc_gene``). Ends are NaN where draws cannot
    differ.

    Args:
        expression: Of the cohort.
        predictions: Made by `run_predictors`, of any targets and predictors.
        cohort: Its code.
        protocol: Of the study.
        draws: Bootstrap samples.
        seed: Of the draws.

    Returns:
        The tidy table, `COLUMNS`; no rows when every predictor failed.

    Raises:
        ContractError: When predictions are not of the same spots, or of none of the expression.
    """
    given = [adata for adata in predictions if len(adata.layers)]
    if not given:
        return pd.DataFrame(columns=list(COLUMNS))
    spots = common_spots(expression, given)
    tables = []
    for space in SPACES:
        rows = _rows(expression, given, spots, space, draws, seed)
        tables.append(pd.DataFrame(rows).assign(space=space))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(cohort=cohort, protocol=protocol, split=spots.reported)
    return table.reindex(columns=list(COLUMNS))


def _rows(
    expression: AnnData,
    predictions: Sequence[AnnData],
    spots: Spots,
    space: Space,
    draws: int,
    seed: int,
) -> list[dict[str, str | float]]:
    measured = np.asarray(expression.layers["measured"], dtype=bool)[spots.rows]
    units = spots.units()
    times = {over: own.drawn(draws, seed) for over, own in units.items()}
    errors = _errors(expression, predictions, spots, space, times[BLOCKS])
    counts = measured.sum(axis=1, dtype=np.float64)
    pairs = list(_pairs(errors, _on_val(errors, counts, spots)))
    kept = spots.split == spots.reported
    rows: list[dict[str, str | float]] = []
    for over, own in units.items():
        found = _differences(errors, pairs, counts, kept, (over, own), times[over])
        rows += [{**row, "units": own.count} for row in found]
    drawn = {"units": units[BLOCKS].count}
    for (target, predictor), chance in errors.chance.items():
        names = {"comparison": "shuffled", "predictor": predictor, "target": target, "against": ""}
        rows.append({**names, "metric": "pcc_gene", **asdict(chance), **drawn})
    return rows


def _errors(
    expression: AnnData,
    predictions: Sequence[AnnData],
    spots: Spots,
    space: Space,
    times: NDArray[np.float64],
) -> _Errors:
    truth = np.asarray(expression.layers[space], dtype=np.float64)[spots.rows]
    measured = np.asarray(expression.layers["measured"], dtype=bool)[spots.rows]
    kept, blocks = spots.split == spots.reported, spots.units()[BLOCKS]
    names = expression.obs_names[spots.rows]
    errors = _Errors()
    for adata in predictions:
        order, target = adata.obs_names.get_indexer(names), str(adata.uns["target"])
        for predictor, layers in _by_predictor(adata).items():
            values = [
                converted(adata.layers[one][order], spots.slide, expression, _space(adata), space)
                for one in layers
            ]
            wrong = [np.where(measured, one - truth, 0.0) for one in values]
            squared = [np.einsum("ij,ij->i", one, one) for one in wrong]
            model = target, predictor
            errors.by_spot[model] = np.stack(squared, axis=1)
            errors.seeds[model] = tuple(layer.rpartition(".")[2] for layer in layers)
            errors.kinds[model] = str(adata.uns["kinds"][predictor])
            if exchanged(predictor):
                errors.chance[model] = chance_correlation(
                    truth[kept], [one[kept] for one in values], measured[kept], blocks, times
                )
    return errors


def _pairs(errors: _Errors, on_val: dict[_Model, float]) -> Iterator[_Pair]:
    """Yield which models are compared: first minus second."""
    for model in errors.by_spot:
        target, predictor = model
        mean = (target, TRAIN_MEAN)
        if exchanged(predictor):
            if mean in errors.by_spot:
                yield "shuffled", model, mean
            continue
        for reference in (*_REFERENCES, target.removesuffix(WEIGHTED)):
            if target != reference and (reference, predictor) in errors.by_spot:
                yield "target", model, (reference, predictor)
        plain = (target, plain_of(predictor))
        if plain != model and plain in errors.by_spot:
            yield "settings", model, plain
        if errors.kinds[model] != "method":
            continue
        controls = {
            other: on_val[other]
            for other, kind in errors.kinds.items()
            if kind == "control" and other[0] == target and not exchanged(other[1])
        }
        known = {other: error for other, error in controls.items() if np.isfinite(error)}
        if known:
            yield "best_control", model, min(known, key=known.__getitem__)
        if mean in errors.by_spot:
            yield "train_mean", model, mean


def _differences(
    errors: _Errors,
    pairs: Sequence[_Pair],
    counts: NDArray[np.float64],
    kept: NDArray[np.bool_],
    drawn_from: tuple[str, Units],
    times: NDArray[np.float64],
) -> Iterator[dict[str, str | float]]:
    """Yield a row for each pair; one matrix product gives every model's error in every draw."""
    over, units = drawn_from
    column = {model: place for place, model in enumerate(errors.by_spot)}
    by_spot = [of_seeds.mean(axis=1) for of_seeds in errors.by_spot.values()]
    sums = units.sums(np.stack(by_spot, axis=1)[kept])
    entries = units.sums(counts[kept, None])[:, 0]
    total = float(entries.sum())
    if not pairs or not total:
        return
    samples = times @ sums / np.maximum(times @ entries, 1.0)[:, None]
    first = np.array([column[model] for _, model, _ in pairs])
    second = np.array([column[other] for _, _, other in pairs])
    mean = sums.sum(axis=0) / total
    trainings = _trainings(errors, kept, total)
    for place, (comparison, model, other) in enumerate(pairs):
        value = float(mean[first[place]] - mean[second[place]])
        parts = seed_parts(trainings[model], trainings[other])
        drawn = samples[:, first[place]] - samples[:, second[place]]
        low, high = _ends(value, drawn, parts, units)
        yield {
            "comparison": comparison,
            "predictor": model[1],
            "target": model[0],
            "against": other[0] if comparison == "target" else other[1],
            "metric": "mse_difference",
            "value": value,
            "low": low,
            "high": high,
            "n": int(total),
            "over": drawn_name(over, parts),
        }


def _trainings(errors: _Errors, kept: NDArray[np.bool_], total: float) -> dict[_Model, Trainings]:
    """Return every model's errors by seed on the spots ``kept``."""
    found = {}
    for model, by_spot in errors.by_spot.items():
        drawn = exchanged(model[1]) or predictors.card(method_of(model[1])).trained
        by_seed = by_spot[kept].sum(axis=0) / total
        found[model] = Trainings(errors.seeds[model], by_seed, not drawn)
    return found


def _ends(
    value: float, drawn: NDArray[np.float64], parts: list[Part] | None, units: Units
) -> tuple[float, float]:
    """Return the interval of a difference: of the draws alone where no seed is known to differ."""
    if not units.varied:
        return float("nan"), float("nan")
    if not parts:
        low, high = interval(drawn)
        return float(low), float(high)
    half = half_width([*parts, Part(float(drawn.var()), units.freedom)])
    return value - half, value + half


def _on_val(errors: _Errors, counts: NDArray[np.float64], spots: Spots) -> dict[_Model, float]:
    """Return every model's MSE on val; NaN where no val spot was predicted."""
    val = spots.split == "val"
    total = float(counts[val].sum())
    return {
        model: float(by_spot[val].mean(axis=1).sum()) / total if total else float("nan")
        for model, by_spot in errors.by_spot.items()
    }


def exchanged(predictor: str) -> bool:
    """Say whether ``predictor`` was fitted to exchanged labels, smoothed or not."""
    return predictor.removesuffix(SMOOTHED).endswith(SHUFFLED)


def _by_predictor(adata: AnnData) -> dict[str, list[str]]:
    """Return the layers, one for each seed, of every predictor."""
    layers: dict[str, list[str]] = {}
    for layer in adata.layers:
        layers.setdefault(layer.rpartition(".")[0], []).append(layer)
    return layers


def _space(adata: AnnData) -> Space:
    space: Space = adata.uns["space"]
    return space
