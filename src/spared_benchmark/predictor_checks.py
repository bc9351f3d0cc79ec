"""Settings and targets of predictors that cannot be, found before the first node runs.

They are told by the predictors' cards, whose import brings torch, so this is asked before a run and
not by every command.
"""

from __future__ import annotations

from pathlib import Path

from spared_benchmark.completion import completers
from spared_benchmark.configuration import Configuration
from spared_benchmark.errors import nearest
from spared_benchmark.prediction.names import completer_of, keys_of, method_of

_ENCODER_SETTINGS = {"feature": "one encoder", "features": "a list of encoders"}


def impossible_predictors(configuration: Configuration) -> list[str]:
    """Return what is wrong with the settings and targets of the predictors, a line each."""
    from spared_benchmark.prediction import predictors

    problems: list[str] = []
    study, benchmark = configuration.study, configuration.benchmark
    for name in [*study.predictors, *study.controls]:
        method = method_of(name)
        keys = keys_of(name)
        size = benchmark.size_of(*keys)
        card = predictors.card(method)
        if card.sizes and size not in card.sizes:
            where = f"benchmark.sizes.{name}"
            problems.append(f"{where}: no size {size!r}; it has {', '.join(card.sizes)}")
            continue
        known = card.settings(size)
        given = benchmark.settings_of(*keys)
        problems += [
            f"benchmark.settings.{name}.{key}: unknown setting{nearest(key, known)}; it has "
            f"{', '.join(known) or 'none'}"
            for key in given
            if key not in known
        ]
        problems += _weights(name, str(given.get("weights", "none")))
        problems += _features(name, set(known), benchmark.encoders_of(*keys))
    return problems + _weighted_targets(configuration)


def _weighted_targets(configuration: Configuration) -> list[str]:
    """A weighted target needs a completer that tells how sure it is, and losses that can weigh."""
    from spared_benchmark.prediction import predictors
    from spared_benchmark.prediction.entry_weights import refusal

    study, problems = configuration.study, []
    for target in study.targets:
        name = completer_of(target, study.completers)
        if name is None or name == target:
            continue
        sure = [one for one in study.completers if _tells_uncertainty(configuration, one)]
        if name not in sure:
            others = ", ".join(sure) or "none"
            problems.append(
                f"study.targets: {target!r}: {name} does not tell how sure it is of what it "
                f"completes, so nothing can be weighted by it; of the study's completers do: "
                f"{others}"
            )
        problems += [
            f"study.targets: {refusal(one, target)}"
            for one in [*study.predictors, *study.controls]
            if not predictors.card(method_of(one)).weighs
        ]
    return problems


def _tells_uncertainty(configuration: Configuration, name: str) -> bool:
    variant = configuration.variants.get(name)
    return completers.get(name if variant is None else variant.of).tells_uncertainty


def _weights(name: str, weights: str) -> list[str]:
    if weights in ("none", "pretrained") or Path(weights).is_file():
        return []
    return [f"benchmark.settings.{name}.weights: the file {weights} does not exist"]


def _features(name: str, known: set[str], encoders: tuple[str, ...]) -> list[str]:
    """A predictor with both settings takes one encoder or several."""
    wanted = [words for key, words in _ENCODER_SETTINGS.items() if key in known]
    where = f"benchmark.features.{name}"
    if not wanted:
        found = f"{where}: it works on no frozen features; found {', '.join(encoders)}"
        return [found] if encoders else []
    given = "feature" if len(encoders) == 1 else "features"
    if not encoders or given not in known:
        return [f"{where}: needs {' or '.join(wanted)}; found {', '.join(encoders) or 'none'}"]
    return []
