"""What happens around a run: origins are told, inputs are checked, the report is pointed at."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.predictor_checks import impossible_predictors
from spared_benchmark.problems import Problems
from spared_benchmark.provenance import expected_digests, follow_failures, tell
from spared_benchmark.refusal import RunRefusedError
from spared_benchmark.registry import Registry
from spared_benchmark.study_loader import current_configuration
from spared_benchmark.variant_checks import VARIANT_OF, impossible_variants

STAGES = ("ingestion", "processing", "completion", "benchmark", "reporting")
_SHOWN = 12

logger = logging.getLogger(__name__)


class RunHooks:
    """Before a run: digests and inputs. After it: where the report is."""

    @hook_impl
    def before_pipeline_run(
        self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Tell datasets their digests and refuse a run whose inputs are not there.

        Raises:
            RunRefusedError: With all settings that cannot be, or with all missing inputs and the
                command that makes them.
        """
        _check_methods(pipeline)
        whole = _registered()["__default__"]
        digests = expected_digests(whole, catalog, method_versions)
        tell(catalog, digests, pipeline.datasets() | whole.inputs())
        follow_failures(whole, catalog)
        problems = missing_inputs(pipeline, catalog)
        if problems:
            raise RunRefusedError(_refusal(problems, whole, run_params))

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Say which node runs now."""
        logger.info("Running node: %s", node.name)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Say where the report lies."""
        if "report" in pipeline.outputs():
            dataset: Any = catalog.get("report")
            path = dataset._describe()["filepath"]
            logger.info("The report is ready: open %s in a browser", path)


def _check_methods(pipeline: Pipeline) -> None:
    kinds = {tag.split(".", 1)[0] for node in pipeline.nodes for tag in node.tags}
    if not kinds & {"predictor", VARIANT_OF}:
        return
    configuration = current_configuration()
    problems = Problems()
    problems.extend(impossible_predictors(configuration) if "predictor" in kinds else [])
    problems.extend(impossible_variants(configuration) if VARIANT_OF in kinds else [])
    try:
        problems.raise_any(configuration.name)
    except ConfigurationError as error:
        raise RunRefusedError(str(error)) from error


def method_versions(node: Node) -> dict[str, int]:
    """Return the versions of the completers and predictors that a node runs, from their cards."""
    from spared_benchmark.completion import completers
    from spared_benchmark.prediction import predictors
    from spared_benchmark.prediction.names import method_of

    pairs = [tag.split(".", 1) for tag in sorted(node.tags) if "." in tag]
    # The name of a variant has no card; it runs what it is a variant of.
    of = VARIANT_OF if VARIANT_OF in dict(pairs) else "completer"
    registries: Mapping[str, Registry[Any]] = {of: completers, "predictor": predictors}
    named = [(kind, method_of(name)) for kind, name in pairs if kind in registries]
    cards = {name: registries[kind].card(name) for kind, name in named}
    stages = {stage: predictors.card(stage) for card in cards.values() for stage in card.stages}
    return {name: card.version for name, card in {**cards, **stages}.items()}


def missing_inputs(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, str]:
    """Return the inputs of a run that cannot be loaded, with the reason of each."""
    problems = {}
    for name in sorted(pipeline.inputs()):
        dataset: Any = catalog.get(name)
        if not hasattr(dataset, "problem") or getattr(dataset, "optional", False):
            continue
        problem = dataset.problem()
        if problem:
            problems[name] = problem
    return problems


def _registered() -> Mapping[str, Pipeline]:
    # A partial run loads only the pipelines it names; ancestors may lie in the others.
    pipelines.set_requested(None)
    return pipelines


def _refusal(problems: Mapping[str, str], whole: Pipeline, run_params: Mapping[str, Any]) -> str:
    makers = _stages_that_make(problems, whole)
    lines = [f"{len(problems)} input(s) of this run are missing:"]
    lines += [f"  - {reason}" for reason in list(problems.values())[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  … and {len(problems) - _SHOWN} more")
    if makers:
        env, namespaces = run_params.get("env"), run_params.get("namespaces")
        options = [f"--env={env}"] if env and env != "local" else []
        options += [f"--namespaces={','.join(namespaces)}"] if namespaces else []
        options += [f"--pipelines={','.join(makers)}", "--only-missing-outputs"]
        lines.append(f"Make them with: kedro run {' '.join(options)}")
    else:
        lines.append(
            "No pipeline makes them: put the files there, or name the folder that holds them in "
            "SPARED_RAW_ROOT (slides) and SPARED_GENE_LENGTHS (gene lengths)"
        )
    return "\n".join(lines)


def _stages_that_make(names: Iterable[str], whole: Pipeline) -> list[str]:
    made = set(names) & whole.all_outputs()
    if not made:
        return []
    needed = {node.name for node in whole.to_outputs(*made).nodes}
    return [stage for stage in STAGES if needed & {node.name for node in pipelines[stage].nodes}]
