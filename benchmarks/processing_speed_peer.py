"""The peer's side of `processing_speed.py`: runs under the peer's own Python, answers by lines.

Each line read is a request, ``{"stage": name}`` (run it once, say the seconds, keep the result in
the folder) or ``{"prepare": true}`` (write the inputs, and run every stage once on a small set, so
that nothing is compiled while the clock runs). Each line written is the answer. It needs the
packages `spared` and `squidpy`, and nothing of this project.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
WIDE = (4_000, 15_000)
PACKAGES = ("spared", "squidpy", "scanpy", "anndata", "numpy", "torch", "combat")


class Peer:
    """The peer's stages on one set of slides."""

    def __init__(self, adata: Any, permutations: int) -> None:
        self.adata = adata
        self.permutations = permutations
        self.results: dict[str, Any] = {}

    @functools.cached_property
    def completed(self) -> Any:
        """The slides with medians in the layer ``d_log1p``."""
        if "median" not in self.results:
            self.median()
        done = self.adata.copy()
        done.layers["d_log1p"] = self.results["median"]
        return done

    @functools.cached_property
    def slides(self) -> list[Any]:
        """The slides one by one, completed."""
        names = self.completed.obs["slide_id"].unique()
        return [self.completed[self.completed.obs["slide_id"] == name].copy() for name in names]

    def neighbourhoods(self, hops: int) -> None:
        """Find the spots within some hops on every slide."""
        from spared import spot_features

        found = [
            spot_features.get_spatial_neighbors(one, hops, hex_geometry=True) for one in self.slides
        ]
        self.results[f"neighbourhoods_{hops}"] = found

    def median(self) -> None:
        """Fill missing entries by adaptive medians of up to 4 hops."""
        from spared import denoising

        done = denoising.median_cleaner(self.adata.copy(), "log1p", "d_log1p", 4, hex_geometry=True)
        self.results["median"] = done.layers["d_log1p"]

    def moran(self) -> None:
        """Take Moran's I of every gene, by slide and averaged, as the peer does."""
        import squidpy
        from spared import gene_features

        original = squidpy.gr.spatial_autocorr
        squidpy.gr.spatial_autocorr = lambda *given, **named: original(
            *given, **(named | {"n_perms": self.permutations})
        )
        try:
            done = gene_features.compute_moran(self.completed.copy(), "d_log1p", hex_geometry=True)
        finally:
            squidpy.gr.spatial_autocorr = original
        self.results["moran"] = done.var["d_log1p_moran"].to_numpy(float)

    def squidpy(self) -> None:
        """Take Moran's I of every gene and slide by squidpy, without permutations."""
        tables = [self._autocorrelation(one, "d_log1p") for one in self.slides]
        self.results["squidpy"] = sum(tables) / len(tables)

    def squidpy_wide(self) -> None:
        """Take Moran's I of many genes on one slide by squidpy, without permutations."""
        self.results["squidpy_wide"] = self._autocorrelation(self.wide, None)

    @functools.cached_property
    def wide(self) -> Any:
        """One slide of many genes; the other side draws the same values."""
        import anndata
        import numpy as np

        spots, genes = min(WIDE[0], self.slides[0].n_obs), WIDE[1]
        values = np.random.default_rng(1).normal(6, 1, (spots, genes)).astype(np.float32)
        slide = anndata.AnnData(values)
        slide.obsm["spatial"] = self.slides[0].obsm["spatial"][:spots]
        return slide

    @staticmethod
    def _autocorrelation(slide: Any, layer: str | None) -> Any:
        import squidpy

        squidpy.gr.spatial_neighbors(slide, coord_type="generic", n_neighs=6)
        squidpy.gr.spatial_autocorr(
            slide, mode="moran", layer=layer, genes=slide.var_names, n_perms=None, n_jobs=1
        )
        return slide.uns["moranI"].loc[slide.var_names, "I"].to_numpy(float)

    def combat(self) -> None:
        """Correct batches, one a slide."""
        from spared import layer_operations

        done = layer_operations.combat_transformation(
            self.completed, "slide_id", "d_log1p", "c_d_log1p"
        )
        import numpy as np

        self.results["combat"] = np.asarray(done.layers["c_d_log1p"])

    def metrics(self) -> None:
        """Score a prediction on measured entries, all spots together."""
        from spared import metrics

        self.results["metrics"] = metrics.get_metrics(*self.scored)

    @functools.cached_property
    def scored(self) -> tuple[Any, Any, Any]:
        """Truth, prediction and what is measured; the other side draws the same values."""
        import numpy as np

        truth = np.asarray(self.adata.layers["log1p"], dtype=float)
        noise = np.random.default_rng(0).normal(0, 1, truth.shape)
        return truth, truth + noise, truth != 0

    @property
    def stages(self) -> dict[str, Callable[[], None]]:
        """Every stage by name."""
        return {
            "median": self.median,
            "neighbourhoods_2": functools.partial(self.neighbourhoods, 2),
            "neighbourhoods_4": functools.partial(self.neighbourhoods, 4),
            "moran": self.moran,
            "squidpy": self.squidpy,
            "squidpy_wide": self.squidpy_wide,
            "combat": self.combat,
            "metrics": self.metrics,
        }

    def inputs(self, stage: str) -> None:
        """Make what a stage reads, before its clock starts."""
        if stage == "squidpy_wide":
            _ = self.wide
        elif stage == "metrics":
            _ = self.scored
        elif stage != "median":
            _ = self.slides


def keep(folder: Path, stage: str, result: Any) -> None:
    """Write a result where the other side reads it."""
    import numpy as np

    if stage.startswith("neighbourhoods"):
        rows = [found[spot] for found in result for spot in range(len(found))]
        table = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int32)
        for spot, members in enumerate(rows):
            table[spot, : len(members)] = members
        result = table
    elif stage == "metrics":
        result = np.array([result[name] for name in sorted(result)], dtype=float)
    np.save(folder / f"{stage}.npy", np.asarray(result))


def write_inputs(folder: Path, adata: Any) -> None:
    """Write the slides' values and places."""
    import numpy as np

    np.savez(
        folder / "inputs.npz",
        log_tpm=np.asarray(adata.layers["log1p"], dtype=np.float64),
        spatial=np.asarray(adata.obsm["spatial"], dtype=np.float64),
        array_row=adata.obs["array_row"].to_numpy(),
        array_col=adata.obs["array_col"].to_numpy(),
        slide=adata.obs["slide_id"].astype("category").cat.codes.to_numpy(),
    )


def main() -> int:
    """Answer requests until the input ends."""
    scripts, folder, shape, permutations = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the peer prints; its lines are not answers
    sys.path.insert(0, scripts)
    os.chdir(folder)
    from peer_common import synthetic_hex

    __import__("spared.datasets")  # first: the other modules need the path that it sets
    peer = Peer(synthetic_hex(*map(int, shape.split(","))), int(permutations))
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            small = Peer(synthetic_hex(2, 12, 16, 8), 2)
            for name, stage in small.stages.items():
                if name != "squidpy_wide":
                    stage()
            write_inputs(folder, peer.adata)
            answer: dict[str, Any] = {"versions": {name: version(name) for name in PACKAGES}}
        else:
            name = request["stage"]
            peer.inputs(name)
            started = time.perf_counter()
            peer.stages[name]()
            answer = {"seconds": time.perf_counter() - started}
            keep(folder, name, peer.results[name])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
