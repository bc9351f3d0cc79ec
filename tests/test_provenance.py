"""A change reaches exactly what depends on it."""

import numpy as np
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from spared_benchmark.catalog.files import JsonDataset, ModelDataset
from spared_benchmark.catalog.trials import TrialsDataset
from spared_benchmark.model import Model
from spared_benchmark.provenance import expected_digests, follow_failures, tell, version


def first(raw, a):
    return raw


def second(left, b, trials):
    return left


def other(raw):
    return raw


PIPELINE = Pipeline(
    [
        Node(first, ["raw", "params:a"], "left", name="first"),
        Node(second, ["left", "params:b", "trials"], "right", name="second"),
        Node(other, "raw", "aside", name="other"),
    ]
)


class Source(MemoryDataset):
    def __init__(self, print_):
        super().__init__(1)
        self._print = print_

    def fingerprint(self):
        return self._print


def digests(tmp_path, *, a=1, b=1, raw="x", methods=lambda node: {}, pipeline=PIPELINE):
    catalog = DataCatalog(
        {
            "raw": Source(raw),
            "params:a": MemoryDataset(a),
            "params:b": MemoryDataset(b),
            "trials": TrialsDataset(filepath=str(tmp_path / "trials")),
        }
    )
    return expected_digests(pipeline, catalog, methods)


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("change", "reached"),
    [
        ({"a": 2}, {"params:a", "left", "right"}),
        ({"b": 2}, {"params:b", "right"}),
        ({"raw": "y"}, {"raw", "left", "right", "aside"}),
        ({"methods": lambda node: {"m": 2} if node.name == "second" else {}}, {"right"}),
        ({}, set()),
    ],
)
def test_a_change_reaches_its_consumers_and_nothing_else(tmp_path, change, reached):
    assert changed(digests(tmp_path), digests(tmp_path, **change)) == reached


def test_a_new_version_of_a_function_counts(tmp_path):
    @version(2)
    def marked(raw):
        return raw

    @version(3)
    def marked_later(raw):
        return raw

    marked_later.__qualname__ = marked.__qualname__
    before, after = (
        digests(tmp_path, pipeline=Pipeline([Node(function, "raw", "aside", name="other")]))
        for function in (marked, marked_later)
    )
    assert changed(before, after) == {"aside"}


def test_a_guard_lets_a_node_run_and_makes_nothing_stale(tmp_path):
    def made(rules, guard):
        catalog = DataCatalog(
            {
                "raw": MemoryDataset(1),
                "params:a": MemoryDataset(rules),
                "left": JsonDataset(filepath=str(tmp_path / "left.json"), guard=guard),
                "params:b": MemoryDataset(1),
                "trials": TrialsDataset(filepath=str(tmp_path / "trials")),
            }
        )
        return expected_digests(PIPELINE, catalog, lambda node: {})

    assert changed(made(1, guard=True), made(2, guard=True)) == {"params:a", "left"}
    assert changed(made(1, guard=False), made(2, guard=False)) == {"params:a", "left", "right"}


def test_datasets_are_told(tmp_path):
    catalog = DataCatalog({"aside": JsonDataset(filepath=str(tmp_path / "aside.json"))})
    told = digests(tmp_path)

    tell(catalog, told, {"aside"})

    assert catalog.get("aside").expected == told["aside"]


def test_what_was_made_from_a_failure_is_made_again_with_it(tmp_path):
    """An unchanged configuration: the failure was of the moment, such as a lack of memory."""
    catalog = DataCatalog(
        {
            "left": ModelDataset(filepath=str(tmp_path / "left")),
            "right": JsonDataset(filepath=str(tmp_path / "right.json")),
            "aside": JsonDataset(filepath=str(tmp_path / "aside.json")),
        }
    )

    def existing():
        follow_failures(PIPELINE, catalog)
        return {name for name in ("left", "right", "aside") if catalog.get(name).exists()}

    weights = {"bias": np.zeros(1)}
    catalog.save("left", Model({"status": "failed", "reason": "out of memory"}, weights))
    catalog.save("right", "of a failure")
    catalog.save("aside", 1)
    assert existing() == {"aside"}
    assert catalog.load("left").card["reason"] == "out of memory"  # the report can tell of it
    assert catalog.load("right") == "of a failure"

    catalog.save("left", Model({"status": "fitted"}, weights))
    catalog.save("right", "of a fit")
    assert existing() == {"left", "right", "aside"}

    several = {"predictors": {"a": {"status": "fitted"}, "b": {"status": "failed"}}}
    catalog.save("left", Model(several, weights))
    assert existing() == {"aside"}
