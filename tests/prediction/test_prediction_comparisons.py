"""Differences that are there are found, those that are not are undecided; nothing else is read."""

import numpy as np
import pytest
from anndata import AnnData
from prediction_samples import expression

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.comparisons import COLUMNS, compare_predictions
from spared_benchmark.prediction.scores import score_predictions
from spared_benchmark.reporting import schemas

KINDS = {"train_mean": "control", "coordinates": "control", "small_cnn": "method"}
SIX = {"a": "train", "v": "val", "t1": "test", "t2": "test", "t3": "test"}


@pytest.fixture(scope="module")
def cohort():
    return expression(genes=8, rows=16, columns=16, splits=SIX)[0]


def predicted(cohort, target, noise, seeds=(1, 2, 3), splits=("val", "test"), shuffled=False):
    """Predictions that miss the truth by ``noise[name]``; controls are there under one seed."""
    held = cohort[cohort.obs["split"].isin(splits)]
    train = cohort.layers["median"][(cohort.obs["split"] == "train").to_numpy()]
    layers, truth = {}, held.layers["median"]
    kinds = {name: KINDS[name] for name in noise}
    for name, (val, test) in noise.items():
        scale = np.where(held.obs["split"] == "val", val, test)[:, None]
        for seed in seeds[:1] if KINDS[name] == "control" else seeds:
            drawn = np.random.default_rng([seed, *map(ord, name + target)])
            values = truth + scale * drawn.normal(size=truth.shape)
            layers[f"{name}.{seed}"] = values.astype(np.float32)
    if shuffled:
        kinds["small_cnn_shuffled"] = "control"
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(len(train))[: held.n_obs]
            mixed = train[np.resize(order, held.n_obs)]
            layers[f"small_cnn_shuffled.{seed}"] = mixed.astype(np.float32)
    adata = AnnData(obs=held.obs[["slide", "split"]].copy(), var=held.var, layers=layers)
    adata.uns |= {"target": target, "space": "log_tpm", "kinds": kinds}
    return adata


def compared(cohort, *predictions, **settings):
    return compare_predictions(cohort, predictions, "TOY", "inductive", **settings)


def one(table, **values):
    for column, value in {"space": "log_tpm", "over": "blocks and seeds", **values}.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


ALIKE = {"small_cnn": (1.0, 1.0)}


def test_a_better_target_is_told_from_one_that_is_alike(cohort):
    table = compared(
        cohort,
        predicted(cohort, "raw", {"small_cnn": (2.0, 2.0)}),
        predicted(cohort, "measured", ALIKE),
        predicted(cohort, "spackle", ALIKE),
    )
    against_raw = one(table, target="spackle", against="raw")
    assert against_raw["high"] < 0
    assert against_raw["value"] == pytest.approx(1 - 4, abs=0.3)
    against_measured = one(table, target="spackle", against="measured")
    assert against_measured["low"] < 0 < against_measured["high"]
    assert one(table, target="raw", against="measured")["low"] > 0


def test_other_settings_are_compared_with_the_plain_one(cohort):
    adata = predicted(cohort, "measured", {"small_cnn": (1.0, 1.0)})
    other = predicted(cohort, "measured", {"small_cnn": (1.5, 1.5)})
    for suffix in ("", "_smoothed"):
        for seed in (1, 2, 3):
            adata.layers[f"small_cnn-noisy{suffix}.{seed}"] = other.layers[f"small_cnn.{seed}"]
        adata.uns["kinds"][f"small_cnn-noisy{suffix}"] = "method"
    table = compared(cohort, adata)
    row = one(table, comparison="settings")
    assert (row["predictor"], row["against"]) == ("small_cnn-noisy", "small_cnn")
    assert row["low"] > 0
    assert row["value"] == pytest.approx(1.5**2 - 1, abs=0.3)


def test_the_difference_is_that_of_the_scores_with_seeds_averaged(cohort):
    given = [predicted(cohort, t, {"small_cnn": (1.0, n)}, seeds=(1, 2, 3)) for t, n in _NOISES]
    scores, _ = score_predictions(cohort, given, "TOY", "inductive")
    table = compared(cohort, *given)
    pooled = scores.query("split == 'test' and slide == '' and metric == 'mse'")
    means = pooled.groupby(["space", "target"])["value"].mean()
    for space in ("log_tpm", "combat"):
        found = one(table, space=space, target="measured", against="raw")
        assert found["value"] == pytest.approx(means[space, "measured"] - means[space, "raw"])
        assert found["n"] == pooled["n"].iloc[0]


_NOISES = (("raw", 1.3), ("measured", 0.9))


