"""Small cohorts whose expression follows the colours of their patches."""

import numpy as np
import pandas as pd
from anndata import AnnData

from spared_benchmark.prediction.assemble import assemble
from spared_benchmark.tissue.patches import PatchStore

SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test"}
SIDE = 20


def hexagon(rows=4, columns=5):
    """Array rows and columns of a hexagonal grid."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.column_stack([row, 2 * column + row % 2]).astype(np.int32)


def expression(genes=4, splits=SPLITS, rows=4, columns=5, seed=0, missing=0.2):
    """An expression AnnData and the colour of each spot, (n_spots, 3)."""
    rng = np.random.default_rng(seed)
    grid = hexagon(rows, columns)
    slides = list(splits)
    n = len(grid) * len(slides)
    colour = rng.uniform(0.2, 0.8, (n, 3))
    loading = rng.normal(0, 4, (3, genes))
    median = 3 + np.arange(genes) % 5 + (colour - 0.5) @ loading + rng.normal(0, 0.05, (n, genes))
    measured = rng.random((n, genes)) >= missing
    code = np.repeat(np.arange(len(slides)), len(grid))
    scale, shift = (
        rng.uniform(low, high, (len(slides), genes)) for low, high in ((0.8, 1.2), (-0.3, 0.3))
    )
    names = np.array(slides)[code]
    spots = [f"{slide}_spot{index % len(grid)}" for index, slide in enumerate(names)]
    places = np.tile(grid, (len(slides), 1))
    obs = pd.DataFrame(
        {
            "slide": names,
            "subject": [f"s{slide}" for slide in names],
            "split": [splits[slide] for slide in names],
            "array_row": places[:, 0],
            "array_col": places[:, 1],
            "library_size": rng.integers(500, 5000, n).astype(float),
            "tpm_denominator": rng.uniform(0.5, 5, n),
        },
        index=spots,
    )
    layers = {
        "counts": np.where(measured, rng.poisson(3, (n, genes)) + 1, 0).astype(np.int32),
        "measured": measured,
        "log_tpm": np.where(measured, median, 0).astype(np.float32),
        "median": median.astype(np.float32),
        "combat": (median * scale[code] + shift[code]).astype(np.float32),
    }
    var = pd.DataFrame({"gene_length": 1000.0}, index=[f"g{i}" for i in range(genes)])
    adata = AnnData(obs=obs, var=var, layers=layers)
    adata.uns = {
        "cohort": "TOY",
        "lattice": "hexagonal",
        "pitch_um": 100.0,
        "combat": {"slides": np.array(slides, dtype=object), "scale": scale, "shift": shift},
    }
    return adata, colour


def stores(adata, colour, seed=0):
    """Patches with the colour of each spot and some texture, by slide."""
    rng = np.random.default_rng(seed)
    texture = rng.normal(0, 12, (adata.n_obs, SIDE, SIDE, 3))
    pixels = np.clip(colour[:, None, None, :] * 255 + texture, 0, 255).astype(np.uint8)
    result = {}
    for slide in adata.obs["slide"].unique():
        rows = np.flatnonzero(adata.obs["slide"] == slide)
        names = tuple(name.removeprefix(f"{slide}_") for name in adata.obs_names[rows])
        result[slide] = PatchStore(pixels[rows], names, 1.0, "1d", f"digest-{slide}")
    return result


def mean_colours(patches):
    """Frozen features of an encoder called ``colours``."""
    return {"colours": {s: p.array.mean(axis=(1, 2)) / 255 for s, p in patches.items()}}


def cohort(target="raw", space="log_tpm", completed=None, **settings):
    """Assembled slides with patches and the features ``colours``."""
    adata, colour = expression(**settings)
    patches = stores(adata, colour)
    return assemble(
        adata,
        target=target,
        space=space,
        completed=completed,
        patches=patches,
        features=mean_colours(patches),
    )
