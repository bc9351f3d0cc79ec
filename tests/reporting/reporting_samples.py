"""What prediction leaves of a cohort: scores, paired differences and cards of trainings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spared_benchmark.reporting.training import training_table

PREDICTORS = {
    "train_mean": ("control", 0.90),
    "coordinates": ("control", 0.88),
    "colour_ridge": ("control", 0.815),
    "feature_ridge": ("method", 0.84),
    "small_cnn": ("method", 0.83),
    "vit_b": ("method", 0.80),
    "vit_b_delta": ("method", 0.79),
    "vit_b_smoothed": ("method", 0.805),
    "vit_b_shuffled": ("control", 0.91),
}
FROM_TRUTH = {
    "library_size": ("control", 0.86),
    "floor": ("ceiling", 0.452),
    "truth_neighbours": ("ceiling", 0.61),
    "truth_low_rank": ("ceiling", 0.5),
}
TARGETS = {"raw": 8.2, "measured": 1.0, "median": 1.16, "spackle": 1.002}
SPLITS = {"VLO": ("val", "test"), "MOB": ("val",)}
OFFSETS = {"VLO": 0.0, "MOB": 0.2}


def prediction_of(cohort: str, seeds: tuple[int, ...] = (42,)) -> pd.DataFrame:
    rng = np.random.default_rng(ord(cohort[0]))
    rows = []
    for space in ("combat", "log_tpm"):
        for split in SPLITS[cohort]:
            for target, factor in TARGETS.items():
                for predictor, (kind, error) in PREDICTORS.items():
                    for seed in seeds:
                        mse = (error + OFFSETS[cohort]) * factor + 0.005 * rng.standard_normal()
                        constant = predictor == "train_mean"
                        pcc = np.nan if constant else 1.05 - mse if mse < 1.05 else 0.01
                        for slide in ("", f"{cohort}_{split}"):
                            head = ("transductive", space, target, predictor, kind, seed, split)
                            rows.append((*head, slide, "mse", mse, 63_500))
                            n_genes = 0 if constant else 128
                            rows.append((*head, slide, "pcc_gene", pcc, n_genes))
    columns = ["protocol", "space", "target", "predictor", "kind", "seed", "split", "slide"]
    table = pd.DataFrame(rows, columns=[*columns, "metric", "value", "n"])
    table.insert(0, "cohort", cohort)
    return table


def from_truth_of(cohort: str) -> pd.DataFrame:
    """What is made from true values: once per cohort, under the target ``truth``."""
    rows = [
        (space, split, name, kind, "mse", error + OFFSETS[cohort], 63_500)
        for space in ("combat", "log_tpm")
        for split in SPLITS[cohort]
        for name, (kind, error) in FROM_TRUTH.items()
    ]
    columns = ["space", "split", "predictor", "kind", "metric", "value", "n"]
    head = {"cohort": cohort, "protocol": "transductive", "target": "truth"}
    return pd.DataFrame(rows, columns=columns).assign(**head, seed=-1, slide="")


def predicted_of(cohort: str) -> pd.DataFrame:
    return pd.concat([prediction_of(cohort), from_truth_of(cohort)], ignore_index=True)


def comparisons_of(cohort: str) -> pd.DataFrame:
    """Completion helps against raw; against measured it helps one, harms one, else nothing."""
    told = {"vit_b": -0.02, "small_cnn": 0.03}
    rows: list[tuple[object, ...]] = []
    for predictor, (kind, _) in PREDICTORS.items():
        if predictor.endswith("_shuffled"):
            for target in TARGETS:
                head = ("shuffled", predictor, target)
                rows.append((*head, "train_mean", "mse_difference", 0.01, 0.002, 0.02))
                rows.append((*head, "", "pcc_gene", 0.004, -0.01, 0.02))
            continue
        for target in ("median", "spackle"):
            rows.append(("target", predictor, target, "raw", "mse_difference", -5.8, -6.1, -5.4))
            value = told.get(predictor, 0.0)
            ends = (value - 0.01, value + 0.01)
            rows.append(("target", predictor, target, "measured", "mse_difference", value, *ends))
        if kind == "method":
            for target in TARGETS:
                head = ("best_control", predictor, target, "colour_ridge")
                rows.append((*head, "mse_difference", -0.015, -0.022, -0.009))
    columns = ["comparison", "predictor", "target", "against", "metric", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    split = SPLITS[cohort][-1]
    head = {"cohort": cohort, "protocol": "transductive", "split": split, "over": "blocks"}
    both = [table.assign(space=space) for space in ("combat", "log_tpm")]
    told = pd.concat(both, ignore_index=True).assign(**head, units=74, n=63_500)
    exchanged = told["metric"] == "pcc_gene"
    return told.assign(over=told["over"].mask(exchanged, "blocks and exchanges"))


def cards_of(cohort: str) -> list[dict[str, object]]:
    """Cards of a completer, of controls in one card, of two networks and of one that failed."""
    trials = [
        {
            "status": status,
            "best_value": value,
            "learning_rate": rate,
            "best_step": 300,
            "seconds": 10.0,
            "views": 25_600,
            "micro_batches": 2,
            "peak_memory_mb": 410.5,
        }
        for status, value, rate in (("finished", 0.82, 0.001), ("diverged", None, 0.01))
    ]
    network = {
        "kind": "method",
        "status": "fitted",
        "version": 1,
        "size": "small",
        "target": "raw",
        "parameters_trainable": 900_000,
        "parameters_total": 950_000,
        "seconds": 21.5,
        "learning_rates": [0.001, 0.001],
        "best_steps": [300, 250],
        "val_mse": 0.82,
        "trials": trials,
    }
    solved = {
        "kind": "control",
        "status": "fitted",
        "version": 1,
        "size": "paper",
        "target": "raw",
        "settings": {},
        "seconds": 0.2,
        "parameters_total": 0,
        "val_mse": 0.9,
        "trials": [],
        "learning_rates": [],
    }
    controls = {name: {**solved, "predictor": name} for name in ("train_mean", "colour_ridge")}
    failed = {
        "predictor": "stnet",
        "kind": "method",
        "status": "failed",
        "target": "spackle",
        "reason": f"DivergedError: every trial diverged on {cohort}\n(learning rates 0.1)",
    }
    spackle = {"method": "spackle", "size": "small", "version": 2, "seconds": 81.0}
    return [
        {**spackle, "settings": {}, "trials": [{**trials[0], "space": "log_tpm"}]},
        {"target": "raw", "predictors": controls},
        {**network, "predictor": "vit_b", "settings": {"weights": "none"}},
        {**network, "predictor": "small_cnn", "settings": {}, "learning_rates": [0.001, 0.01]},
        failed,
    ]


def training_of(cohort: str) -> pd.DataFrame:
    return training_table(cards_of(cohort), cohort)
