"""How fast does SpaCKLE train and complete here, beside the published library?

Claims, on one machine in one run with the same number of threads: an optimiser step (256
neighbourhoods of 19 spots, 128 genes, width 128, feed-forward 2048, dropout included) is at least
1.5 times as fast as the published library's, and completing 20,000 spots at least 5 times.

Ours counts everything: drawing the batch, hiding, dropout and Adam in a step; the neighbour table
in a completion. The library's step is given its batch; its completion is its loader and forward
pass. Both sides are measured in turn, several rounds, and the fastest round of each is compared.

The library runs in an environment of its own, by a script `peer_spackle_speed.py` that is given an
h5ad file (layers ``c_d_log1p`` and ``mask``, ``obs`` split and slide_id) and a number of steps,
and prints one JSON object per line with ``step`` (what was timed) and ``wall_s``. Without --peer
only ours is timed.

Run: python benchmarks/completion_speed.py --peer <folder of the script> --peer-python <its python>
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch

from spared_benchmark.completion.methods.spackle import Spackle
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.training.seeds import torch_generator
from spared_benchmark.training.stack import CopyState, Stack

ROOT = Path(__file__).parents[1]
SLIDES, ROWS, COLUMNS, GENES, BATCH = 5, 50, 80, 128, 256
CPU = torch.device("cpu")
STEP_CLAIM, COMPLETION_CLAIM = 1.5, 5.0
PEER_SCRIPT = "peer_spackle_speed.py"
# What the peer's lines begin with.
PEER_STEP, PEER_COMPLETION = "optimiser steps", "inference over all spots"


def cohort() -> anndata.AnnData:
    """Return 20,000 spots on hexagonal lattices: smooth expression, a quarter of it missing."""
    generator = np.random.default_rng(0)
    row = np.repeat(np.arange(ROWS), COLUMNS)
    col = 2 * np.tile(np.arange(COLUMNS), ROWS) + row % 2
    frames, values = [], []
    for slide in range(SLIDES):
        waves = np.sin(np.outer(row, generator.uniform(0.02, 0.2, GENES)) + slide)
        waves += np.cos(np.outer(col, generator.uniform(0.02, 0.1, GENES)))
        values.append(7 + waves + generator.normal(0, 0.7, waves.shape))
        split = {SLIDES - 2: "val", SLIDES - 1: "test"}.get(slide, "train")
        names = [f"S{slide}_{spot}" for spot in range(row.size)]
        content = {"slide_id": f"S{slide}", "split": split, "array_row": row, "array_col": col}
        frames.append(pd.DataFrame(content, index=names))
    made = anndata.AnnData(obs=pd.concat(frames))
    made = anndata.AnnData(X=np.vstack(values).astype(np.float32), obs=made.obs)
    made.var_names = [f"GENE{gene:04d}" for gene in range(GENES)]
    made.layers["mask"] = generator.random(made.shape) < generator.uniform(0.55, 0.95, GENES)
    made.layers["c_d_log1p"] = np.asarray(made.X, dtype=np.float64)
    made.obsm["spatial"] = 100.0 * np.column_stack(
        [made.obs["array_col"] / 2, made.obs["array_row"] * 0.75**0.5]
    )
    made.uns["spatial"] = {f"S{slide}": {} for slide in range(SLIDES)}
    made.var["glob_exp_frac"] = made.layers["mask"].mean(axis=0)
    return made


def visible(data: anndata.AnnData, rows: np.ndarray) -> Visible:
    """Return the measured entries of some spots; missing ones hold the finished layer's values."""
    part = data[rows]
    mask = np.asarray(part.layers["mask"])
    values = np.asarray(part.layers["c_d_log1p"], dtype=np.float32)
    return Visible(
        values=np.where(mask, values, np.float32(0)),
        visible=mask,
        slide=part.obs["slide_id"].astype("category").cat.codes.to_numpy(dtype=np.int32),
        array_row=part.obs["array_row"].to_numpy(dtype=np.int32),
        array_col=part.obs["array_col"].to_numpy(dtype=np.int32),
        lattice="hexagonal",
        library_size=np.ones(part.n_obs, dtype=np.float32),
        genes=tuple(part.var_names),
        fill=values,
    )


