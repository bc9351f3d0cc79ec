"""Variants of completers that cannot be, told before the first node runs.

What the settings alone tell is told by every command. Hyper-parameters are told by the methods,
whose import brings torch, so they are asked before a run and not by every command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from spared_benchmark.completion import completers
from spared_benchmark.errors import ConfigurationError, nearest
from spared_benchmark.prediction.names import WEIGHTED
from spared_benchmark.study import BenchmarkSettings, Cohort, CompletionSettings, Study

if TYPE_CHECKING:
    from spared_benchmark.configuration import Configuration

# Kind of the tag that names the registered completer, and the tag by which variants are run.
VARIANT_OF, ABLATION = "variant_of", "ablation"
# Names that tables and datasets have for something else.
_TAKEN = ("controls", "floor", "measured", "one_count", "raw")


def impossible_names(
    study: Study,
    cohorts: Mapping[str, Cohort],
    completion: CompletionSettings,
    benchmark: BenchmarkSettings,
) -> list[str]:
    """Return what is wrong with the variants' names and with what they are shown, a line each."""
    problems = []
    known = completers.available()
    for name, variant in completion.variants.items():
        where = f"completion.variants.{name}"
        if name in known or name in _TAKEN:
            what = "a registered completer" if name in known else "something else in tables"
            problems.append(f"{where}: is the name of {what}; give the variant another")
        if name.endswith(WEIGHTED):
            problems.append(
                f"{where}: names that end in {WEIGHTED!r} are of targets; give the variant another"
            )
        if variant.of not in known:
            words = "; a variant of a variant repeats its settings"
            hint = words if variant.of in completion.variants else nearest(variant.of, known)
            told = f"no completer {variant.of!r}{hint}; known: {', '.join(known)}"
            problems.append(f"{where}.of: {told}")
        if name not in study.completers:
            continue
        if variant.features is not None:
            problems += _features(where, variant.features, cohorts, benchmark)
    return problems


def impossible_variants(configuration: Configuration) -> list[str]:
    """Return what is wrong with the hyper-parameters of the study's variants, a line each."""
    problems = []
    completion = configuration.completion
    for name in configuration.study.completers:
        variant = completion.variants.get(name)
        if variant is None:
            continue
        size = completion.sizes.get(name) or completion.sizes.get(variant.of, "small")
        try:
            completer = completers.create(variant.of, size=size, **variant.settings)
        except ConfigurationError as error:
            problems.append(f"completion.variants.{name}: {error}")
            continue
        if variant.features is not None and not completer.takes_image:
            told = f"{variant.of} makes nothing of images; leave 'features' out"
            problems.append(f"completion.variants.{name}.features: {told}")
    return problems


def _features(
    where: str, encoder: str, cohorts: Mapping[str, Cohort], benchmark: BenchmarkSettings
) -> list[str]:
    settings = benchmark.encoders.get(encoder)
    if settings is None:
        hint = nearest(encoder, benchmark.encoders)
        known = ", ".join(benchmark.encoders) or "none"
        return [f"{where}.features: no encoder {encoder!r}{hint}; benchmark.encoders has {known}"]
    problems = []
    if settings.tiles > 1:
        found = f"{encoder!r} gives those of {settings.tiles} by {settings.tiles} tiles"
        problems.append(f"{where}.features: one row of features per spot is needed; {found}")
    for code, cohort in cohorts.items():
        blind = [slide for slide, one in cohort.slides.items() if one.image is None]
        if blind:
            told = f"{code} has no image of {', '.join(blind)}; leave them, or the cohort, out"
            problems.append(f"{where}.features: {told}")
    return problems