def test_the_best_control_is_the_one_that_val_prefers(cohort):
    noise = {"train_mean": (2.0, 1.0), "coordinates": (1.5, 3.0), "small_cnn": (1.0, 1.5)}
    table = compared(cohort, predicted(cohort, "raw", noise))
    best = one(table, comparison="best_control")
    assert (best["predictor"], best["against"]) == ("small_cnn", "coordinates")
    assert best["high"] < 0, "on test train_mean is better, and test does not choose"
    assert one(table, comparison="train_mean")["low"] > 0


def test_without_val_spots_no_control_is_chosen(cohort):
    noise = {"train_mean": (2.0, 1.0), "small_cnn": (1.0, 1.5)}
    table = compared(cohort, predicted(cohort, "raw", noise, splits=("test",)))
    assert set(table["comparison"]) == {"train_mean"}


def test_subjects_are_drawn_where_there_are_three(cohort):
    given = [predicted(cohort, target, ALIKE) for target in ("raw", "measured")]
    table = compared(cohort, *given)
    over = one(table, target="measured", over="subjects and seeds")
    assert over["units"] == 3
    assert over["value"] == pytest.approx(one(table, target="measured")["value"])
    two = cohort[cohort.obs["slide"] != "t3"]
    fewer = compared(two, *(predicted(two, target, ALIKE) for target in ("raw", "measured")))
    assert set(fewer["over"]) == {"blocks and seeds"}


def test_val_is_told_of_where_no_slide_is_for_the_test(cohort):
    given = [predicted(cohort, t, ALIKE, splits=("val",)) for t in ("raw", "measured")]
    assert set(compared(cohort, *given)["split"]) == {"val"}


def test_exchanged_labels_lie_at_zero(cohort):
    given = predicted(cohort, "raw", {"train_mean": (2.0, 2.0), **ALIKE}, (1, 2), shuffled=True)
    scores, _ = score_predictions(cohort, [given], "TOY", "inductive")
    table = compared(cohort, given)
    chance = one(table, metric="pcc_gene", over="blocks and exchanges")
    pooled = scores.query(
        "predictor == 'small_cnn_shuffled' and metric == 'pcc_gene' and space == 'log_tpm'"
        " and split == 'test' and slide == ''"
    )
    assert chance["value"] == pytest.approx(pooled["value"].mean(), abs=1e-6)
    assert chance["low"] < 0 < chance["high"]
    assert one(table, comparison="shuffled", metric="mse_difference")["against"] == "train_mean"
    assert set(table.query("predictor == 'small_cnn_shuffled'")["comparison"]) == {"shuffled"}


def test_a_leak_into_exchanged_labels_is_seen(cohort):
    given = predicted(cohort, "raw", {**ALIKE, "train_mean": (2.0, 2.0)}, (1,), shuffled=True)
    given.layers["small_cnn_shuffled.1"] = given.layers["small_cnn.1"]
    table = compared(cohort, given)
    assert one(table, metric="pcc_gene", over="blocks")["low"] > 0.1
    error = one(table, comparison="shuffled", metric="mse_difference", over="blocks of one seed")
    assert error["high"] < 0


def test_a_constant_prediction_has_no_correlation(cohort):
    given = predicted(cohort, "raw", {"train_mean": (2.0, 2.0)}, (1,), shuffled=True)
    given.layers["small_cnn_shuffled.1"] = np.ones(given.shape, dtype=np.float32)
    chance = one(compared(cohort, given), metric="pcc_gene", over="blocks")
    assert np.isnan([chance["value"], chance["low"], chance["high"]]).all()
    assert chance["n"] == 0


def test_missing_entries_count_for_nothing(cohort):
    given = [predicted(cohort, target, ALIKE) for target in ("raw", "measured")]
    spoilt = cohort.copy()
    missing = ~spoilt.layers["measured"]
    spoilt.layers["log_tpm"] = np.where(missing, 1e6, spoilt.layers["log_tpm"])
    columns = ["value", "low", "high"]
    first, second = compared(cohort, *given), compared(spoilt, *given)
    assert first[columns].equals(second[columns])


def test_the_order_of_spots_does_not_matter(cohort):
    raw, measured = (predicted(cohort, target, ALIKE) for target in ("raw", "measured"))
    first, turned = compared(cohort, raw, measured), compared(cohort, raw, measured[::-1].copy())
    np.testing.assert_allclose(first["value"], turned["value"])


def test_the_table_keeps_its_schema_and_the_seed_decides(cohort):
    given = [predicted(cohort, target, ALIKE) for target in ("raw", "measured")]
    table = compared(cohort, *given)
    assert tuple(table.columns) == COLUMNS
    schemas.check(table, schemas.COMPARISONS, "TOY")
    assert table.equals(compared(cohort, *given))
    assert not table.equals(compared(cohort, *given, seed=1))


