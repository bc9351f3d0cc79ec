"""Controls and ceilings that are told something of the truth: by hand, and beside predictors."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from prediction_samples import expression, hexagon

from spared_benchmark.evaluation.floor import ceiling_correlation, poisson_noise
from spared_benchmark.evaluation.metrics import gene_scores, scores
from spared_benchmark.prediction.ceilings import (
    AXES,
    Beside,
    by_depth,
    gene_mean,
    leading_axes,
    low_rank,
    neighbour_mean,
)
from spared_benchmark.prediction.scores import COLUMNS, GENE_COLUMNS, score_predictions
from spared_benchmark.reporting import schemas

TOLD = {
    "library_size": "control",
    "truth_neighbours": "ceiling",
    "truth_low_rank": "ceiling",
    "floor": "ceiling",
}


def predictions(adata, values, space="log_tpm", splits=("val", "test"), name="guess", seed=7):
    """A file of predictions with one layer."""
    kept = adata.obs["split"].isin(splits).to_numpy()
    obs = adata.obs.loc[kept, ["slide", "split"]]
    made = AnnData(obs=obs, var=adata.var[[]], layers={f"{name}.{seed}": values[kept]})
    made.uns = {"target": "raw", "space": space, "kinds": {name: "method"}}
    return made


def counted(cells=(9, 12), genes=24, seed=0, splits=None):
    """Poisson counts around smooth rates: expression, and log2(TPM+1) of the rates."""
    rng = np.random.default_rng(seed)
    splits = splits or {"a": "train", "b": "train", "c": "val", "d": "test"}
    grid = hexagon(*cells)
    n = len(grid)
    names = np.repeat(list(splits), n)
    places = np.tile(grid, (len(splits), 1))
    scaled = places / grid.max(axis=0)
    depth = rng.uniform(200, 3000, len(names))
    loading, level = rng.normal(0, 1, (2, genes)), rng.normal(0, 1, genes)
    rate = np.exp(scaled @ loading + level)
    rate /= rate.sum(axis=1, keepdims=True)
    counts = rng.poisson(depth[:, None] * rate)
    total = counts.sum(axis=1)
    measured = counts > 0
    log_tpm = np.log2(1 + 1e6 * counts / total[:, None]).astype(np.float32)
    scale, shift = rng.uniform(0.8, 1.2, (4, genes)), rng.uniform(-1, 1, (4, genes))
    code = np.repeat(np.arange(4), n)
    obs = pd.DataFrame(
        {
            "slide": names,
            "split": [splits[name] for name in names],
            "array_row": places[:, 0],
            "array_col": places[:, 1],
            "library_size": total.astype(float),
            "tpm_denominator": total.astype(float),
        },
        index=[f"s{i}" for i in range(len(names))],
    )
    var = pd.DataFrame({"gene_length": 1.0}, index=[f"g{i}" for i in range(genes)])
    layers = {
        "counts": counts.astype(np.int32),
        "measured": measured,
        "log_tpm": log_tpm,
        "combat": (log_tpm * scale[code] + shift[code]).astype(np.float32),
    }
    adata = AnnData(obs=obs, var=var, layers=layers)
    maps = {"slides": np.array(list(splits), dtype=object), "scale": scale, "shift": shift}
    adata.uns = {"lattice": "hexagonal", "pitch_um": 100.0, "combat": maps}
    return adata, np.log2(1 + 1e6 * rate).astype(np.float32)


def of(table, predictor, metric="mse", space="log_tpm", split="test", slide=""):
    rows = table.query(
        "predictor == @predictor and metric == @metric and space == @space "
        "and split == @split and slide == @slide"
    )
    return rows["value"].item()


def test_neighbour_mean_by_hand():
    # Spots 0–3 in a row on slide a; spot 4 alone on slide b.
    values = np.array([[1, 10], [2, 20], [4, 40], [8, 80], [16, 160]], dtype=float)
    measured = np.array([[1, 0], [1, 1], [0, 0], [1, 0], [1, 1]], dtype=bool)
    neighbours = np.array([[1, -1], [0, 2], [1, 3], [2, -1], [-1, -1]])
    slide = np.array(["a", "a", "a", "a", "b"])
    found = neighbour_mean(values, measured, neighbours, slide, np.array([5.0, 50.0]))
    expected = [
        [2, 20],  # of spot 1
        [1, 50],  # of spot 0; no neighbour and no other spot of the slide has gene 1
        [5, 20],  # of spots 1 and 3; of spot 1
        [1.5, 20],  # its neighbour has neither: the slide's others
        [5, 50],  # alone
    ]
    np.testing.assert_allclose(found, expected)


def test_no_spot_enters_its_own_neighbour_mean():
    rng = np.random.default_rng(0)
    values, measured = rng.normal(size=(20, 3)), rng.random((20, 3)) > 0.6
    neighbours = rng.integers(-1, 20, (20, 3))
    neighbours[neighbours == np.arange(20)[:, None]] = -1
    told = measured, neighbours, np.repeat("a", 20), np.zeros(3)
    first = neighbour_mean(values, *told)
    for spot in range(20):
        changed = values.copy()
        changed[spot] += 100
        np.testing.assert_allclose(neighbour_mean(changed, *told)[spot], first[spot])


def test_the_axes_of_complete_data_are_principal_components():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 8)) * 3 + rng.normal(size=(300, 8))
    everything = np.ones(values.shape, dtype=bool)
    mean = gene_mean(values, everything)
    axes = leading_axes(values, everything, mean)
    assert axes.shape == (8, 4)  # no more than half of the genes
    expected = np.linalg.svd(values - mean, full_matrices=False)[2][:4].T
    np.testing.assert_allclose(np.abs((axes * expected).sum(axis=0)), 1, rtol=1e-6)
    wide = rng.normal(size=(300, 60))
    assert leading_axes(wide, np.ones(wide.shape, dtype=bool), wide.mean(axis=0)).shape[1] == AXES


def test_low_rank_is_least_squares_on_the_measured_entries():
    rng = np.random.default_rng(0)
    values, measured = rng.normal(size=(15, 9)), rng.random((15, 9)) > 0.3
    mean, axes = rng.normal(size=9), np.linalg.qr(rng.normal(size=(9, 3)))[0]
    found = low_rank(np.where(measured, values, np.nan), measured, mean, axes)
    for spot in range(15):
        kept = measured[spot]
        numbers = np.linalg.lstsq(axes[kept], (values - mean)[spot, kept], rcond=None)[0]
        np.testing.assert_allclose(found[spot], mean + axes @ numbers, rtol=1e-6)


def test_low_rank_recovers_what_is_of_low_rank_and_bounds_every_mix_of_its_axes():
    rng = np.random.default_rng(0)
    mean, axes = rng.normal(size=12), np.linalg.qr(rng.normal(size=(12, 4)))[0]
    exact, measured = mean + rng.normal(size=(9, 4)) @ axes.T, rng.random((9, 12)) > 0.2
    np.testing.assert_allclose(low_rank(exact, measured, mean, axes), exact, atol=1e-8)
    noisy = exact + rng.normal(size=exact.shape)
    best = np.square(low_rank(noisy, measured, mean, axes) - noisy)[measured].sum()
    for scale in (0, 0.1, 1):
        mix = exact + scale * rng.normal(size=(9, 4)) @ axes.T
        assert np.square(mix - noisy)[measured].sum() > best


def test_without_a_measured_gene_or_axis_low_rank_is_the_mean():
    mean = np.array([1.0, 2.0, 3.0, 4.0])
    values, axes = np.zeros((2, 4)), np.eye(4)[:, :2]
    nothing = np.zeros((2, 4), dtype=bool)
    np.testing.assert_array_equal(low_rank(values, nothing, mean, axes), [mean, mean])
    none = low_rank(values, ~nothing, mean, np.zeros((4, 0)))
    np.testing.assert_array_equal(none, [mean, mean])


def test_by_depth_is_each_genes_line():
    rng = np.random.default_rng(0)
    depth = rng.uniform(8, 14, 40)
    measured = rng.random((40, 3)) > 0.4
    values = 5 - 0.7 * depth[:, None] + rng.normal(0, 0.1, (40, 3))
    found = by_depth(np.where(measured, values, np.nan), measured, depth, np.array([9.0, 13.0]))
    for gene in range(3):
        kept = measured[:, gene]
        line = np.polyfit(depth[kept], values[kept, gene], 1)
        np.testing.assert_allclose(found[:, gene], np.polyval(line, [9.0, 13.0]), rtol=1e-8)


def test_by_depth_is_the_mean_where_depth_does_not_vary():
    values, measured = np.array([[1.0, 4], [3, 9]]), np.array([[1, 1], [1, 0]], dtype=bool)
    told = np.array([3.0, 12.0])
    found = by_depth(values, measured, np.array([10.0, 10.0]), told)
    np.testing.assert_allclose(found, [[2, 4], [2, 4]])
    measured[:, 1] = False  # no entry of gene 1: the mean of all
    assert by_depth(values, measured, np.array([9.0, 10.0]), told)[:, 1].tolist() == [2, 2]


@pytest.fixture(scope="module")
def simulated():
    adata, truth = counted()
    return adata, truth, score_predictions(adata, [predictions(adata, truth)], "SIM", "inductive")


def test_they_stand_beside_in_both_spaces_and_splits(simulated):
    _, _, (table, genes) = simulated
    schemas.check(table, schemas.PREDICTION, "SIM")
    schemas.check(genes, schemas.GENES, "SIM")
    assert (tuple(table.columns), tuple(genes.columns)) == (COLUMNS, GENE_COLUMNS)
    told = table[table["target"] == "truth"]
    assert dict(zip(told["predictor"], told["kind"], strict=True)) == TOLD
    assert set(told["seed"]) == {0}
    for name in TOLD:
        rows = told[told["predictor"] == name]
        places = set(zip(rows["space"], rows["split"], rows["slide"], strict=True))
        sides = (("val", "c"), ("val", ""), ("test", "d"), ("test", ""))
        assert places == {(space, *side) for space in ("log_tpm", "combat") for side in sides}
    assert set(told.loc[told["predictor"] == "floor", "metric"]) == {"mse", "pcc_gene"}
    assert set(genes["predictor"]) == {"guess", *TOLD} - {"floor"}


def test_they_change_nothing_of_what_predictors_score(simulated):
    adata, truth, (table, genes) = simulated
    for split, slide in (("val", "c"), ("test", "d")):
        rows = (adata.obs["slide"] == slide).to_numpy()
        compared = (
            adata.layers["log_tpm"][rows],
            truth[rows],
            adata.layers["measured"][rows],
            adata.obs["slide"].to_numpy()[rows],
        )
        shown = f"predictor == 'guess' and space == 'log_tpm' and split == {split!r}"
        for own, alone in (
            (table, scores(*compared)),
            (genes, gene_scores(*compared, list(adata.var_names))),
        ):
            found = own.query(shown).reset_index(drop=True)[list(alone.columns)]
            pd.testing.assert_frame_equal(found, alone)


def test_the_floor_lies_below_the_true_rates_and_everything_else(simulated):
    adata, _, (table, _) = simulated
    means = np.tile(gene_mean(adata.layers["log_tpm"], adata.layers["measured"]), (adata.n_obs, 1))
    mean, _ = score_predictions(
        adata, [predictions(adata, means.astype(np.float32))], "SIM", "inductive"
    )
    for space in ("log_tpm", "combat"):
        floor = of(table, "floor", space=space)
        # The rates themselves miss by the noise and by a value's mean given that it is counted.
        assert floor < of(table, "guess", space=space)
        assert floor < of(table, "truth_neighbours", space=space)
        assert floor < of(table, "library_size", space=space)
        assert of(table, "truth_neighbours", space=space) < of(mean, "guess", space=space)
        told = {"metric": "pcc_gene", "space": space}
        assert of(table, "floor", **told) > of(table, "truth_neighbours", **told)
        assert of(table, "floor", **told) > of(table, "guess", **told) - 0.02


def test_the_floor_is_the_mean_noise_mapped_to_the_space(simulated):
    adata, _, (table, _) = simulated
    rows = (adata.obs["slide"] == "d").to_numpy()
    size = adata.obs["tpm_denominator"].to_numpy()[rows]
    counts, slide = adata.layers["counts"][rows], np.repeat("d", rows.sum())
    noise = poisson_noise(counts, np.ones(24), size, slide)
    for space, scale in (("log_tpm", 1.0), ("combat", adata.uns["combat"]["scale"][3])):
        mapped, measured = noise * np.square(scale), counts > 0
        np.testing.assert_allclose(of(table, "floor", space=space), mapped[measured].mean())
        truth = adata.layers[space][rows].astype(float)
        expected = ceiling_correlation(truth, mapped, measured, slide).iloc[-1]["value"]
        np.testing.assert_allclose(of(table, "floor", "pcc_gene", space), expected)


def test_counts_that_are_not_whole_have_no_floor():
    adata, truth = counted()
    adata.layers["counts"] = adata.layers["counts"] * 0.5
    table, _ = score_predictions(adata, [predictions(adata, truth)], "SIM", "inductive")
    floor = table[table["predictor"] == "floor"]
    assert len(floor) == 16
    assert floor["value"].isna().all()
    others = table[(table["target"] == "truth") & (table["predictor"] != "floor")]
    assert others.loc[others["metric"] == "mse", "value"].notna().all()


def test_depth_alone_is_found_out():
    # Nothing varies but depth; what one molecule is worth makes log expression follow it.
    rng = np.random.default_rng(0)
    adata, truth = counted()
    depth = adata.obs["library_size"].to_numpy()
    value = (8 - 0.5 * np.log2(depth))[:, None] + rng.normal(0, 0.1, adata.shape)
    adata.layers["log_tpm"] = value.astype(np.float32)
    table, _ = score_predictions(adata, [predictions(adata, truth)], "SIM", "inductive")
    assert of(table, "library_size", "pcc_gene") > 0.9
    assert of(table, "library_size") < 0.02


def test_val_and_test_labels_do_not_reach_each_other_or_what_is_fitted():
    adata, _ = counted()
    rows = np.flatnonzero(adata.obs["split"].isin(["val", "test"]))
    first = Beside(adata, rows).values("log_tpm")
    changed = adata.copy()
    is_test = (adata.obs["split"] == "test").to_numpy()
    changed.layers["log_tpm"] = np.where(is_test[:, None], 77, adata.layers["log_tpm"])
    second = Beside(changed, rows).values("log_tpm")
    for name, values in first.items():
        np.testing.assert_array_equal(second[name][~is_test[rows]], values[~is_test[rows]])
    np.testing.assert_array_equal(second["library_size"], first["library_size"])


def test_splits_are_those_of_the_predictions():
    # Nested selection scores the val slides as a test.
    adata, truth = counted(splits={"a": "train", "b": "train", "c": "val", "d": "val"})
    made = predictions(adata, truth, splits=("val",))
    made.obs["split"] = "test"
    table, _ = score_predictions(adata, [made], "SIM", "inductive")
    assert set(table["split"]) == {"test"}
    assert set(table.loc[table["predictor"] == "floor", "slide"]) == {"c", "d", ""}


def test_slides_that_were_not_predicted_are_not_scored():
    adata, truth = counted()
    table, _ = score_predictions(
        adata, [predictions(adata, truth, splits=("val",))], "SIM", "inductive"
    )
    assert set(table["split"]) == {"val"}


def test_once_however_many_files_there_are():
    adata, truth = counted()
    files = [predictions(adata, truth, name=name) for name in ("one", "two")]
    table, genes = score_predictions(adata, files, "SIM", "inductive")
    schemas.check(table, schemas.PREDICTION, "SIM")
    schemas.check(genes, schemas.GENES, "SIM")


def test_without_predictions_there_is_nothing_to_stand_beside():
    adata, _ = expression()
    table, genes = score_predictions(adata, [], "TOY", "inductive")
    assert table.empty
    assert genes.empty
    assert (tuple(table.columns), tuple(genes.columns)) == (COLUMNS, GENE_COLUMNS)
