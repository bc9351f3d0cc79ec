"""Tables as a study of three cohorts leaves them: one without test slides, one not run yet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from reporting_samples import OFFSETS, SPLITS, comparisons_of, predicted_of, training_of

from spared_benchmark.study import Study

COMPLETERS = {
    "zero": ("control", 50.0),
    "gene_mean": ("control", 0.80),
    "slide_gene_mean": ("control", 0.782),
    "one_count": ("control", 4.93),
    "floor": ("ceiling", 0.452),
    "neighbour_mean": ("method", 0.71),
    "median": ("method", 0.84),
    "additive": ("method", 0.617),
    "spackle": ("method", 0.604),
    "spackle (paper evaluation)": ("method", 0.63),
}


@pytest.fixture
def study() -> Study:
    return Study(
        title="Public sections, transductive",
        cohorts=("VLO", "MOB", "VKO"),
        protocol="transductive",
        completers=("gene_mean", "slide_gene_mean", "neighbour_mean", "median", "spackle"),
        controls=("train_mean", "coordinates", "colour_ridge"),
        predictors=("feature_ridge", "small_cnn", "vit_b", "vit_b_delta"),
        targets=("raw", "measured", "median", "spackle"),
        leave_out={"VLO": ("V19D02-088_C1",)},
    )


def completion_of(cohort: str, assays: int = 10) -> pd.DataFrame:
    rng = np.random.default_rng(len(cohort) + ord(cohort[0]))
    rows = []
    for space in ("log_tpm", "combat"):
        for split in SPLITS[cohort]:
            for assay in range(assays):
                for completer, (kind, error) in COMPLETERS.items():
                    if space == "combat" and kind == "ceiling":
                        continue
                    if ("paper" in completer) != (space == "combat") and "spackle" in completer:
                        continue
                    mse = error + OFFSETS[cohort] + 0.004 * rng.standard_normal()
                    constant = completer in ("zero", "gene_mean", "slide_gene_mean")
                    pcc = np.nan if constant else 0.45 - 0.3 * (mse - 0.6) / 4
                    metrics = [("mse", mse, 24_000)]
                    if kind != "ceiling":
                        metrics.append(("pcc_gene", pcc, 0 if constant else 128))
                        metrics.append(("pcc_net", pcc - 0.08, 0 if constant else 128))
                    for slide in ("", f"{cohort}_{split}"):
                        head = ("transductive", space, "entries", 0.3, assay, split, slide)
                        rows += [(*head, completer, kind, *metric) for metric in metrics]
        head = ("transductive", space, "entries", 0.3, -1, "", "")
        rows += [
            (*head, completer, kind, "seconds", 0.4 if kind == "control" else 81.0, 1)
            for completer, (kind, _) in COMPLETERS.items()
            if kind != "ceiling"
        ]
    columns = ["protocol", "space", "regime", "hidden_fraction", "assay", "split", "slide"]
    table = pd.DataFrame(rows, columns=[*columns, "completer", "kind", "metric", "value", "n"])
    table.insert(0, "cohort", cohort)
    return table


def statistics_of(cohort: str) -> pd.DataFrame:
    values = {
        "slides": 4 if cohort == "VLO" else 12,
        "subjects": 4 if cohort == "VLO" else 3,
        "spots": 6_412 if cohort == "VLO" else 3_049,
        "train_spots": 3_046 if cohort == "VLO" else 2_240,
        "val_spots": 1_534 if cohort == "VLO" else 809,
        "test_spots": 1_832 if cohort == "VLO" else 0,
        "genes_measured": 36_601 if cohort == "VLO" else 16_573,
        "genes": 128,
        "median_library_size": 1_830.0 if cohort == "VLO" else 14_220.0,
        "missing_before": 0.904 if cohort == "VLO" else 0.81,
        "missing_after": 0.262 if cohort == "VLO" else 0.118,
        "lengths_missing": 12 if cohort == "VLO" else 0,
    }
    if cohort == "VLO":
        values |= {"published_missing_before": 90.0, "published_missing_after": 26.0}
    table = pd.DataFrame({"statistic": list(values), "value": list(values.values())})
    table.insert(0, "cohort", cohort)
    return table


def ingestion_of(cohort: str) -> pd.DataFrame:
    splits = ("train", "train", *SPLITS[cohort])
    count = len(splits)
    return pd.DataFrame(
        {
            "cohort": cohort,
            "slide": [f"{cohort}_{split}{place}" for place, split in enumerate(splits)],
            "subject": [f"subject {place}" for place in range(count)],
            "split": splits,
            "spots": [1_523, 1_523, 1_534, 1_832][:count],
            "genes": 36_601,
            "median_counts": [1_700.0, 1_812.5, 1_921.0, 1_633.0][:count],
            "image": ["yes"] * (count - 1) + ["yes" if cohort == "VLO" else "no: completion only"],
            "um_per_patch_px": [0.78] * (count - 1) + [0.78 if cohort == "VLO" else 1.43],
            "patches_outside": [0.004] + [0.0] * (count - 1),
            "source_digest": "ab12",
        }
    )


@pytest.fixture
def results() -> dict[str, pd.DataFrame]:
    makers = {
        "cohorts": statistics_of,
        "ingestion": ingestion_of,
        "completion_scores": completion_of,
        "prediction_scores": predicted_of,
        "comparisons": comparisons_of,
        "training": training_of,
    }
    return {
        name: pd.concat([make(cohort) for cohort in SPLITS], ignore_index=True)
        for name, make in makers.items()
    }


@pytest.fixture
def tissue() -> dict[str, AnnData | pd.DataFrame]:
    """A hexagonal val and test slide, its completion, predictions and scores by gene."""
    rng = np.random.default_rng(0)
    cells = [
        (r, c)
        for r in range(22)
        for c in range(r % 2, 44, 2)
        if (r - 11) ** 2 * 4 + (c - 22) ** 2 < 440
    ]
    grid = np.array(cells, dtype=float)
    n, genes = len(grid), [f"ENSG{place:05d}" for place in range(6)]
    xy = np.column_stack([grid[:, 1] * 50.0, grid[:, 0] * 86.6]) / 2 + 100  # 1 px is 2 µm
    waves = np.stack(
        [np.sin(xy[:, 0] / (60 + 25 * j) + j) + np.cos(xy[:, 1] / 150) for j in range(6)], 1
    )
    truth = (7 + 1.3 * waves + 0.4 * rng.standard_normal((n, 6))).astype(np.float32)
    truth = np.concatenate([truth, truth + 0.1])
    measured = rng.random(truth.shape) < 0.7
    obs = pd.DataFrame(
        {"slide": ["A"] * n + ["B"] * n, "split": ["val"] * n + ["test"] * n},
        index=[f"{slide}_{i}" for slide in "AB" for i in range(n)],
    )
    var = pd.DataFrame({"symbol": [f"GENE{j}" for j in range(6)]}, index=genes)
    expression = AnnData(obs=obs, var=var)
    expression.obsm["spatial"] = np.concatenate([xy, xy])
    log_tpm = np.where(measured, truth, 0).astype(np.float32)
    expression.layers["log_tpm"] = log_tpm
    expression.layers["measured"] = measured
    scale, shift = np.array([[2.0] * 6, [0.5] * 6], np.float32), np.full((2, 6), 1.0, np.float32)
    median = np.where(measured, truth, 6.0).astype(np.float32)
    expression.layers["combat"] = np.repeat(scale, n, 0) * median + np.repeat(shift, n, 0)
    expression.uns |= {
        "pitch_um": 100.0,
        "combat": {"scale": scale, "shift": shift, "slides": ["A", "B"]},
    }
    completed = AnnData(obs=obs, var=var)
    completed.layers["spackle"] = truth
    predictions = AnnData(obs=obs.iloc[::-1], var=var)
    noise = np.linspace(0.1, 3, 6) * rng.standard_normal(truth.shape)
    predictions.layers["vit_b.42"] = (truth + noise)[::-1].astype(np.float32)
    predictions.uns |= {"target": "spackle", "space": "log_tpm"}
    head = dict.fromkeys(("cohort",), "VLO") | {"protocol": "transductive", "space": "log_tpm"}
    head |= {"target": "spackle", "predictor": "vit_b", "kind": "method", "seed": 42}
    scores = pd.DataFrame(
        [
            {
                **head,
                "split": split,
                "slide": slide,
                "gene": gene,
                "metric": "pcc_gene",
                "value": value,
            }
            for slide, split in (("A", "val"), ("B", "test"), ("", "test"))
            for gene, value in zip(genes, [0.3, 0.8, np.nan, -0.1, 0.5, 0.2], strict=True)
        ]
    )
    return {
        "expression": expression,
        "completed": completed,
        "predictions": predictions,
        "gene_scores": scores,
    }
