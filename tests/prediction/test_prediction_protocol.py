"""From slides to predictions and their scores, with nothing leaking on the way."""

import json
from dataclasses import replace

import numpy as np
import pytest
from anndata import read_h5ad
from every_predictor import EXTRA
from prediction_samples import cohort, expression

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction import predictors, protocol
from spared_benchmark.prediction.comparisons import compare_predictions
from spared_benchmark.prediction.protocol import run_predictors
from spared_benchmark.prediction.scores import COLUMNS, GENE_COLUMNS, score_predictions
from spared_benchmark.reporting import schemas
from spared_benchmark.slides.schema import check
from spared_benchmark.study import BenchmarkSettings, Budget
from spared_benchmark.training.trials import TrialStore

BUDGET = Budget(steps=6, batch_size=16, learning_rates=(1e-3, 1e-2), validate_every=3)
CONTROLS = ("train_mean", "coordinates", "colour_ridge")


def settings(**changes):
    sizes = dict.fromkeys(predictors.available(), "tiny")
    features = {name: extra["feature"] for name, extra in EXTRA.items() if "feature" in extra}
    defaults = {"features": features, "sizes": sizes}
    return BenchmarkSettings(**{**defaults, "budgets": {"default": BUDGET}, **changes})


def run(names, folder, slides=None, **changes):
    slides = slides or cohort(target="measured")
    return run_predictors(names, slides, slides.target, settings(**changes), TrialStore(folder))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(["small_cnn"], tmp_path_factory.mktemp("trials"), seeds=(1, 2))


def test_predictions_are_of_val_and_test_spots_by_seed(done):
    adata = done.predictions
    check(adata, "predictions")
    assert list(adata.layers) == ["small_cnn.1", "small_cnn.2"]
    assert adata.obs["split"].value_counts().to_dict() == {"val": 20, "test": 20}
    assert list(adata.obs_names[:2]) == ["c_spot0", "c_spot1"]
    assert adata.layers["small_cnn.1"].dtype == np.float32
    assert not np.array_equal(adata.layers["small_cnn.1"], adata.layers["small_cnn.2"])


def test_predictions_survive_the_disk(done, tmp_path):
    done.predictions.write_h5ad(tmp_path / "p.h5ad")
    again = read_h5ad(tmp_path / "p.h5ad")
    check(again, "predictions")
    adata, _ = expression()
    first = score_predictions(adata, [done.predictions], "TOY", "inductive")[0]
    assert first.equals(score_predictions(adata, [again], "TOY", "inductive")[0])


def test_the_card_tells_how_it_came_about(done):
    card = json.loads(json.dumps(done.card, allow_nan=False))
    assert (card["predictor"], card["size"], card["target"]) == ("small_cnn", "tiny", "measured")
    assert card["seeds"] == [1, 2]
    assert len(card["trials"]) == 4
    assert card["parameters_total"] == sum(
        value.size for name, value in done.states.items() if name.startswith("small_cnn.1.")
    )
    assert card["spot_views"] == 4 * 6 * 16
    best = [min(t["best_value"] for t in card["trials"] if t["seed"] == seed) for seed in (1, 2)]
    assert card["val_mse"] == pytest.approx(np.mean(best))


def test_controls_share_one_file(tmp_path):
    result = run(CONTROLS, tmp_path)
    assert list(result.predictions.layers) == [f"{name}.42" for name in CONTROLS]
    assert result.predictions.uns["kinds"] == dict.fromkeys(CONTROLS, "control")
    assert set(result.card["predictors"]) == set(CONTROLS)


def test_the_penalty_is_the_one_that_val_prefers(tmp_path):
    card = run(["feature_ridge"], tmp_path).card
    errors = [row["val_mse"] for row in card["grid"]]
    assert len(errors) > 3
    assert card["val_mse"] == min(errors) < max(errors)


def test_a_closed_form_is_solved_once_for_all_seeds(tmp_path):
    assert list(run(["train_mean"], tmp_path, seeds=(5, 6)).predictions.layers) == ["train_mean.5"]


@pytest.mark.parametrize("name", predictors.available())
def test_test_labels_reach_nothing(name, tmp_path):
    slides = cohort(target="measured")
    poisoned = replace(
        slides,
        slides=tuple(
            replace(
                slide,
                y=np.full_like(slide.y, np.nan),
                measured=~slide.measured,
                weight=~slide.weight,
            )
            if slide.split == "test"
            else slide
            for slide in slides.slides
        ),
    )
    first = run([name], tmp_path / "a", slides).predictions.layers[f"{name}.42"]
    second = run([name], tmp_path / "b", poisoned).predictions.layers[f"{name}.42"]
    np.testing.assert_array_equal(first, second)


def test_a_predictor_is_had_with_other_settings_beside_the_plain_one(tmp_path):
    given = {"feature_knn": {"neighbours": [4]}, "feature_knn-all": {"neighbours": [40]}}
    names = ["feature_knn", "feature_knn-all"]
    result = run(names, tmp_path, settings=given, smoothed=("feature_knn-all",))
    plain, other = (result.predictions.layers[f"{name}.42"] for name in names)
    assert not np.array_equal(plain, other)
    # Forty of forty spots: the mean, whatever is asked.
    np.testing.assert_allclose(other, other[:1].repeat(40, axis=0), atol=1e-5)
    cards = result.card["predictors"]
    label = predictors.card("feature_knn").label
    assert [cards[name]["label"] for name in names] == [label, f"{label} (all)"]
    assert [cards[name]["settings"]["neighbours"] for name in names] == [[4], [40]]
    assert "feature_knn-all_smoothed.42" in result.predictions.layers
    adata, _ = expression()
    table = compare_predictions(adata, [result.predictions], "TOY", "inductive")
    pairs = table.query("comparison == 'settings'")[["predictor", "against"]].drop_duplicates()
    assert pairs.values.tolist() == [["feature_knn-all", "feature_knn"]]