class Ours:
    """SpaCKLE of this project at the paper's size, on the cohort."""

    def __init__(self, data: anndata.AnnData) -> None:
        split = data.obs["split"].to_numpy()
        self.train, val = visible(data, split == "train"), visible(data, split == "val")
        hidden = val.visible & (np.random.default_rng(1).random(val.visible.shape) < 0.3)
        shown = val.visible & ~hidden
        values = np.where(shown, val.values, np.float32(0))
        seen = Visible(**{**vars(val), "visible": shown, "values": values, "fill": None})
        self.selection = Selection(seen, hidden, np.where(hidden, val.values, np.float32(0)))
        whole = visible(data, np.ones(data.n_obs, dtype=bool))
        self.whole = Visible(**{**vars(whole), "fill": None})

    def stack(self, precision: str, rates: tuple[float, ...]) -> Stack:
        """Return copies of the network at the start of their training."""
        completer = self.completer(precision)
        train = completer._train_data(self.train, CPU)
        judged = completer._validation_data(self.selection, CPU)
        problem = completer._problem(completer.network, train, judged, BATCH)
        weights = {name: v.detach().clone() for name, v in completer.network.named_parameters()}
        zeros = {name: torch.zeros_like(value) for name, value in weights.items()}
        batches = torch_generator(42, "batches").get_state()
        start = CopyState(weights, zeros, zeros, batches)
        return Stack(problem, [start] * len(rates), rates, 0, CPU)

    def completer(self, precision: str) -> Spackle:
        """Return an untrained completer."""
        completer = Spackle(size="paper", precision=precision)
        completer.bind(self.train.genes, "hexagonal")
        torch.manual_seed(42)
        completer.network = completer._network().eval()
        return completer

    def steps(self, precision: str, copies: int, count: int) -> float:
        """Return the seconds of one step of one copy, ``copies`` being trained at once."""
        stack = self.stack(precision, tuple(np.geomspace(1e-5, 1e-2, copies).tolist()))
        stack.advance(1)
        taken = seconds(lambda: stack.advance(1 + max(2, count // copies)))
        return taken / max(2, count // copies) / copies

    def completion(self, precision: str) -> tuple[float, np.ndarray]:
        """Return the seconds of completing all spots, and what came out."""
        completer = self.completer(precision)
        started = time.perf_counter()
        completed = completer.complete(self.whole)
        return time.perf_counter() - started, completed

    def curve(self, precision: str, until: int) -> tuple[float, float]:
        """Return training loss and validation error after a short training."""
        stack = self.stack(precision, (1e-3,))
        loss = stack.advance(until)["loss"]
        error = stack.problem.validations(stack.weights)["val_mse"]
        return float(loss), float(error)


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of ``work``."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peer_times(
    folder: Path, python: Path, data: Path, count: int, threads: int
) -> dict[str, float]:
    """Return the seconds of what the published library's script times, by its description."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PEER_OUT": str(data.parent)}
    environment |= {"PYTHONHASHSEED": "0"}
    environment.pop("PYTHONPATH", None)
    # The interpreter's own path names its environment, so a link must stay one.
    command = [str(python.absolute()), str(folder.resolve() / PEER_SCRIPT), str(data), str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{PEER_SCRIPT} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
    times = {line["step"]: line["wall_s"] for line in lines}
    step = next(value for name, value in times.items() if PEER_STEP in name)
    completion = next(value for name, value in times.items() if PEER_COMPLETION in name)
    return {"step": step / count, "completion": completion}


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    """Time both sides in turn and return one row per measurement."""
    torch.set_num_threads(arguments.threads)
    data = cohort()
    ours, found = Ours(data), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cohort.h5ad"
        data.write_h5ad(path)
        for number in range(arguments.rounds):
            if arguments.peer is not None:
                given = (arguments.peer, arguments.peer_python, path, arguments.steps)
                times = peer_times(*given, arguments.threads)
                found += [("peer", "float32", 1, what, value) for what, value in times.items()]
            for precision in ("float32", "bfloat16"):
                for copies in (1, 3, 10):
                    taken = ours.steps(precision, copies, arguments.steps)
                    found.append(("ours", precision, copies, "step", taken))
                found.append(("ours", precision, 1, "completion", ours.completion(precision)[0]))
            print(f"round {number + 1} of {arguments.rounds} done", flush=True)
    columns = ["side", "precision", "rates_at_once", "what", "seconds"]
    table = pd.DataFrame(found, columns=columns).groupby(columns[:-1], as_index=False, sort=False)
    best = table["seconds"].min()
    peer = best[best["side"] == "peer"].set_index("what")["seconds"]
    best["times_as_fast_as_peer"] = best["what"].map(peer) / best["seconds"]
    return best


def agreement(data: anndata.AnnData, until: int) -> pd.DataFrame:
    """Return how far training and completing in bfloat16 are from float32."""
    ours = Ours(data)
    rows = []
    for precision in ("float32", "bfloat16"):
        loss, error = ours.curve(precision, until)
        rows += [("ours", precision, 1, f"training loss over {until} steps", loss)]
        rows += [("ours", precision, 1, f"val_mse after {until} steps", error)]
    exact, rough = (ours.completion(precision)[1] for precision in ("float32", "bfloat16"))
    difference = float(np.sqrt(np.square(exact - rough).mean()))
    rows.append(("ours", "bfloat16", 1, "rms change of completed values", difference))
    return pd.DataFrame(rows, columns=["side", "precision", "rates_at_once", "what", "value"])


def main() -> int:
    """Run, print, write the table, and say by the exit code whether the claims hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help=f"folder that holds {PEER_SCRIPT}")
    parser.add_argument("--peer-python", type=Path, help="python of the library's environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--agreement-steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if (arguments.peer is None) != (arguments.peer_python is None):
        parser.error("--peer and --peer-python belong together")
    timed = measure(arguments)
    print(timed.to_string(index=False), flush=True)
    table = pd.concat([timed, agreement(cohort(), arguments.agreement_steps)], ignore_index=True)
    system = f"{platform.system()} {platform.machine()}"
    table["machine"] = f"{system}, {arguments.threads} threads, {cpu_name()}"
    packages = ("spared-benchmark", "torch", "numpy")
    table["versions"] = ", ".join(f"{package} {version(package)}" for package in packages)
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    table.to_csv(results / "completion_speed.csv", index=False, float_format="%.5g")
    print(table.drop(columns=["machine", "versions"]).to_string(index=False))
    if arguments.peer is None:
        return 0
    fastest = timed[timed["side"] == "ours"].groupby("what")["times_as_fast_as_peer"].max()
    holds = fastest["step"] >= STEP_CLAIM and fastest["completion"] >= COMPLETION_CLAIM
    print("the claims hold" if holds else "the claims do NOT hold")
    return 0 if holds else 1


def cpu_name() -> str:
    """Return what Linux calls the processor, and whether it multiplies bfloat16."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    text = path.read_text(encoding="utf-8")
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    native = "with" if "avx512_bf16" in text or "amx_bf16" in text else "without"
    return f"{names[0] if names else platform.processor()} {native} bfloat16"


if __name__ == "__main__":
    sys.exit(main())
