"""How much memory does a training step on a whole slide take, and how does it grow with its spots?

Claim: with fused attention and activations computed again, the models of whole slides train on
slides of 5,000 spots, and at the publications' size a step there takes at most a quarter of what
attention scores alone would take if they were stored, weights and optimiser included.

Each figure is the peak of a process of its own: growth of resident memory on a CPU, tensors held at
once on a GPU, from an empty network to the end of a step, with the moments of Adam in place.
`scores_gb` is what scores and probabilities of attention would take, stored in float32: 8 bytes for
each layer, head, pair of spots and pass (the plain one and each altered copy).

Run: python benchmarks/slide_memory.py --sizes small paper --spots 500 2000 5000
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from machine import RESULTS, machine, today, versions
from random_slides import random_slide
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.methods._slide_predictor import SlidePredictor
from spared_benchmark.prediction.sampling import draw
from spared_benchmark.training.memory import PeakMemory
from spared_benchmark.training.precision import product_type

MODELS = ("histogene", "hist2st", "hggep")
LARGEST_SHARE, WHOLE = 0.25, 5_000
RESULT = RESULTS / "slide_memory.csv"
_TRANSFORMERS = {"hggep": 3}


def one(name: str, size: str, spots: int, precision: str, *, checkpoint: bool) -> dict[str, Any]:
    """Return the row of one measurement, made in this process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto" and device == "cpu":
        precision = "float32"  # as a study trains
    products = product_type(precision, torch.device(device))
    settings: dict[str, Any] = {"checkpoint": checkpoint}
    if "weights" in predictors.card(name).sizes["paper"]:
        settings["weights"] = "none"
    predictor = predictors.create(name, size=size, **settings)
    assert isinstance(predictor, SlidePredictor)
    side = predictor.sampling.image_size or 0
    train = [random_slide("train", spots, side)]
    with PeakMemory(device) as memory:
        predictor.prepare(train)
        module = predictor.module.to(device).train()
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-4)
        resident = predictor.resident(train, device)
        for weight in module.parameters():
            weight.grad = torch.zeros_like(weight)
        optimiser.step()  # so that its moments are there
        optimiser.zero_grad(set_to_none=True)
        started = time.perf_counter()
        (batch,) = draw(resident, spots, torch.Generator().manual_seed(0))
        with torch.autocast(device, torch.bfloat16, enabled=products is torch.bfloat16):
            loss = predictor.loss(batch)["loss"]
        loss.backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        peak = memory.megabytes() / 1000
    weights = sum(weight.numel() for weight in module.parameters())
    return {
        "model": name,
        "size": size,
        "spots": spots,
        "checkpoint": checkpoint,
        "device": device,
        "products": str(products).removeprefix("torch."),
        "peak_gb": peak,
        "weights_gb": 16 * weights / 1e9,
        "scores_gb": scores_gb(name, predictor.settings, spots),
        "seconds": seconds,
    }


def scores_gb(name: str, settings: Mapping[str, Any], spots: int) -> float:
    """Return what attention scores and probabilities would take, stored in float32, 10⁹ bytes."""
    layers = settings["depth"] * _TRANSFORMERS.get(name, 1)
    passes = 1 + settings.get("copies", 0)
    return 8 * layers * settings["heads"] * spots**2 * passes / 1e9


def kept(rows: pd.DataFrame) -> pd.DataFrame:
    """Write rows into the table of results, in place of older ones of the same case."""
    rows["machine"], rows["date"] = machine(), today()
    rows["versions"] = versions(["spared-benchmark", "torch", "timm"])
    case = ["size", "model", "spots", "checkpoint", "device", "products"]
    older = [pd.read_csv(RESULT)] if RESULT.is_file() else []
    table = pd.concat([*older, rows.dropna(subset="device")], ignore_index=True)
    table = table.drop_duplicates(case, keep="last").sort_values(case)
    table.to_csv(RESULT, index=False, float_format="%.4g")
    return table


def alone(arguments: list[str]) -> dict[str, Any]:
    """Return a measurement made in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        failed = {"size": arguments[1], "spots": int(arguments[2]), "device": None}
        return {"model": arguments[0], **failed}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> int:
    """Run, print, write the table, and say by the exit code whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--sizes", nargs="+", default=["small", "paper"])
    parser.add_argument("--spots", nargs="+", type=int, default=[500, 2000, WHOLE])
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, size, spots, precision, checkpoint = asked.one
        print(json.dumps(one(name, size, int(spots), precision, checkpoint=checkpoint == "True")))
        return 0
    asked_of = itertools.product(asked.sizes, asked.spots, asked.models, (True, False))
    rows: list[dict[str, Any]] = []
    for size, spots, name, checkpoint in asked_of:
        if size == "paper" and not checkpoint:
            continue
        rows.append(alone([name, size, str(spots), asked.precision, str(checkpoint)]))
        print(rows[-1], flush=True)
        table = kept(pd.DataFrame(rows))
    whole = table[(table["size"] == "paper") & (table["spots"] == WHOLE)]
    whole = whole[whole["products"] != "bfloat16"] if not torch.cuda.is_available() else whole
    if set(whole["model"]) != set(MODELS):
        print("size paper on 5,000 spots was not measured for every model")
        return 1
    holds = bool((whole["peak_gb"] <= LARGEST_SHARE * whole["scores_gb"]).all())
    print("the claim holds" if holds else "the claim does NOT hold")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
