"""A small cohort, simulated and processed, written as the published collection writes its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from spared_benchmark.expression.process import Processed, process
from spared_benchmark.simulation import simulate_slide
from spared_benchmark.simulation.genes import simulated_gene_lengths
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.study import Cohort, ProcessingSettings

CODE = "PUB"
SIDE = 16
SPLITS = {"V1_C": "test", "V1_A": "train", "V2_A": "train", "V2_B": "val"}
SUBJECTS = {slide: slide.split("_")[0] for slide in SPLITS}


@dataclass(frozen=True)
class Sample:
    """A processed cohort with the slides that it was made of."""

    raw: dict[str, RawSlide]
    processed: Processed
    batch_key: str


def simulated(batch_key: str = "slide") -> Cohort:
    return Cohort.model_validate(
        {
            **_common(batch_key),
            "organism": "simulated",
            "format": "space_ranger",
            "simulation": {
                "spots": 45,
                "genes": 40,
                "median_counts": 800,
                "spot_diameter_px": 8,
                "seed": 3,
            },
        }
    )


def definition(batch_key: str = "slide", image: str | None = "hires", **changes) -> Cohort:
    """Return the definition of the cohort as a user of the published file writes it."""
    content = {**_common(batch_key, image), "organism": "human", "format": "spared"}
    del content["genes"]
    return Cohort.model_validate({**content, **changes})


def make_sample(batch_key: str = "slide") -> Sample:
    cohort = simulated(batch_key)
    raw = {slide: simulate_slide(cohort, CODE, slide).raw for slide in SPLITS}
    lengths = simulated_gene_lengths(cohort, CODE)
    loaders = {slide: (lambda adata=one.adata: adata.copy()) for slide, one in raw.items()}
    done = process(loaders, cohort, CODE, "transductive", ProcessingSettings(), lengths)
    return Sample(raw, done, batch_key)


def as_published(sample: Sample, *, patches: bool = True) -> AnnData:
    """Return the cohort with the keys and order of the published files."""
    ours = sample.processed.expression
    # Slides in alphabetical order, their spots as they were.
    ours = ours[np.argsort(ours.obs["slide"].astype(str), kind="stable")].copy()
    exposure = ours.obs["tpm_denominator"].to_numpy()[:, None]
    counts = ours.layers["counts"]
    tpm = 1e6 * counts / ours.var["gene_length"].to_numpy() / exposure
    measured, combat = ours.layers["measured"], ours.layers["combat"]
    spackle = np.where(measured, combat, combat + np.float32(0.25))
    layers = {
        "counts": counts,
        "tpm": tpm.astype(np.float32),
        "log1p": ours.layers["log_tpm"],
        "d_log1p": ours.layers["median"],
        "c_log1p": combat.copy(),
        "c_d_log1p": combat,
        "c_t_log1p": spackle,
        "c_d_deltas": combat - combat.mean(axis=0),
        "noisy_c_d_log1p": np.where(measured, combat, 0).astype(np.float32),
        "mask": measured,
    }
    obsm = {"spatial": ours.obsm["spatial"]}
    if patches:
        rng = np.random.default_rng(0)
        obsm["patches_scale_1.0"] = rng.integers(0, 256, (ours.n_obs, SIDE**2 * 3), np.uint8)
    return AnnData(
        X=combat.copy(), obs=_obs(ours), var=_var(ours), layers=layers, obsm=obsm, uns=_uns(sample)
    )


def write_published(folder: Path, adata: AnnData) -> Path:
    """Write the file that the published collection calls ``adata.h5ad``."""
    folder.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(folder / "adata.h5ad", compression="gzip")
    return folder / "adata.h5ad"


def _common(batch_key: str, image: str | None = "hires") -> dict:
    return {
        "title": "Published",
        "tissue": "made",
        "lattice": "hexagonal",
        "genes": 12,
        "batch_key": batch_key,
        "licence": "CC0-1.0",
        "citation": "none",
        "slides": {
            slide: {"subject": SUBJECTS[slide], "split": split, "image": image}
            for slide, split in SPLITS.items()
        },
    }


def _obs(ours: AnnData) -> pd.DataFrame:
    obs = ours.obs
    return pd.DataFrame(
        {
            "in_tissue": 1,
            "array_row": obs["array_row"],
            "array_col": obs["array_col"],
            "patient": pd.Categorical(obs["subject"].astype(str)),
            "slide_id": pd.Categorical(obs["slide"].astype(str)),
            "split": pd.Categorical(obs["split"].astype(str)),
            "unique_id": obs.index.to_numpy(str),
            "n_genes_by_counts": ours.layers["measured"].sum(axis=1),
            "total_counts": obs["library_size"].astype(np.float32),
        },
        index=obs.index,
    )


def _var(ours: AnnData) -> pd.DataFrame:
    var = ours.var
    return pd.DataFrame(
        {
            "gene_ids": [f"{gene}.7" for gene in var.index],
            "feature_types": "Gene Expression",
            "genome": "made",
            "gene_symbol": var["symbol"],
            "exp_frac": var["fraction_min"],
            "glob_exp_frac": var["fraction"],
            "gene_length": var["gene_length"],
            "d_log1p_moran": var["moran"],
            "c_d_log1p_avg_exp": var["train_mean_combat"],
        },
        index=var.index,
    )


def _uns(sample: Sample) -> dict:
    return {
        "spatial": {
            slide: {
                "images": {
                    "hires": raw.image.astype(np.float32) / 255,
                    "lowres": raw.image[::4, ::4],
                },
                "scalefactors": {
                    "spot_diameter_fullres": raw.adata.uns["slide"]["spot_diameter_px"],
                    "tissue_hires_scalef": raw.image_scale,
                },
                "metadata": {"chemistry_description": "made"},
            }
            for slide, raw in sample.raw.items()
        }
    }