def test_exchanged_labels_and_sizes_follow_the_other_settings(tmp_path):
    given = {"feature_knn": {"neighbours": [4]}, "feature_knn-all": {"neighbours": [40]}}
    name = "feature_knn-all_shuffled"
    result = run([name], tmp_path, settings=given, sizes={"feature_knn-all": "small"})
    assert result.card["settings"]["neighbours"] == [40]
    assert result.card["size"] == "small"
    assert result.card["kind"] == "control"


def test_another_target_is_another_training(tmp_path):
    raw = run(["small_cnn"], tmp_path, cohort(target="raw"))
    measured = run(["small_cnn"], tmp_path, cohort(target="measured"))
    assert not np.array_equal(
        raw.predictions.layers["small_cnn.42"], measured.predictions.layers["small_cnn.42"]
    )


def test_slides_of_another_target_are_refused(tmp_path):
    with pytest.raises(ContractError, match="assembled for target 'raw', not for 'measured'"):
        run_predictors(
            ["train_mean"], cohort(target="raw"), "measured", settings(), TrialStore(tmp_path)
        )


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_scores_in_both_spaces_of_the_same_predictions(space, tmp_path):
    adata, _ = expression()
    result = run(["colour_ridge"], tmp_path, cohort(target="measured", space=space))
    table, genes = score_predictions(adata, [result.predictions], "TOY", "inductive")
    assert tuple(table.columns) == COLUMNS
    assert tuple(genes.columns) == GENE_COLUMNS
    schemas.check(table, schemas.PREDICTION, "TOY")
    schemas.check(genes, schemas.GENES, "TOY")
    assert set(table["space"]) == {"log_tpm", "combat"}
    # By hand: pooled test MSE in the space that was not trained in.
    other = "combat" if space == "log_tpm" else "log_tpm"
    rows = (adata.obs["slide"] == "d").to_numpy()
    scale, shift = (adata.uns["combat"][key][3] for key in ("scale", "shift"))
    predicted = result.predictions.layers["colour_ridge.42"][20:]
    mapped = predicted * scale + shift if other == "combat" else (predicted - shift) / scale
    entries = adata.layers["measured"][rows]
    expected = np.square(adata.layers[other][rows] - mapped)[entries].mean()
    table = table.query("target != 'truth'")
    chosen = table.query("space == @other and split == 'test' and slide == '' and metric == 'mse'")
    np.testing.assert_allclose(chosen["value"], [expected], rtol=1e-4)
    assert chosen["n"].item() == entries.sum()
    assert set(table["kind"]) == {"control"}


def test_the_train_mean_has_no_correlation(tmp_path):
    adata, _ = expression()
    result = run(["train_mean"], tmp_path)
    table, _ = score_predictions(adata, [result.predictions], "TOY", "inductive")
    pcc = table.query("predictor == 'train_mean' and metric == 'pcc_gene' and space == 'log_tpm'")
    assert pcc["value"].isna().all()
    assert (pcc["n"] == 0).all()


def test_predictions_of_another_cohort_are_refused(done):
    adata, _ = expression()
    renamed = adata.copy()
    renamed.obs_names = [f"x{name}" for name in adata.obs_names]
    with pytest.raises(ContractError, match="spot 'c_spot0' is not in the expression"):
        score_predictions(renamed, [done.predictions], "TOY", "inductive")
    with pytest.raises(ContractError, match="genes are not those of the expression"):
        score_predictions(adata[:, :2], [done.predictions], "TOY", "inductive")


def test_a_seed_that_fails_takes_no_other_with_it(tmp_path, monkeypatch):
    fit = protocol.fit_predictor

    def failing(task):
        if task.training.seed == 2:
            raise RuntimeError("the card fell off the bus")
        return fit(task)

    monkeypatch.setattr(protocol, "fit_predictor", failing)
    result = run(["small_cnn", "train_mean"], tmp_path, seeds=(1, 2, 3))
    assert list(result.predictions.layers) == ["small_cnn.1", "small_cnn.3", "train_mean.1"]
    card = result.card["predictors"]["small_cnn"]
    assert card["status"] == "failed"
    assert card["reason"] == "seed 2: RuntimeError: the card fell off the bus"
    assert card["seeds"] == [1, 3]
    assert result.predictions.uns["failed"] == {"small_cnn": card["reason"]}


def test_a_predictor_that_fails_whole_leaves_no_layer(tmp_path, monkeypatch):
    def failing(task):
        raise RuntimeError("no room")

    monkeypatch.setattr(protocol, "fit_predictor", failing)
    result = run(["small_cnn"], tmp_path)
    check(result.predictions, "predictions")
    assert list(result.predictions.layers) == []
    assert result.card["status"] == "failed"
    assert result.card["reason"] == "RuntimeError: no room"
