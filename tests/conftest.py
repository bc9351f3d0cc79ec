"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before torch is first imported: tests share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the project."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sections, for tests marked ``real``."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real sections are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def gene_lengths_folder() -> Path:
    """The folder of gene-length tables, for tests marked ``real``."""
    folder = SHARED / "reference"
    if not folder.is_dir():
        pytest.skip("the gene lengths are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the published library's outputs, for tests marked ``real``."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip("the published library's outputs are not beside this checkout")
    return folder
