"""How much of a training step is neither forward, backward nor optimiser?

Claim, on a CPU: at most 10 % for each patch model at size `small`, batch 256. What is counted as
outside: drawing the batch, gathering uint8 patches and labels, turning the patches, bringing them
to floating point. The step of the training loop is timed whole, and beside it these alone, in
alternation.

Claim, on an NVIDIA Hopper GPU: fine-tuning ViT-B at size `paper` (random weights, batch 256,
bfloat16) reaches at least 40 % of the card's own rate of bfloat16 matrix products, measured in the
same run. The floating-point operations are those of the network's products, counted by torch.

Run: python benchmarks/training_overhead.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from machine import RESULTS, machine, today, versions
from random_slides import random_slide
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.fit import PredictionProblem
from spared_benchmark.prediction.images import normalised
from spared_benchmark.prediction.sampling import draw
from spared_benchmark.prediction.selection import Selection
from spared_benchmark.study import Budget, Size
from spared_benchmark.training.loop import Loop
from spared_benchmark.training.memory import PeakMemory
from spared_benchmark.training.training import Training
from spared_benchmark.training.trials import TrialStore

BATCH = 256
LARGEST_SHARE, LEAST_RATE = 0.10, 0.40
MODELS = ("small_cnn", "shufflenet", "vit_b", "vit_b_delta", "vit_b_bias", "stnet")


def loop_of(name: str, size: Size, device: str, folder: Path) -> Loop:
    """Return the loop that trains a predictor."""
    settings = {"weights": "none"} if size == "paper" else {}
    predictor = predictors.create(name, size=size, **settings)
    side = predictor.sampling.image_size or 0
    train, val = random_slide("train", 1024, side), random_slide("val", 32, side, "val")
    predictor.prepare([train])
    predictor.module.to(device)
    products = torch.bfloat16 if device == "cuda" else torch.float32
    problem = PredictionProblem(
        predictor,
        predictor.resident([train], device),
        Selection([val], predictor, device),
        BATCH,
        products,
    )
    training = Training(
        Budget(batch_size=BATCH, learning_rates=(1e-4,)),
        0,
        TrialStore(folder),
        device,
        identity={"method": name},
    )
    (own,) = training.open_trials().values()
    loop = Loop(problem, own, PeakMemory(device))
    predictor.module.train()
    return loop


def preparation(loop: Loop) -> Callable[[], None]:
    """Return what a step does before the network: the batch drawn, its images made ready."""
    problem = loop.problem

    def prepare() -> None:
        (batch,) = draw(problem._train, BATCH, loop.generator)
        normalised(batch.images()[batch.query])
        batch.labels()

    return prepare


def alternated(
    first: Callable[[], object], second: Callable[[], object], device: str, rounds: int
) -> tuple[float, float]:
    """Return the median seconds of both, timed in alternation after one of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for action, kept in zip((first, second), times, strict=True):
            if device == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            action()
            if device == "cuda":
                torch.cuda.synchronize()
            if number:
                kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def overhead(name: str, size: Size, device: str, rounds: int) -> dict[str, object]:
    """Return the share of a step outside forward, backward and optimiser."""
    with tempfile.TemporaryDirectory() as folder:
        loop = loop_of(name, size, device, Path(folder))
        whole, outside = alternated(loop._step, preparation(loop), device, rounds)
    row: dict[str, object] = {
        "model": name,
        "size": size,
        "device": device,
        "batch": BATCH,
        "step_ms": 1000 * whole,
        "outside_ms": 1000 * outside,
        "share_outside": outside / whole,
        "spot_views_per_second": BATCH / whole,
    }
    if device == "cuda":
        with FlopCounterMode(display=False) as counter:
            loop._step()
        row["tflops"] = counter.get_total_flops() / whole / 1e12
        row["matrix_tflops"] = matrix_rate("cuda", torch.bfloat16)
        row["share_of_matrix_rate"] = row["tflops"] / row["matrix_tflops"]
    return row


def matrix_rate(device: str, products: torch.dtype, n: int = 8_192) -> float:
    """Return the device's rate of large matrix products, TFLOP/s."""
    first, second = (torch.randn(n, n, device=device, dtype=products) for _ in range(2))

    def product() -> None:
        torch.matmul(first, second)

    seconds, _ = alternated(product, product, device, 20)
    return 2 * n**3 / seconds / 1e12


def main() -> int:
    """Run, print, write the table, and say by the exit code whether the claim holds."""
    rows = [overhead(name, "small", "cpu", 40) for name in MODELS]
    if torch.cuda.is_available():
        rows.append(overhead("vit_b", "paper", "cuda", 20))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    table["machine"], table["date"] = machine(), today()
    table["versions"] = versions(["spared-benchmark", "torch", "timm"])
    table.to_csv(RESULTS / "training_overhead.csv", index=False, float_format="%.4g")
    on_cpu = table[table["device"] == "cpu"]
    holds = bool((on_cpu["share_outside"] <= LARGEST_SHARE).all())
    if "share_of_matrix_rate" in table:
        holds &= bool((table["share_of_matrix_rate"].dropna() >= LEAST_RATE).all())
    else:
        print("no CUDA device: the claim on the GPU was not tried")
    print("the claim holds" if holds else "the claim does NOT hold")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
