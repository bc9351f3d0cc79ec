"""What made a dataset: one digest over settings, ancestors and the versions of the code.

The digest of a dataset covers the function of the node that makes it (its name and version), the
version of the completer or predictor that the node is about, the values of its parameters and the
digests of its inputs. A change anywhere upstream therefore changes everything downstream, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from spared_benchmark.atomic import digest_of

Function = TypeVar("Function", bound=Callable[..., Any])


def version(number: int) -> Callable[[Function], Function]:
    """Mark a node's function with the version of what it computes; raise it when that changes."""

    def mark(function: Function) -> Function:
        function.version = number  # type: ignore[attr-defined]
        return function

    return mark


def expected_digests(
    pipeline: Pipeline, catalog: DataCatalog, method_versions: Callable[[Node], Any]
) -> dict[str, str]:
    """Return the digest that each dataset of ``pipeline`` should have now.

    Args:
        pipeline: The whole graph of the study, so that ancestors outside a partial run count.
        catalog: Holds parameters and sources.
        method_versions: Returns the versions of the methods that a node runs.
    """
    digests: dict[str, str] = {name: _free_input(name, catalog) for name in pipeline.inputs()}
    for node in pipeline.nodes:
        made_by = {
            "function": f"{node.func.__module__}.{node.func.__qualname__}",
            "version": getattr(node.func, "version", 1),
            "methods": method_versions(node),
            "inputs": [digests[name] for name in node.inputs if not _is_guard(name, catalog)],
        }
        digests |= {name: digest_of([made_by, place]) for place, name in enumerate(node.outputs)}
    return digests


def tell(catalog: DataCatalog, digests: Mapping[str, str], names: set[str]) -> None:
    """Tell the datasets called ``names`` the digests expected of them."""
    for name in names & set(digests):
        dataset: Any = catalog.get(name)
        if hasattr(dataset, "expected"):
            dataset.expected = digests[name]


def follow_failures(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Let what was made from a failure not exist either, so that it is made again with it.

    Args:
        pipeline: The whole graph of the study.
        catalog: Its datasets, which know what they tell of.
    """
    failed: set[str] = set()
    for node in pipeline.nodes:
        follows = bool(failed & set(node.inputs))
        for name in node.outputs:
            dataset: Any = catalog.get(name)
            if hasattr(dataset, "follows_failure"):
                dataset.follows_failure = follows
            if follows or getattr(dataset, "tells_of_failure", False):
                failed.add(name)


def _is_guard(name: str, catalog: DataCatalog) -> bool:
    return bool(getattr(catalog.get(name), "guard", False))


def _free_input(name: str, catalog: DataCatalog) -> str:
    dataset: Any = catalog.get(name)
    if name.startswith("params:"):
        return digest_of(dataset.load())
    fingerprint = getattr(dataset, "fingerprint", None)
    return str(fingerprint()) if fingerprint else digest_of(name)
