"""A copy of the project in which tests run whole Kedro commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# One small cohort, every kind of node, seconds: what the project tests run.
STUDY = """
study:
  title: Small
  cohorts: [SMALL]
  protocol: inductive
  completers: [gene_mean, slide_gene_mean, spackle]
  targets: [raw, spackle]
  controls: [train_mean]
  predictors: [feature_ridge, small_cnn]
SMALL:
  title: Small simulated tissue
  organism: simulated
  tissue: simulated
  lattice: hexagonal
  format: space_ranger
  genes: 8
  licence: CC0-1.0
  citation: none
  simulation: {spots: 50, genes: 40, median_counts: 2000, spot_diameter_px: 8}
  slides:
    A: {subject: P1, split: train}
    B: {subject: P2, split: val}
    C: {subject: P3, split: test}
"""
COMPLETION = """
completion:
  assays: 2
  budgets:
    spackle: {steps: 4, batch_size: 16, learning_rates: [0.001], validate_every: 2}
"""
BENCHMARK = """
benchmark:
  encoders: {random: {image_size: 16}}
  budgets:
    default: {steps: 4, batch_size: 16, learning_rates: [0.001], validate_every: 2}
"""


class Project:
    """A project folder whose sources are the checkout's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("conf", "pyproject.toml", ".telemetry"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, root / name)
        shutil.rmtree(root / "conf" / "local")
        (root / "conf" / "local").mkdir()
        (root / "src").mkdir()
        (root / "src" / "spared_benchmark").symlink_to(ROOT / "src" / "spared_benchmark")

    def add_study(self, name: str, study: str = STUDY) -> None:
        """Add the environment ``name``."""
        folder = self.root / "conf" / name
        folder.mkdir(exist_ok=True)
        (folder / "study.yml").write_text(study)
        (folder / "parameters_completion.yml").write_text(COMPLETION)
        (folder / "parameters_benchmark.yml").write_text(BENCHMARK)

    def write(self, path: str, content: str) -> None:
        """Write a file of the project."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def kedro(self, *arguments: str, check: bool = True, **environment: str):
        """Run a Kedro command and return what it printed, with its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "kedro", *arguments],
            cwd=self.root,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the process environment of a command, without the developer's own settings."""
        own = (
            *("SPARED_RAW_ROOT", "SPARED_GENE_LENGTHS", "KEDRO_ENV", "MLFLOW_TRACKING_URI"),
            # The project has to refuse telemetry by itself.
            *("KEDRO_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"),
        )
        kept = {name: value for name, value in os.environ.items() if name not in own}
        return {**kept, "HOME": str(self.root), "COLUMNS": "300", **extra}


def files(folder: Path) -> dict[str, int]:
    """Return the times of change of all files below ``folder``, sidecars left out."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and "/trials/" not in path.as_posix()
    }
