"""The whole configuration of a run, typed, and the parameters that nodes take from it.

A study's YAML says what is compared; the parameter files say how. Both are checked here, before
any node runs, and every problem found is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spared_benchmark.atomic import digest_of, file_digest
from spared_benchmark.cohort_selection import (
    impossible_processing,
    selected_cohorts,
    shared_slides,
)
from spared_benchmark.completion import completers
from spared_benchmark.errors import nearest
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.contamination import contaminated
from spared_benchmark.prediction.names import (
    SHUFFLED,
    WEIGHTED,
    fitted_of,
    keys_of,
    method_of,
    with_other_settings,
)
from spared_benchmark.problems import Problems
from spared_benchmark.settings_model import Settings
from spared_benchmark.study import (
    BenchmarkSettings,
    Cohort,
    CompletionSettings,
    EncoderSettings,
    ProcessingSettings,
    ReportSettings,
    Study,
    Variant,
)
from spared_benchmark.variant_checks import impossible_names

TARGETS_WITHOUT_COMPLETER = ("raw", "measured")
_DIGITS = 8
_SECTIONS = ("processing", "completion", "benchmark", "reporting")


class CompleterTask(Settings):
    """A completer's name with the settings that concern it, and no others."""

    name: str
    settings: CompletionSettings


class VariantTask(CompleterTask):
    """A variant's name with what it is a variant of, and the settings that concern it."""

    variant: Variant


class PredictorTask(Settings):
    """A predictor's name (or the controls' names) with the settings that concern it."""

    names: tuple[str, ...]
    settings: BenchmarkSettings


