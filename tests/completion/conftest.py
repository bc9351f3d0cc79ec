"""A small cohort whose every number is drawn here, and a training that lasts a second."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.medians import median_completed
from spared_benchmark.completion.visible import Visible
from spared_benchmark.study import Budget, CompletionSettings

SPLITS = {"A": "train", "B": "train", "C": "val", "D": "test"}
GENES = 7
SIDE = 6


def hexagonal_sites(side=SIDE):
    rows = np.repeat(np.arange(side), side)
    cols = np.tile(np.arange(side) * 2, side) + rows % 2
    return rows.astype(np.int32), cols.astype(np.int32)


def make_expression(seed=0, depth=1.0):
    """Four slides of 36 spots, smooth rates, Poisson counts; slope 2 and shift 1 to ``combat``."""
    generator = np.random.default_rng(seed)
    row, col = hexagonal_sites()
    lengths = generator.integers(800, 4000, GENES).astype(float)
    blocks, obs = [], []
    for number, (slide, split) in enumerate(SPLITS.items()):
        wave = np.sin(row / 2 + number)[:, None] * generator.normal(1, 0.3, GENES)
        rate = np.exp(1.2 * wave + generator.normal(0.6, 0.5, GENES)) * depth
        blocks.append(generator.poisson(rate))
        names = [f"{slide}_{i}" for i in range(row.size)]
        content = {"slide": slide, "subject": slide, "split": split}
        obs.append(pd.DataFrame({**content, "array_row": row, "array_col": col}, index=names))
    counts = np.vstack(blocks).astype(np.float32)
    frame = pd.concat(obs)
    frame["slide"] = frame["slide"].astype("category")
    frame["library_size"] = counts.sum(axis=1) + 5.0
    frame["tpm_denominator"] = (counts / lengths).sum(axis=1) + 0.01
    log_tpm = np.log2(1 + 1e6 * counts / lengths / frame["tpm_denominator"].to_numpy()[:, None])
    var = pd.DataFrame({"gene_length": lengths}, index=[f"gene_{i}" for i in range(GENES)])
    expression = anndata.AnnData(obs=frame, var=var)
    expression.layers["counts"] = counts
    expression.layers["log_tpm"] = log_tpm.astype(np.float32)
    expression.layers["measured"] = counts > 0
    expression.uns = {"cohort": "TOY", "protocol": "inductive", "lattice": "hexagonal"}
    whole = Visible.of(expression, "log_tpm", counts > 0)
    expression.layers["median"] = median_completed(whole, 4)
    expression.layers["combat"] = (2 * expression.layers["median"] + 1).astype(np.float32)
    maps = {"scale": np.full((4, GENES), 2.0), "shift": np.full((4, GENES), 1.0)}
    expression.uns["combat"] = {"slides": list(SPLITS), **maps}
    return expression


@pytest.fixture
def expression():
    return make_expression()


@pytest.fixture
def settings():
    return CompletionSettings(assays=2, sizes={"spackle": "tiny"})


@pytest.fixture
def masks(expression, settings):
    return Masks.draw(expression, settings)


@pytest.fixture
def training(tmp_path):
    from spared_benchmark.training.sweep import Training
    from spared_benchmark.training.trials import TrialStore

    budget = Budget(steps=4, batch_size=32, validate_every=2, learning_rates=(1e-3,))
    return Training(budget, 42, TrialStore(tmp_path / "trials"))
