"""A raw slide is completed as the cohort of the fit would have been."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import anndata
import numpy as np
import pytest
from scipy import sparse

import spared_benchmark as sb
from spared_benchmark.completion.protocol import run_completer
from spared_benchmark.completion.raw_slide import Recipe
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.model import Model
from spared_benchmark.simulation import simulate_slide, simulated_gene_lengths, write_slide
from spared_benchmark.study import Budget, Cohort

CODE = "SIM"
BUDGET = Budget(steps=3, batch_size=16, validate_every=3)


def cohort_of(lattice="hexagonal"):
    names = {"A": "train", "B": "train", "C": "val", "D": "test"}
    return Cohort.model_validate(
        {
            "title": "x",
            "organism": "simulated",
            "tissue": "x",
            "lattice": lattice,
            "format": "space_ranger",
            "licence": "CC0",
            "citation": "x",
            "simulation": {
                "spots": 60,
                "genes": 60,
                "median_counts": 300,
                "spot_diameter_px": 8,
            },
            "slides": {name: {"subject": name, "split": split} for name, split in names.items()},
        }
    )


def slide_of(name, lattice="hexagonal"):
    """A simulated slide as `read_slide` returns one that it does not know to be simulated."""
    adata = simulate_slide(cohort_of(lattice), CODE, name).raw.adata
    adata.uns["slide"]["organism"] = "human"
    return adata


def processed(slides, splits=None):
    lengths = simulated_gene_lengths(cohort_of(), CODE)
    given = {"A": "train", "B": "train", "C": "val", **(splits or {})}
    return sb.process(slides, genes=12, gene_lengths=lengths, splits=given)


@pytest.fixture(scope="module")
def slides():
    return {name: slide_of(name) for name in cohort_of().slides}


@pytest.fixture(scope="module")
def expression(slides):
    return processed([slides[name] for name in "ABC"])


@pytest.fixture(scope="module")
def completer(expression):
    return sb.completers.create("additive").fit(expression)


@pytest.mark.parametrize("name", ["additive", "ppca", "spackle"])
def test_a_raw_slide_gets_the_values_of_the_processed_one(slides, expression, name):
    completer = sb.completers.create(name, **({"size": "tiny"} if name == "spackle" else {}))
    completer.fit(expression, budget=BUDGET)
    whole = processed(list(slides.values()), {"D": "test"})
    assert list(whole.var_names) == list(expression.var_names)
    wanted = completer.complete(whole[whole.obs["slide"] == "D"].copy())

    found = completer.complete(slides["D"])

    assert list(found.var_names) == list(expression.var_names)
    assert [f"D_{spot}" for spot in found.obs_names] == list(wanted.obs_names)
    assert 0 < found.layers["measured"].mean() < 1
    assert np.array_equal(found.layers["counts"], wanted.layers["counts"])
    assert np.array_equal(found.layers["measured"], wanted.layers["measured"])
    for column in ("library_size", "tpm_denominator", "array_row", "array_col"):
        assert np.allclose(found.obs[column], wanted.obs[column]), column
    np.testing.assert_allclose(found.layers["log_tpm"], wanted.layers["log_tpm"], atol=1e-5)
    np.testing.assert_allclose(found.layers[name], wanted.layers[name], rtol=1e-4, atol=1e-4)
    measured = found.layers["measured"]
    assert np.array_equal(found.layers[name][measured], found.layers["log_tpm"][measured])
    assert list(found.var["symbol"]) == list(expression.var["symbol"])


@pytest.mark.parametrize("name", ["additive", "spackle"])
def test_another_process_in_another_folder_completes_alike(
    slides, expression, tmp_path, project, name
):
    sizes = {"size": "tiny"} if name == "spackle" else {}
    completer = sb.completers.create(name, **sizes).fit(expression, budget=BUDGET)
    completer.save(tmp_path / "saved")
    write_slide(tmp_path / "D" / "outs", simulate_slide(cohort_of(), CODE, "D"), cohort_of())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    three_lines = (
        "import spared_benchmark as sb\n"
        "slide = sb.read_slide('../D/outs')\n"
        "completed = sb.load_completer('../saved').complete(slide)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{three_lines}completed.write_h5ad('done.h5ad')"],
        cwd=elsewhere,
        env={"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = anndata.read_h5ad(elsewhere / "done.h5ad")
    here = completer.complete(sb.read_slide(tmp_path / "D" / "outs"))
    assert list(found.obs_names) == list(here.obs_names)
    np.testing.assert_allclose(found.layers[name], here.layers[name], rtol=1e-5, atol=1e-5)
    assert str(found.uns["slide"]["slide"]) == "D"


def test_a_completer_of_a_study_completes_a_raw_slide(slides, expression, tmp_path, training):
    from spared_benchmark.completion.masks import Masks
    from spared_benchmark.study import CompletionSettings

    settings = CompletionSettings(assays=1, spaces=("log_tpm",))
    masks = Masks.draw(expression, settings)
    done = run_completer("additive", expression, masks, settings, training)
    Model(json.loads(json.dumps(done.card)), done.state).save(tmp_path / "model")

    found = sb.load_completer(tmp_path / "model").complete(slides["D"])

    own = sb.completers.create("additive").fit(expression).complete(slides["D"])
    np.testing.assert_allclose(found.layers["additive"], own.layers["additive"], atol=1e-5)


def test_the_recipe_survives_the_file(expression, completer, tmp_path):
    expression.write_h5ad(tmp_path / "expression.h5ad")
    completer.save(tmp_path / "saved")
    loaded = sb.load_completer(tmp_path / "saved").recipe
    for recipe in (Recipe.of(anndata.read_h5ad(tmp_path / "expression.h5ad")), loaded):
        assert recipe.genes == completer.recipe.genes
        assert recipe.spot_counts == completer.recipe.spot_counts
        assert np.array_equal(recipe.lengths, completer.recipe.lengths)
    assert len(loaded.genes) > 12


def test_spots_outside_the_limits_are_left_out_as_processing_does(slides, completer, caplog):
    thin = slides["D"].copy()
    kept = (np.arange(thin.n_obs) >= 2).astype(np.int32)
    thin.X = sparse.csr_matrix(thin.X.multiply(kept[:, None])).astype(np.int32)
    with caplog.at_level("INFO"):
        found = completer.complete(thin)
    assert list(found.obs_names) == list(thin.obs_names[2:])
    assert f"slide D: 2 of {thin.n_obs} spots are outside the limits" in caplog.text
    thin.X = sparse.csr_matrix(thin.shape, dtype=np.int32)
    with pytest.raises(InputError, match="slide D: none of its"):
        completer.complete(thin)


def test_the_given_slide_is_not_changed(slides, completer):
    before = slides["D"].copy()
    completer.complete(slides["D"])
    assert list(slides["D"].layers) == list(before.layers)
    assert (slides["D"].X != before.X).nnz == 0
    assert slides["D"].uns["slide"] == before.uns["slide"]


def test_another_lattice_is_refused(completer):
    other = slide_of("D", "square")
    with pytest.raises(
        ContractError, match=r"slide D: additive was fitted on a hexagonal lattice; .* is square"
    ):
        completer.complete(other)


def test_missing_genes_are_named(slides, completer):
    gone = [completer.recipe.columns[3], completer.recipe.columns[5]]
    other = slides["D"][:, ~slides["D"].var_names.isin(gone)].copy()
    with pytest.raises(
        ContractError, match=f"slide D has no column for 2 of the .*: {gone[0]}, {gone[1]} "
    ):
        completer.complete(other)
    mouse = slides["D"].copy()
    mouse.var_names = [f"ENSMUSG{place}" for place in range(mouse.n_vars)]
    with pytest.raises(ContractError, match=r"its own are called ENSMUSG0, ENSMUSG1\)"):
        completer.complete(mouse)


def test_a_fit_that_tells_no_denominators_says_so(slides, expression):
    silent = expression.copy()
    del silent.uns["filtered_genes"]
    completer = sb.completers.create("additive").fit(silent)
    with pytest.raises(ContractError, match="additive does not know over which genes"):
        completer.complete(slides["D"])


def test_an_anndata_that_is_neither_is_refused(completer):
    plain = anndata.AnnData(np.ones((3, 2), dtype=np.float32))
    with pytest.raises(ContractError, match=r"expression\.obs has no 'slide'.*one raw slide"):
        completer.complete(plain)


def test_values_over_other_denominators_are_warned_of(expression, completer, caplog):
    other = expression.copy()
    told = other.uns["filtered_genes"]
    other.uns["filtered_genes"] = {key: values[1:] for key, values in told.items()}
    completer.complete(other)
    assert "TPM of this expression is over other genes" in caplog.text
    caplog.clear()
    completer.complete(expression)
    assert caplog.text == ""


def test_a_recipe_without_the_completers_genes_is_refused(slides, expression, completer):
    place = completer.recipe.genes.index(expression.var_names[0])
    genes = tuple("other" if i == place else g for i, g in enumerate(completer.recipe.genes))
    wrong = replace(completer.recipe, genes=genes)
    with pytest.raises(ContractError, match=f"1 genes .*: {expression.var_names[0]};"):
        wrong.values_of(slides["D"], completer.completer)