@dataclass(frozen=True)
class Configuration:
    """A study with its cohorts and settings, checked.

    Attributes:
        name: The study's environment; its results lie under this name.
        cohorts: Of the study, in its order, without the slides that it leaves out.
    """

    name: str
    study: Study
    cohorts: Mapping[str, Cohort]
    processing: ProcessingSettings
    completion: CompletionSettings
    benchmark: BenchmarkSettings
    reporting: ReportSettings

    @classmethod
    def parse(
        cls,
        name: str,
        study_files: Mapping[str, Any],
        parameters: Mapping[str, Any],
        project: Path = Path(),
    ) -> Configuration:
        """Check everything that was read from YAML.

        Args:
            name: The study's environment.
            study_files: The key ``study`` and one key for each cohort of the library.
            parameters: One key for each of processing, completion, benchmark and reporting.
            project: The folder that files named in a cohort's definition are relative to.

        Raises:
            ConfigurationError: With every problem, one line each.
        """
        problems = Problems()
        study = problems.parse(Study, study_files.get("study", {}), "study")
        sections = {
            section: problems.parse(model, parameters.get(section) or {}, section)
            for section, model in zip(_SECTIONS, _MODELS, strict=True)
        }
        for key in sorted(set(parameters) - set(_SECTIONS)):
            own = key in ("study", *study_files)
            hint = "; it belongs into study.yml" if own else nearest(key, _SECTIONS)
            problems.add(f"parameters.{key}: unknown key{hint}")
        cohorts: dict[str, Cohort] = {}
        if study is not None:
            cohorts = selected_cohorts(study, study_files, project, problems)
            problems.extend(shared_slides(study, cohorts))
        if study is not None:
            variants = getattr(sections["completion"], "variants", {})
            known = _predictors(getattr(sections["benchmark"], "settings", {}))
            problems.extend(_unknown_names(study, list(variants), known))
        if study is not None and all(sections.values()):
            problems.extend(_unknown_methods(study, sections["completion"], sections["benchmark"]))
            completion = CompletionSettings.model_validate(sections["completion"])
            benchmark = BenchmarkSettings.model_validate(sections["benchmark"])
            problems.extend(impossible_names(study, cohorts, completion, benchmark))
            processing = ProcessingSettings.model_validate(sections["processing"])
            problems.extend(impossible_processing(study, cohorts, processing))
        problems.raise_any(name)
        return cls(name, study, cohorts, **sections)  # type: ignore[arg-type]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the graph, cut so that each node sees only what concerns it."""
        methods: dict[str, tuple[str, ...]] = {name: (name,) for name in self.study.predictors}
        if self.study.controls:
            methods["controls"] = self.study.controls
        tree = {
            "study": self.study,
            "cohorts": dict(self.cohorts),
            "curated": {code: cohort.curated() for code, cohort in self.cohorts.items()},
            "simulated": {
                code: {slide: cohort.of_slide(slide) for slide in cohort.slides}
                for code, cohort in self.cohorts.items()
                if cohort.simulation is not None
            },
            "codes": {code: code for code in self.cohorts},
            "slides": {
                code: {s: s for s in cohort.slides} for code, cohort in self.cohorts.items()
            },
            "splits": {code: _splits(cohort) for code, cohort in self.cohorts.items()},
            "processing": self.processing,
            "masks": self.completion.model_copy(update={"sizes": {}, "budgets": {}}),
            "completers": {name: self._completer(name) for name in self.study.completers},
            "encoders": self.encodings,
            "predictors": {name: self._predictor(members) for name, members in methods.items()},
            "targets": {target: target for target in self.study.targets},
            "reporting": self.reporting,
        }
        plain = _plain(tree)
        return dict(plain)

    def encoders(self, names: Iterable[str] | None = None) -> list[str]:
        """Return the encoders whose features some predictor takes, of ``names`` or of the study.

        In the study a variant of a completer may take some too.
        """
        chosen = [*self.study.predictors, *self.study.controls] if names is None else names
        taken = [self.benchmark.encoders_of(*keys_of(name)) for name in chosen]
        if names is None:
            taken += [(one.features,) for one in self.variants.values() if one.features]
        return sorted({encoder for encoders in taken for encoder in encoders})

    @property
    def variants(self) -> dict[str, Variant]:
        """The variants of completers that the study compares, by name."""
        return _only(self.completion.variants, self.study.completers)

    @cached_property
    def encodings(self) -> dict[str, EncoderSettings]:
        """The study's encoders by name, with everything that their features depend on filled in.

        Studies share features, so what a study says elsewhere, such as its window, is among it.
        """
        known = self.benchmark.encoders
        return {name: _filled(known[name], self.study.window) for name in self.encoders()}

    def encoding(self, name: str) -> str:
        """Return what tells the features of an encoder from those of any other settings."""
        settings = self.encodings[name]
        return f"{settings.window}-{name}-{digest_of(settings)[:_DIGITS]}"

    def windows(self) -> dict[str, str]:
        """Return the windows that patches are cut of, with the parameter that holds each."""
        others = {
            str(settings.window): f"params:encoders.{name}.window"
            for name, settings in self.encodings.items()
        }
        return {**others, self.study.window: "params:study.window"}

    def _completer(self, name: str) -> CompleterTask:
        settings, variant = self.completion, self.variants.get(name)
        own = (name,) if variant is None else (name, variant.of)
        cut = settings.model_copy(
            update={
                "sizes": _first(settings.sizes, own),
                "budgets": _first(settings.budgets, own),
                "variants": {},
            }
        )
        if variant is None:
            return CompleterTask(name=name, settings=cut)
        return VariantTask(name=name, settings=cut, variant=variant)

    def _predictor(self, names: tuple[str, ...]) -> PredictorTask:
        settings = self.benchmark
        budget = {name: settings.budget(*keys_of(name)) for name in names}
        keys = dict.fromkeys(key for name in names for key in keys_of(name))
        return PredictorTask(
            names=names,
            settings=settings.model_copy(
                update={
                    "sizes": _only(settings.sizes, keys),
                    "budgets": budget,
                    "features": _only(settings.features, keys),
                    "settings": {
                        key: _with_weights(given)
                        for key, given in _only(settings.settings, keys).items()
                    },
                    "smoothed": tuple(name for name in names if name in settings.smoothed),
                    "contaminated": tuple(name for name in names if contaminated(name, settings)),
                    "encoders": {},
                }
            ),
        )


_MODELS: tuple[type[Settings], ...] = (
    ProcessingSettings,
    CompletionSettings,
    BenchmarkSettings,
    ReportSettings,
)


def _predictors(settings: Iterable[str]) -> list[str]:
    """Return the predictors that there are, with other settings too, by ``benchmark.settings``."""
    known = predictors.available()
    others = [name for name in settings if with_other_settings(name) and method_of(name) in known]
    return [*known, *others]


