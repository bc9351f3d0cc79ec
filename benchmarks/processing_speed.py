"""How fast is processing beside the published library, and how far from what the machine can do?

Both sides run in one go, in turn, on the same simulated slides (by default 5 of 4,000 spots, 128
genes, about 25 % zeros), with the same number of threads; the peer in its own virtual environment.
Their results are compared too: neighbourhoods, medians, Moran's I and ComBat with this project's
switches for parity, on the peer's own graph.

Run: python benchmarks/processing_speed.py --peer SCRIPTS --peer-python PEER/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from machine import RESULTS, machine, rates, threads, today, versions
from processing_speed_ours import HOPS, Slides

PACKAGES = ("spared-benchmark", "numpy", "scipy", "pycombat")


@dataclass(frozen=True)
class Stage:
    """One comparison.

    Attributes:
        peer: The peer's stage.
        ours: This project's.
        target: Least ratio of the peer's time to ours.
        repeat: Times that the peer runs; ours runs at least 5 times.
        gap: Largest difference between both sides' results, as parity has it.
        tolerated: How large it may be.
        bytes: That must pass through memory, whatever the method.
        operations: Float32 operations that must be done.
        why: What keeps ours from the floor.
        limit: Most seconds that ours may take.
    """

    peer: str
    ours: Callable[[], Any]
    target: float
    repeat: int
    gap: Callable[[np.ndarray], float]
    tolerated: float
    bytes: float
    operations: float
    why: str
    limit: float = np.inf


def comparisons(slides: Slides, folder: Path) -> dict[str, Stage]:
    """Return every comparison by its name; the floors follow the sizes of the inputs."""
    spots, genes = slides.log_tpm.shape
    entries, missing = spots * genes, float((slides.log_tpm == 0).sum())
    one, wide = slides.wide.shape
    # Written once: int32 for each place; read once: three coordinates.
    tables = {hops: spots * (24 + 4 * 3 * hops * (hops + 1)) for hops in (2, HOPS)}
    stages = {
        f"neighbourhoods, {hops} hops": Stage(
            f"neighbourhoods_{hops}",
            lambda hops=hops: slides.neighbourhoods(hops),
            5,
            5,
            lambda found, hops=hops: slides.gap_neighbourhoods(found, hops),
            0,
            tables[hops],
            0,
            "each place is sought in the sorted list of spots, in 64 bits",
        )
        for hops in (2, HOPS)
    }
    # 3/2 comparisons a value at least find a median; 7 values in the smallest window.
    stages["adaptive median, 4 hops"] = Stage(
        "median", slides.median, 30, 3, slides.gap_median, 1e-5,
        9 * entries, 1.5 * 7 * missing,
        "places are gathered one by one, wider windows need 79 to 727 exchanges, and signs are "
        "counted over up to 61 places",
    )  # fmt: skip
    moran = (4.0 * entries, 2 * 2 * 7 * entries)
    stages["Moran's I, peer's permutations"] = Stage(
        "moran", slides.moran, 100, 1, lambda found: slides.gap_moran(found, folder), 1e-6, *moran,
        "values are widened to 64 bits and pass memory four times; one thread",
    )  # fmt: skip
    stages["Moran's I, squidpy without permutations"] = Stage(
        "squidpy", slides.moran, 3, 5, lambda found: slides.gap_moran(found, folder), 1e-6, *moran,
        "values are widened to 64 bits and pass memory four times; one thread",
    )  # fmt: skip
    stages["Moran's I, 15,000 genes on one slide"] = Stage(
        "squidpy_wide", slides.moran_wide, 3, 2, slides.gap_wide, 1e-6,
        4.0 * one * wide, 2 * 2 * 7 * one * wide,
        "values are widened to 64 bits and pass memory four times; one thread", 3.0,
    )  # fmt: skip
    stages["ComBat"] = Stage(
        "combat", slides.combat, 1, 5, lambda found: slides.gap_combat(found, folder), 1e-4,
        8 * 8 * entries, 0,
        "pycombat passes all values again in every round of its iteration, to 1e-8",
    )  # fmt: skip
    stages["metrics"] = Stage(
        "metrics", slides.metrics, 20, 5, slides.gap_metrics, 1e-5,
        17 * entries, 2 * 24 * entries,
        "values pass the cache some 30 times: eight sums along both axes, one numpy call each",
    )  # fmt: skip
    return stages


class PeerSide:
    """The subprocess that runs the peer."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        script = Path(__file__).with_name("processing_speed_peer.py")
        shape = ",".join(map(str, arguments.shape))
        command = [arguments.peer_python, script, arguments.peer.resolve(), folder, shape]
        self._log = folder / "peer.log"
        self._process = subprocess.Popen(
            [*map(str, command), str(arguments.permutations)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            env=os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": str(threads())},
        )

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
            sys.exit(f"the peer ended without an answer to {request}; its last lines:\n{tail}")
        return json.loads(answer)

    def end(self) -> None:
        """Let the peer end."""
        self._process.stdin.close()
        self._process.wait(timeout=60)


def measure(stage: Stage, peer: PeerSide, folder: Path) -> dict[str, object]:
    """Run both sides in turn and compare."""
    ours: list[float] = []
    theirs: list[float] = []
    stage.ours()
    for turn in range(max(stage.repeat, 5)):
        started = time.perf_counter()
        stage.ours()
        ours.append(time.perf_counter() - started)
        if turn < stage.repeat:
            theirs.append(peer.ask(stage=stage.peer)["seconds"])
    gap = stage.gap(np.load(folder / f"{stage.peer}.npy"))
    ratio = float(np.median(theirs) / np.median(ours))
    fast = ratio >= stage.target and float(np.median(ours)) <= stage.limit
    return {
        "ours_best_s": min(ours),
        "ours_median_s": float(np.median(ours)),
        "peer_best_s": min(theirs),
        "peer_median_s": float(np.median(theirs)),
        "peer_runs": len(theirs),
        "ratio_of_best": min(theirs) / min(ours),
        "ratio": ratio,
        "target": stage.target,
        "limit_s": stage.limit if np.isfinite(stage.limit) else "",
        "holds": bool(fast and gap <= stage.tolerated),
        "difference": gap,
        "tolerated": stage.tolerated,
    }


def main() -> int:
    """Run, print, write the table, and say by the exit code whether every target holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="folder of peer_common.py")
    parser.add_argument("--peer-python", required=True, help="Python of the peer's environment")
    parser.add_argument("--permutations", type=int, default=1000, help="the peer's: 1000")
    parser.add_argument(
        "--shape", type=int, nargs=4, default=(5, 50, 80, 128), help="slides, rows, columns, genes"
    )
    parser.add_argument("--only", nargs="+", default=[], help="peer stages to run, all if none")
    parser.add_argument("--dry", action="store_true", help="print only, write no table")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = PeerSide(arguments, folder)
        peer_versions = peer.ask(prepare=True)["versions"]
        slides = Slides(folder)
        by_memory, by_product = rates()
        for label, stage in comparisons(slides, folder).items():
            if arguments.only and stage.peer not in arguments.only:
                continue
            floor = max(stage.bytes / by_memory, stage.operations / by_product)
            row = {"stage": label} | measure(stage, peer, folder)
            row |= {"floor_s": floor, "times_floor": row["ours_best_s"] / floor, "why": stage.why}
            rows.append(row)
            print(json.dumps({key: row[key] for key in ("stage", "ratio", "holds")}), flush=True)
        peer.end()
    table = pd.DataFrame(rows)
    table["permutations"] = arguments.permutations
    table["inputs"] = "{} slides, {} x {} spots, {} genes".format(*arguments.shape)
    table["threads"] = threads()
    table["memory_GB_per_s"], table["float32_GFLOP_per_s"] = by_memory / 1e9, by_product / 1e9
    table["machine"], table["versions"], table["date"] = machine(), versions(PACKAGES), today()
    table["peer_versions"] = ", ".join(f"{name} {v}" for name, v in peer_versions.items())
    shown = ["stage", "ours_best_s", "ours_median_s", "peer_best_s", "peer_median_s", "ratio"]
    shown += ["target", "holds", "difference", "floor_s", "times_floor"]
    print(table[shown].to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    if not arguments.dry:
        RESULTS.mkdir(exist_ok=True)
        table.to_csv(RESULTS / "processing_speed.csv", index=False, float_format="%.4g")
    return 0 if bool(table["holds"].all()) else 1


if __name__ == "__main__":
    sys.exit(main())