def test_one_block_gives_no_interval():
    tiny = expression(rows=2, columns=2)[0]
    table = compared(tiny, *(predicted(tiny, target, ALIKE) for target in ("raw", "measured")))
    assert np.isfinite(table["value"]).all()
    assert table[["low", "high"]].isna().all().all()


def test_nothing_predicted_is_a_table_without_rows(cohort):
    failed = predicted(cohort, "raw", {})
    table = compared(cohort, failed)
    assert tuple(table.columns) == COLUMNS
    assert table.empty


def test_other_spots_and_genes_are_refused(cohort):
    raw = predicted(cohort, "raw", ALIKE)
    with pytest.raises(ContractError, match="differences need the same spots"):
        compared(cohort, raw, predicted(cohort, "measured", ALIKE, splits=("test",)))
    with pytest.raises(ContractError, match="genes are not those"):
        compared(cohort[:, :3], raw)
    with pytest.raises(ContractError, match="is not in the expression"):
        compared(cohort[cohort.obs["slide"] != "t3"], raw)


def exchanged(cohort, seeds, draw):
    """What a least-squares fit to exchanged labels predicts from something seen of each spot."""
    truth = cohort.layers["median"]
    train = (cohort.obs["split"] == "train").to_numpy()
    seen = np.c_[np.ones(len(truth)), truth @ np.random.default_rng(draw).normal(size=(8, 3))]
    held = cohort[~train]
    layers = {}
    for seed in seeds:
        order = np.random.default_rng([draw, seed]).permutation(int(train.sum()))
        weights = np.linalg.lstsq(seen[train], truth[train][order], rcond=None)[0]
        layers[f"small_cnn_shuffled.{seed}"] = (seen[~train] @ weights).astype(np.float32)
    adata = AnnData(obs=held.obs[["slide", "split"]].copy(), var=held.var, layers=layers)
    adata.uns |= {"target": "raw", "space": "log_tpm", "kinds": {"small_cnn_shuffled": "control"}}
    return adata


def test_the_luck_of_an_exchange_is_in_the_interval_of_several(cohort):
    inside = {1: 0, 4: 0}
    for draw in range(12):
        for seeds in inside:
            table = compared(cohort, exchanged(cohort, range(seeds), draw), draws=200)
            over = "blocks" if seeds == 1 else "blocks and exchanges"
            chance = one(table, metric="pcc_gene", over=over)
            inside[seeds] += chance["low"] <= 0 <= chance["high"]
    assert inside[4] >= 10
    assert inside[1] <= 6, "blocks alone do not tell of it"


def trained(cohort, target, seeds, draw, spread=0.1):
    """Predictions of trainings that are equally good but for the luck of each seed."""
    given = predicted(cohort, target, ALIKE, seeds)
    for seed in seeds:
        generator = np.random.default_rng([draw, seed, *map(ord, target)])
        layer, scale = f"small_cnn.{seed}", 1 + spread * generator.normal()
        truth = cohort[given.obs_names].layers["median"]
        noise = scale * generator.normal(size=truth.shape)
        given.layers[layer] = (truth + noise).astype(np.float32)
    return given


@pytest.mark.parametrize("others", [(1, 2, 3), (4, 5, 6)], ids=["same seeds", "other seeds"])
def test_alike_trainings_are_told_apart_by_seeds_as_seldom_as_they_should(others):
    small = expression(genes=6, rows=15, columns=15, splits={"v": "val", "t": "test"})[0]
    inside, repeats = {"blocks and seeds": 0, "blocks of one seed": 0}, 40
    for draw in range(repeats):
        for over, first, second in (
            ("blocks and seeds", (1, 2, 3), others),
            ("blocks of one seed", (1,), others[:1]),
        ):
            given = trained(small, "raw", first, draw), trained(small, "measured", second, draw)
            row = one(compared(small, *given, draws=100), target="measured", over=over)
            inside[over] += row["low"] <= 0 <= row["high"]
    assert inside["blocks and seeds"] >= 0.85 * repeats
    assert inside["blocks of one seed"] <= 0.7 * repeats, "blocks alone do not tell of seeds"


def test_seeds_widen_the_interval_only_where_a_seed_changes_something(cohort):
    controls = {"train_mean": (2.0, 2.0), "coordinates": (1.5, 1.5)}
    networks = predicted(cohort, "raw", {**controls, **ALIKE})
    table = compared(cohort, networks, predicted(cohort, "measured", controls))
    closed = one(table, target="measured", predictor="coordinates", over="blocks")
    assert np.isfinite(closed["low"])
    assert np.isfinite(one(table, comparison="train_mean", predictor="small_cnn")["low"])
    once = compared(cohort, predicted(cohort, "raw", {**controls, **ALIKE}, (1,)))
    told = one(once, comparison="train_mean", over="blocks of one seed")
    assert np.isfinite(told["low"])
    assert set(once["over"]) == {"blocks of one seed", "subjects of one seed"}