def _unknown_names(study: Study, variants: list[str], known_predictors: list[str]) -> list[str]:
    shuffled = [f"{name}{SHUFFLED}" for name in known_predictors]
    chosen = [
        ("completers", study.completers, [*completers.available(), *variants]),
        ("controls", study.controls, [*known_predictors, *shuffled]),
        ("predictors", study.predictors, known_predictors),
        ("targets", study.targets, _targets(study)),
    ]
    problems = []
    for key, names, known in chosen:
        problems += [
            f"study.{key}: unknown name {name!r}{nearest(name, known)}; known: "
            f"{', '.join(one for one in known if one not in shuffled)}"
            for name in names
            if name not in known
        ]
        repeated = sorted({name for name in names if list(names).count(name) > 1})
        problems += [f"study.{key}: {name!r} is listed twice" for name in repeated]
    return problems


def _targets(study: Study) -> list[str]:
    """Return what predictors may be trained on; who tells no uncertainty is told before a run."""
    weighted = [f"{name}{WEIGHTED}" for name in study.completers]
    return [*TARGETS_WITHOUT_COMPLETER, *study.completers, *weighted]


def _unknown_methods(study: Study, completion: Any, benchmark: Any) -> list[str]:
    problems = []
    known_completers = [*completers.available(), *completion.variants]
    known_predictors = _predictors(benchmark.settings)
    tables = [
        ("completion.sizes", completion.sizes, known_completers),
        ("completion.budgets", completion.budgets, known_completers),
        ("benchmark.sizes", benchmark.sizes, known_predictors),
        ("benchmark.budgets", benchmark.budgets, ["default", *known_predictors]),
        ("benchmark.features", benchmark.features, known_predictors),
        ("benchmark.settings", benchmark.settings, known_predictors),
        ("benchmark.smoothed", benchmark.smoothed, known_predictors),
    ]
    for where, table, known in tables:
        problems += [
            f"{where}.{name}: unknown method{nearest(name, known)}"
            for name in table
            if fitted_of(name) not in known
        ]
    problems += [
        f"benchmark.features.{name}: no encoder {encoder!r}{nearest(encoder, benchmark.encoders)}"
        for name in benchmark.features
        for encoder in benchmark.encoders_of(name)
        if encoder not in benchmark.encoders
    ]
    known_weights = (*known_predictors, *benchmark.encoders)
    problems += [
        f"benchmark.contaminated: {name!r} is no predictor and no encoder"
        f"{nearest(name, known_weights)}"
        for name in benchmark.contaminated
        if fitted_of(name) not in known_weights
    ]
    problems += [
        f"benchmark.encoders.{name}.weights: the file {encoder.weights} does not exist"
        for name, encoder in benchmark.encoders.items()
        if encoder.weights_file is not None and not encoder.weights_file.is_file()
    ]
    if "default" not in benchmark.budgets:
        problems.append("benchmark.budgets: the key 'default' is missing")
    both = sorted(set(study.controls) & set(study.predictors))
    problems += [f"study: {name!r} is both a control and a predictor" for name in both]
    return problems


def _filled(encoder: EncoderSettings, window: str) -> EncoderSettings:
    file = encoder.weights_file
    digest = file_digest(file) if file is not None else ""
    return encoder.model_copy(update={"weights_digest": digest, "window": encoder.window or window})


def _with_weights(given: dict[str, Any]) -> dict[str, Any]:
    """Return a predictor's settings with the digest of the file of weights that they name."""
    weights = str(given.get("weights", "none"))
    if weights in ("none", "pretrained") or not Path(weights).is_file():
        return given
    return {**given, "weights_digest": file_digest(Path(weights))}


def _splits(cohort: Cohort) -> dict[str, Any]:
    return {
        slide: {"subject": definition.subject, "split": definition.split}
        for slide, definition in cohort.slides.items()
    }


def _only(table: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: table[name] for name in names if name in table}


def _first(table: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return what the table holds for the first of ``names`` that it has, under their first."""
    found = [table[name] for name in names if name in table]
    return {names[0]: found[0]} if found else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
