"""What does processing a large cohort take: memory and time at 20 and at 40 slides?

Slides of 4,000 spots and 18,000 genes, sparse as Visium is (a spot has a median of some 4,000
genes), are simulated and written as h5ad files; several slides share a file, which is read anew
for each. Every size runs in a process of its own, from reading files to the finished tables.

Limits: 3 GiB at 20 slides; from 20 to 40 at most 20 kB for each further spot, and at most 2.2
times the seconds.

Run: python benchmarks/processing_scale.py [--slides 20 40] [--spots 4000] [--genes 18000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

# What the parent imports would count as its children's memory on some systems: it stays small.
FILES = 4
LIMIT_BYTES = 3 * 2**30
LIMIT_BYTES_PER_SPOT = 20_000
LIMIT_TIMES = 2.2
PACKAGES = ("spared-benchmark", "anndata", "numpy", "scipy", "h5py")


def make_slides(folder: Path, spots: int, genes: int) -> dict[str, float]:
    """Write the files of slides; return what a spot holds."""
    import numpy as np

    names = np.array([f"ENSG{number:011d}" for number in range(genes)])
    generator = np.random.default_rng(0)
    abundance = np.exp(2.0 * generator.normal(size=genes))
    pattern = generator.uniform(0.5, 3, (2, genes)), generator.uniform(0, 6.3, genes)
    strength = np.where(generator.random(genes) < 0.2, generator.uniform(0.3, 1.5, genes), 0)
    found = []
    for number in range(FILES):
        slide = _slide(spots, abundance, pattern, strength, np.random.default_rng(number + 1))
        slide.var_names, slide.var["symbol"] = names, names
        found.append(np.median(np.diff(slide.X.indptr)))
        slide.write_h5ad(folder / f"{number}.h5ad", compression="gzip", compression_opts=1)
    return {"genes_per_spot": float(np.median(found))}


def _slide(
    spots: int,
    abundance: np.ndarray,
    pattern: tuple[np.ndarray, np.ndarray],
    strength: np.ndarray,
    generator: np.random.Generator,
) -> AnnData:
    """Return one slide (schema ``slide``): smooth patterns in a fifth of the genes."""
    import numpy as np
    from anndata import AnnData
    from scipy import sparse

    from spared_benchmark.slides.schema import stamp

    width = 64
    row, place = np.divmod(np.arange(spots), width)
    col = 2 * place + row % 2
    where = np.stack([row / row.max(), col / col.max()], axis=1)
    share = abundance * np.exp(0.3 * generator.normal(size=abundance.size))
    blocks = []
    for start in range(0, spots, 500):
        wave = np.sin(where[start : start + 500] @ (6.3 * pattern[0]) + pattern[1])
        rate = share * np.exp(strength * wave)
        library = 15_000 * np.exp(0.4 * generator.normal(size=(len(rate), 1)))
        counts = generator.poisson(rate / rate.sum(axis=1, keepdims=True) * library)
        blocks.append(sparse.csr_matrix(counts.astype(np.int32)))
    slide = AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csr")))
    slide.obs_names = [f"spot{number}" for number in range(spots)]
    slide.obs["array_row"], slide.obs["array_col"] = row.astype(np.int32), col.astype(np.int32)
    slide.obsm["spatial"] = np.stack([col * 50.0, row * 86.6], axis=1)
    text = ("cohort", "slide", "subject", "organism", "tissue", "source_digest", "licence")
    numbers = {"spot_diameter_px": 55.0, "um_per_px": 1.0, "pitch_um": 100.0, "image": False}
    slide.uns["slide"] = {**dict.fromkeys(text, "simulated"), "lattice": "hexagonal", **numbers}
    return stamp(slide, "slide")


def process_slides(folder: Path, slides: int, genes: int, protocol: str) -> dict[str, float]:
    """Process a cohort in this process; return its seconds, its peak memory and its sizes."""
    import numpy as np
    import pandas as pd

    from spared_benchmark.catalog.anndata_file import read_h5ad
    from spared_benchmark.expression.process import process
    from spared_benchmark.study import Cohort, ProcessingSettings

    splits = ("train", "train", "val", "test")
    listed = {
        f"S{number}": {"subject": f"P{number}", "split": splits[number % 4]}
        for number in range(slides)
    }
    cohort = Cohort.model_validate(
        {
            "title": "Simulated",
            "organism": "human",
            "tissue": "simulated",
            "lattice": "hexagonal",
            "format": "anndata",
            "licence": "CC0-1.0",
            "citation": "simulated",
            # The published upper limit on a gene's total would drop more genes the more slides.
            "filter": {"gene_counts": (10, 1e12)},
            "slides": listed,
        }
    )
    names = [f"ENSG{number:011d}" for number in range(genes)]
    lengths = np.random.default_rng(0).integers(300, 12_000, genes)
    table = pd.DataFrame({"gene_id": names, "symbol": names, "length": lengths})
    loaders = {
        f"S{number}": partial(read_h5ad, folder / f"{number % FILES}.h5ad", "slide")
        for number in range(slides)
    }
    before = peak_bytes()
    started = time.perf_counter()
    done = process(loaders, cohort, "SIMULATED", protocol, ProcessingSettings(), table)
    return {
        "seconds": time.perf_counter() - started,
        "peak_bytes": peak_bytes(),
        "peak_bytes_before": before,
        "spots": done.expression.n_obs,
        "genes_chosen": done.expression.n_vars,
        "genes_context": done.context.n_vars,
        "genes_ranked": int(done.genes["rank"].notna().sum()),
    }


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Unlike getrusage, this leaves out what the process held before it became this program.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def alone(*arguments: object) -> dict[str, float]:
    """Run this script in a process of its own and return what it says."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def child(arguments: list[str]) -> None:
    """Do one part and say what it found."""
    what, folder, *numbers = arguments
    if what == "make":
        found = make_slides(Path(folder), *map(int, numbers))
    else:
        found = process_slides(Path(folder), int(numbers[0]), int(numbers[1]), numbers[2])
    print(json.dumps(found))


