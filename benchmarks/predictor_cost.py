"""What does a training step of each predictor cost: seconds, memory, operations?

On an NVIDIA Hopper GPU, claims for every trained predictor at size `paper`: 1,000 steps run on
simulated train slides of VLO's size (2 of 458 spots) and of VMB's (8 of 3,129), and none needs more
memory than the card has. On a CPU the same script measures few steps at size `small`; nothing is
claimed there.

Each predictor has a process of its own. Its peak is the growth of resident memory on a CPU, tensors
held at once on a GPU, from an empty network to the last step. Operations are those of products, as
torch counts them in one step, beside the machine's own rate of matrix products in the same type,
measured in the same process. Pixels, features and labels are random, weights too; the first stage
of a predictor that has one is left untrained and not counted.

Run: python benchmarks/predictor_cost.py [--size paper --steps 1000]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from machine import RESULTS, machine, today, versions
from random_slides import random_slide
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.fit import views_per_step
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.sampling import draw
from spared_benchmark.prediction.staged import Staged
from spared_benchmark.study import Size
from spared_benchmark.training.memory import PeakMemory
from spared_benchmark.training.precision import product_type
from spared_benchmark.training.sweep import parameter_counts
from training_overhead import matrix_rate

# Train slides and spots of each.
COHORTS = {"VLO": (2, 458), "VMB": (8, 3_129)}
BATCH, WARM = 256, 2
_WIDTH = {"small": 294, "paper": 1_536}
_TILES = {"small": 4, "paper": 9}


def trained() -> list[str]:
    """Return the predictors that are networks."""
    return [name for name in predictors.available() if predictors.card(name).trained]


def measured(name: str, size: Size, cohort: str, steps: int) -> dict[str, Any]:
    """Return the row of one predictor, measured in this process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    on_gpu = device == "cuda"
    # As a study trains: in float32 on a CPU.
    products = product_type("auto" if on_gpu else "float32", torch.device(device))
    predictor = created(name, size)
    shapes = features(predictor, size)
    n_slides, n_spots = COHORTS[cohort]
    side = predictor.sampling.image_size or 0
    if isinstance(predictor, Staged):
        first = created(predictor.first, size, **predictor.first_settings())
        side = max(side, first.sampling.image_size or 0)
    train = [
        random_slide(f"slide {number}", n_spots, side, features=shapes)
        for number in range(n_slides)
    ]
    if isinstance(predictor, Staged):
        first.prepare(train)
        first.module.eval()
        predictor.take(first)
    with PeakMemory(device) as memory:
        predictor.prepare(train)
        module = predictor.module.to(device).train()
        optimiser = torch.optim.Adam([w for w in module.parameters() if w.requires_grad], lr=1e-5)
        resident = predictor.resident(train, device)
        generator = torch.Generator().manual_seed(0)

        def step() -> None:
            optimiser.zero_grad(set_to_none=True)
            (batch,) = draw(resident, BATCH, generator)
            with torch.autocast(device, torch.bfloat16, enabled=products is torch.bfloat16):
                loss = predictor.loss(batch)["loss"]
            loss.backward()
            optimiser.step()
            if on_gpu:
                torch.cuda.synchronize()

        seconds = []
        for number in range(WARM + steps):
            started = time.perf_counter()
            step()
            if number >= WARM:
                seconds.append(time.perf_counter() - started)
        peak = memory.megabytes()
    with FlopCounterMode(display=False) as counter:
        step()
    each = statistics.median(seconds)
    views = views_per_step(resident, BATCH)
    return {
        "predictor": name,
        "size": size,
        "cohort": cohort,
        "device": device,
        "products": str(products).removeprefix("torch."),
        "parameters": parameter_counts(module)[1],
        "steps": steps,
        "seconds": sum(seconds),
        "step_ms": 1000 * each,
        "views_per_step": views,
        "seconds_per_1000_views": 1000 * each / views,
        "peak_mb": peak,
        "gflops_per_view": counter.get_total_flops() / views / 1e9,
        "gflops_per_second": counter.get_total_flops() / each / 1e9,
        "matrix_gflops_per_second": 1000
        * matrix_rate(device, products, n=8_192 if on_gpu else 1_024),
    }


def created(name: str, size: Size, **settings: Any) -> Predictor:
    """Return a predictor with random weights, its frozen features named."""
    known = predictors.card(name).sizes[size]
    if known.get("weights") == "pretrained":
        settings["weights"] = "none"
    if "features" in known:
        settings["features"] = ("spots", "tiles")
    elif "feature" in known:
        settings["feature"] = "spots"
    return predictors.create(name, size=size, **settings)


def features(predictor: Predictor, size: Size) -> dict[str, tuple[int, ...]]:
    """Return the shape of a spot's features by encoder."""
    width = getattr(predictor, "published_features", None) if size == "paper" else None
    width = width or _WIDTH[size]
    shapes = {"spots": (width,), "tiles": (_TILES[size], width)}
    return {name: shapes[name] for name in predictor.sampling.features}


def alone(name: str, size: str, cohort: str, steps: int) -> dict[str, Any]:
    """Return a row measured in a process of its own; what failed says so."""
    this = str(Path(__file__).resolve())
    command = [sys.executable, this, "--one", name, size, cohort, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        return {"predictor": name, "size": size, "cohort": cohort, "failed": reason}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> int:
    """Run, print, write the table, and say by the exit code whether all were measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["small", "paper"], default="small")
    parser.add_argument("--cohorts", nargs="+", choices=list(COHORTS), default=None)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--predictors", nargs="+", default=None)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, size, cohort, steps = asked.one
        print(json.dumps(measured(name, size, cohort, int(steps))))
        return 0
    cohorts = asked.cohorts or (list(COHORTS) if torch.cuda.is_available() else ["VLO"])
    rows = []
    for cohort in cohorts:
        for name in asked.predictors or trained():
            rows.append(alone(name, asked.size, cohort, asked.steps))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table["machine"], table["date"] = machine(), today()
    table["versions"] = versions(["spared-benchmark", "torch", "timm"])
    table.to_csv(RESULTS / f"predictor_cost_{asked.size}.csv", index=False, float_format="%.4g")
    failed = table["failed"].notna().sum() if "failed" in table else 0
    print(f"{failed} of {len(table)} failed" if failed else "every predictor was measured")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
