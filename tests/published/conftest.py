"""Expected values of parity: our own, always there, and the published library's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

OWN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def own_script():
    """The script that computes our expected values by loops."""
    return OWN / "make_published.py"


@pytest.fixture(scope="session")
def script(own_script):
    """That script as a module."""
    spec = importlib.util.spec_from_file_location("make_published", own_script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def own():
    """Our expected values, by name."""
    with np.load(OWN / "published.npz") as file:
        return dict(file)


@pytest.fixture(scope="session", params=["her2st", "hex"])
def chain(request, golden):
    """The published library's arrays of a cohort; ``first`` is the first gene that took part."""
    first, lattice = {"her2st": (0, "square"), "hex": (3, "hexagonal")}[request.param]
    with np.load(golden / f"{request.param}_chain.npz") as file:
        return {**file, "first": first, "lattice": lattice}