def judge(rows: list[dict[str, float]]) -> list[dict[str, object]]:
    """Add to each size what it grew by since the one before, and whether limits hold."""
    judged: list[dict[str, object]] = []
    for before, row in zip([None, *rows], rows, strict=False):
        new: dict[str, object] = dict(row)
        if before is None:
            new["holds"] = row["peak_bytes"] <= LIMIT_BYTES
        else:
            spots = row["spots"] - before["spots"]
            new["bytes_per_added_spot"] = (row["peak_bytes"] - before["peak_bytes"]) / spots
            # Of seconds per slide, so that other sizes than 20 and 40 have the same limit.
            growth = row["seconds"] / before["seconds"] / (row["slides"] / before["slides"])
            new["times_linear"] = growth
            enough = new["bytes_per_added_spot"] <= LIMIT_BYTES_PER_SPOT
            new["holds"] = bool(enough and growth <= LIMIT_TIMES / 2)
        judged.append(new)
    return judged


def main() -> int:
    """Run, print, write the table, and say by the exit code whether every limit holds."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, nargs="+", default=[20, 40])
    parser.add_argument("--spots", type=int, default=4_000)
    parser.add_argument("--genes", type=int, default=18_000)
    parser.add_argument("--protocol", default="transductive")
    parser.add_argument("--dry", action="store_true", help="print only, write no table")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = alone("make", folder, given.spots, given.genes)
        for slides in given.slides:
            found = alone("process", folder, slides, given.genes, given.protocol)
            rows.append({"slides": slides, "protocol": given.protocol} | found | made)
            print(json.dumps(rows[-1]), flush=True)

    import pandas as pd

    from machine import RESULTS, machine, threads, today, versions

    table = pd.DataFrame(judge(rows))
    table["genes_measured"], table["threads"] = given.genes, threads()
    table["machine"], table["versions"], table["date"] = machine(), versions(PACKAGES), today()
    print(table.drop(columns=["machine", "versions"]).T.to_string(header=False))
    if not given.dry:
        RESULTS.mkdir(exist_ok=True)
        table.to_csv(RESULTS / "processing_scale.csv", index=False, float_format="%.5g")
    return 0 if bool(table["holds"].all()) else 1


if __name__ == "__main__":
    sys.exit(main())
