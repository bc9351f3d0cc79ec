from __future__ import annotations

import json

import numpy as np
import pytest

from spared_benchmark.completion.library import completers, load_completer
from spared_benchmark.errors import ConfigurationError, ContractError, InputError
from spared_benchmark.study import Budget

BUDGET = Budget(steps=3, batch_size=16, validate_every=3)


def test_create_fit_complete(expression):
    completer = completers.create("additive").fit(expression)
    completed = completer.complete(expression)
    measured = expression.layers["measured"]
    assert "additive" not in expression.layers
    values = completed.layers["additive"]
    assert np.array_equal(values[measured], expression.layers["log_tpm"][measured])
    assert np.isfinite(values).all()


@pytest.mark.parametrize("name", ["additive", "spackle", "median"])
def test_save_and_load_round_trip(expression, tmp_path, name):
    completer = completers.create(name, size="tiny").fit(expression, budget=BUDGET)
    completer.save(tmp_path / "saved")
    loaded = load_completer(tmp_path / "saved")
    assert np.array_equal(
        loaded.complete(expression).layers[name], completer.complete(expression).layers[name]
    )
    files = {path.name for path in (tmp_path / "saved").iterdir()}
    assert files == {"card.json", "weights.safetensors"}


def test_a_cohort_without_val_slides_is_split_by_entries(expression):
    one = expression[expression.obs["slide"] == "A"].copy()
    del one.obs["split"]
    completed = completers.create("spackle", size="tiny").fit(one, budget=BUDGET).complete(one)
    assert np.isfinite(completed.layers["spackle"]).all()


@pytest.mark.parametrize("name", ["gene_mean", "additive", "spackle"])
@pytest.mark.parametrize("with_val", [False, True])
def test_values_of_test_slides_move_nothing_fitted(expression, name, with_val):
    taken = expression.obs["split"].isin(["train", "test"] + ["val"] * with_val)
    cohort = expression[taken].copy()
    moved = cohort.copy()
    moved.layers["log_tpm"][(cohort.obs["split"] == "test").to_numpy()] += 5
    first, second = (
        completers.create(name, size="tiny").fit(one, budget=BUDGET).completer.state()
        for one in (cohort, moved)
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_cohort_without_train_slides_is_refused(expression):
    cohort = expression[expression.obs["split"] != "train"].copy()
    with pytest.raises(InputError, match="no slide has the split 'train'; found test, val"):
        completers.create("gene_mean").fit(cohort)


def test_genes_of_the_fit_are_required(expression):
    completer = completers.create("gene_mean").fit(expression)
    with pytest.raises(ContractError, match="gene_mean was fitted on 7 genes; found 3"):
        completer.complete(expression[:, :3])


def test_an_expression_without_its_layers_is_refused(expression):
    del expression.layers["measured"]
    with pytest.raises(ContractError, match=r"expression\.layers has no 'measured'"):
        completers.create("gene_mean").fit(expression)


def test_an_unknown_name_is_refused():
    assert "spackle" in completers.available()
    with pytest.raises(ConfigurationError, match="did you mean 'spackle'"):
        completers.create("spakle")


def test_a_folder_without_a_completer_is_refused(tmp_path):
    with pytest.raises(InputError, match="no model here"):
        load_completer(tmp_path)


def test_another_version_of_the_method_is_refused(expression, tmp_path):
    completers.create("additive").fit(expression).save(tmp_path / "saved")
    card = tmp_path / "saved" / "card.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    del content["digests"]  # as earlier releases wrote it
    card.write_text(json.dumps({**content, "version": 0}), encoding="utf-8")
    with pytest.raises(InputError, match="additive of version 0; this code has version 1"):
        load_completer(tmp_path / "saved")


def test_a_folder_that_is_no_model_is_never_replaced(expression, tmp_path):
    completer = completers.create("additive").fit(expression)
    own = tmp_path / "own"
    own.mkdir()
    completer.save(own)  # empty: nothing is lost
    completer.save(own)  # a model: replaced
    (own / "notes.txt").write_text("mine", encoding="utf-8")
    for target in (own, own / "notes.txt"):
        with pytest.raises(InputError, match=r"holds notes.txt, which is no part of a model"):
            completer.save(target)
    assert (own / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("weights.safetensors", lambda content: content[:-8] + b"12345678"),
        ("weights.safetensors", lambda content: content[:-8]),
        ("weights.safetensors", lambda _: b"x"),
        ("card.json", lambda content: content.replace(b"gene_0", b"gene_9")),
        ("card.json", lambda content: content[:-9]),
        ("card.json", lambda _: b"[]"),
    ],
)
def test_a_changed_model_is_refused(expression, tmp_path, file, change):
    completers.create("additive").fit(expression).save(tmp_path / "saved")
    path = tmp_path / "saved" / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=f"{file} is not as it was written"):
        load_completer(tmp_path / "saved")


def test_weights_of_another_model_are_refused(expression, tmp_path):
    completers.create("additive").fit(expression).save(tmp_path / "one")
    expression.layers["log_tpm"] *= 2
    completers.create("additive").fit(expression).save(tmp_path / "two")
    (tmp_path / "two" / "weights.safetensors").replace(tmp_path / "one" / "weights.safetensors")
    with pytest.raises(InputError, match="from another model"):
        load_completer(tmp_path / "one")
