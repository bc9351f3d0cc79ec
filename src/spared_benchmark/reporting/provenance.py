"""What a reader needs to know of how the numbers were made."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("spared-benchmark", "torch", "timm", "anndata", "scanpy", "numpy", "scipy", "kedro")


def provenance() -> dict[str, str]:
    """Return versions, machine and the commit of the working folder, as text."""
    rows = {"Python": platform.python_version()}
    rows |= {package: _version(package) for package in PACKAGES}
    rows["machine"] = f"{platform.system()} {platform.machine()}"
    rows["git commit"] = _commit()
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except OSError:
        return "unknown (git is not installed)"
    return done.stdout.strip() or "unknown (not a git checkout)"
