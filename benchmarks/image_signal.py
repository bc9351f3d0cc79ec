"""Do predictors find the signal that the simulated image carries?

Claim: on each simulated cohort the test MSE of `small_cnn` and `feature_ridge` is at least 10 %
below that of `train_mean` and of `coordinates`, for each of 3 seeds, and the 95 % interval of the
paired difference (bootstrap over spatial blocks within slides) excludes zero. A seed is the seed of
the network's training, or of the random encoder's weights.

Run: python benchmarks/image_signal.py [--cohorts SIM_HEX SIM_SQUARE]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from spared_benchmark.evaluation.bootstrap import paired_difference, spatial_blocks
from spared_benchmark.expression.process import process
from spared_benchmark.prediction.assemble import assemble
from spared_benchmark.prediction.encoders import encode
from spared_benchmark.prediction.protocol import run_predictors
from spared_benchmark.simulation.genes import simulated_gene_lengths
from spared_benchmark.simulation.slide import simulate_slide
from spared_benchmark.study import (
    BenchmarkSettings,
    Budget,
    Cohort,
    EncoderSettings,
    ProcessingSettings,
)
from spared_benchmark.tissue.patches import cut_patches
from spared_benchmark.training.trials import TrialStore

ROOT = Path(__file__).parents[1]
SEEDS = (42, 43, 44)
METHODS, CONTROLS = ("feature_ridge", "small_cnn"), ("train_mean", "coordinates")
BUDGET = Budget(steps=400, batch_size=128, learning_rates=(1e-3, 3e-3), validate_every=50)


def predictions(code: str, cohort: Cohort) -> tuple[object, dict[tuple[str, int], np.ndarray]]:
    """Return the cohort's expression and every method's prediction of its test spots, by seed."""
    slides = {slide: simulate_slide(cohort, code, slide).raw for slide in cohort.slides}
    loaders = {slide: (lambda raw=raw: raw.adata) for slide, raw in slides.items()}
    lengths = simulated_gene_lengths(cohort, code)
    done = process(loaders, cohort, code, "inductive", ProcessingSettings(), lengths)
    patches = {slide: cut_patches(raw, "1d") for slide, raw in slides.items()}
    found: dict[tuple[str, int], np.ndarray] = {}
    for seed in SEEDS:
        encoder = EncoderSettings(network="random_conv", image_size=32, seed=seed)
        features = {"random": {slide: encode(store, encoder) for slide, store in patches.items()}}
        assembled = assemble(
            done.expression, target="measured", space="log_tpm", patches=patches, features=features
        )
        settings = BenchmarkSettings(
            seeds=(seed,),
            features={"feature_ridge": "random"},
            sizes={"small_cnn": "tiny"},
            budgets={"default": BUDGET},
        )
        with tempfile.TemporaryDirectory() as folder:
            names = (*METHODS, *CONTROLS)
            result = run_predictors(
                names, assembled, "measured", settings, TrialStore(Path(folder))
            )
        test = (result.predictions.obs["split"] == "test").to_numpy()
        for name in names:
            found[name, seed] = np.asarray(result.predictions.layers[f"{name}.{seed}"])[test]
    spots = done.expression[(done.expression.obs["split"] == "test").to_numpy()]
    return spots, found


def compare(code: str, cohort: Cohort) -> pd.DataFrame:
    """Return one row per method, control and seed."""
    spots, found = predictions(code, cohort)
    truth, measured = spots.layers["log_tpm"], spots.layers["measured"]
    slide = spots.obs["slide"].to_numpy()
    blocks = spatial_blocks(spots.obs["array_row"], spots.obs["array_col"], slide, cohort.lattice)
    rows = []
    for seed in SEEDS:
        for method in METHODS:
            for control in CONTROLS:
                first, second = found[method, seed], found[control, seed]
                gap = paired_difference(
                    truth, first, second, measured, slide, blocks, seed=0, draws=2000
                )
                mse, beside = (float(((truth - p)[measured] ** 2).mean()) for p in (first, second))
                rows.append(
                    {
                        "cohort": code,
                        "method": method,
                        "control": control,
                        "seed": seed,
                        "mse_method": mse,
                        "mse_control": beside,
                        "reduction": 1 - mse / beside,
                        "difference": gap.mean,
                        "low": gap.low,
                        "high": gap.high,
                        "blocks": gap.blocks,
                        "n": gap.n,
                    }
                )
    return pd.DataFrame(rows)


def main() -> int:
    """Run, print, write the table, and say by the exit code whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", nargs="+", default=["SIM_HEX", "SIM_SQUARE"])
    tables = []
    for code in parser.parse_args().cohorts:
        text = (ROOT / "conf/base/cohorts" / f"{code}.yml").read_text(encoding="utf-8")
        tables.append(compare(code, Cohort.model_validate(yaml.safe_load(text)[code])))
    table = pd.concat(tables, ignore_index=True)
    table["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    packages = ("spared-benchmark", "torch", "numpy", "scikit-learn")
    table["versions"] = ", ".join(f"{package} {version(package)}" for package in packages)
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    table.to_csv(results / "image_signal.csv", index=False, float_format="%.5g")
    print(table.drop(columns=["machine", "versions"]).to_string(index=False))
    holds = bool(((table["reduction"] >= 0.10) & (table["high"] < 0)).all())
    print("the claim holds" if holds else "the claim does NOT hold")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
