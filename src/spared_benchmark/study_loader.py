"""The configuration loader that also knows the study.

Kedro builds its pipelines without telling the registry which environment is run. Hooks come too
late for `kedro registry list` and KEDRO_ENV misses `--env`, so the loader, which every command
makes first, is remembered and the registry is told to build itself again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.project import pipelines
from omegaconf import OmegaConf
from yaml import YAMLError

from spared_benchmark.configuration import Configuration
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.refusal import RunRefusedError
from spared_benchmark.study import Cohort

REGISTRY = "spared_benchmark.pipeline_registry"
_latest: StudyConfigLoader | None = None


class StudyConfigLoader(OmegaConfigLoader):
    """Kedro's loader with the study's typed configuration.

    ``loader["parameters"]`` are the parameters of the study's graph and ``loader["catalog"]``
    holds an entry for the source of every slide of the study. Gene lengths are optional there when
    the study does not divide by them.
    """

    def __init__(self, conf_source: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(conf_source, *args, **kwargs)
        environment = self.env or self.default_run_env
        self.study_name = "base" if environment in ("", "base", "local") else environment
        self["globals"] = {**self._globals_or_empty(), "study": self.study_name}
        self._configuration: Configuration | None = None
        global _latest
        _latest = self
        pipelines.configure(REGISTRY)

    def __getitem__(self, key: str) -> dict[str, Any]:
        # Resolvers are global to the process: another session's loader may have been made since.
        OmegaConf.register_new_resolver("globals", self._global_value, replace=True)
        if key == "parameters":
            return self.configuration.parameters()
        content: dict[str, Any] = super().__getitem__(key)
        if key == "catalog":
            return {**content, **self._gene_lengths(content), **self._sources()}
        return content

    @property
    def configuration(self) -> Configuration:
        """The study's configuration, checked.

        Raises:
            RunRefusedError: With every problem of the configuration.
        """
        if self._configuration is None:
            try:
                parameters = super().__getitem__("parameters")
                studies = self["study"]
                project = Path(self.conf_source).parent
                self._configuration = Configuration.parse(
                    self.study_name, studies, parameters, project
                )
            except (ConfigurationError, MissingConfigException) as error:
                raise RunRefusedError(str(error)) from error
            except (YAMLError, TypeError, ValueError) as error:
                msg = f"the configuration in {self.conf_source} cannot be read: {error}"
                raise RunRefusedError(msg) from error
        return self._configuration

    def _globals_or_empty(self) -> Mapping[str, Any]:
        try:
            return super().__getitem__("globals")
        except MissingConfigException:
            return {}

    def _global_value(self, name: str) -> Any:
        return self._globals[name]

    def _gene_lengths(self, content: Mapping[str, Any]) -> dict[str, Any]:
        needed = self.configuration.processing.normalisation == "tpm"
        return {
            name: {**entry, "optional": True}
            for name, entry in content.items()
            if name.startswith("gene_lengths_") and not needed
        }

    def _sources(self) -> dict[str, Any]:
        files = {
            f"{code}.source": {
                "type": "spared_benchmark.catalog.spared_source.SparedSourceDataset",
                "filepath": str(self._folder(code, cohort)),
                "memory": str(self._data / "02_intermediate" / code / ".source.json"),
                "metadata": {"kedro-viz": {"layer": "01_raw"}},
            }
            for code, cohort in self.configuration.cohorts.items()
            if cohort.format == "spared"
        }
        return files | {
            f"{code}.source_{slide}": {
                "type": "spared_benchmark.catalog.slide_source.SlideSourceDataset",
                "filepath": str(self._place(code, cohort, slide)),
                "code": code,
                "slide": slide,
                "cohort": cohort.of_slide(slide).model_dump(mode="json"),
                "memory": str(self._data / "02_intermediate" / code / f".{slide}.source.json"),
                "metadata": {"kedro-viz": {"layer": "01_raw"}},
            }
            for code, cohort in self.configuration.cohorts.items()
            for slide in cohort.slides
        }

    def _place(self, code: str, cohort: Cohort, slide: str) -> Path:
        """Return where a slide is read from; published files hold all slides of a cohort."""
        folder = self._folder(code, cohort)
        if cohort.format == "spared":
            return folder
        return folder / (cohort.slides[slide].source or slide)

    def _folder(self, code: str, cohort: Cohort) -> Path:
        return self._root(cohort) / (cohort.folder or code)

    @property
    def _data(self) -> Path:
        return Path(self.conf_source).parent / "data"

    def _root(self, cohort: Cohort) -> Path:
        own = self._data / "01_raw"
        elsewhere = os.environ.get("SPARED_RAW_ROOT")
        return Path(elsewhere).resolve() if elsewhere and cohort.simulation is None else own


def current_configuration() -> Configuration:
    """Return the configuration of the study that this process works on.

    It is the last loader's; a process without one (a bare import of the registry) reads the
    environment in ``KEDRO_ENV``, or ``base``.
    """
    if _latest is not None:
        return _latest.configuration
    from kedro.framework.project import settings

    source = Path.cwd() / settings.CONF_SOURCE
    env = os.environ.get("KEDRO_ENV")
    return StudyConfigLoader(str(source), env, **settings.CONFIG_LOADER_ARGS).configuration
