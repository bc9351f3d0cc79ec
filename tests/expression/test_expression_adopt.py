"""Published files taken over: what was exported comes back, and what is wrong is named."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest

import spared_benchmark as sb
from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.expression.adopt import PUBLISHED_SPACKLE, adopt
from spared_benchmark.slides.schema import check
from spared_samples import CODE, SPLITS, as_published, definition, make_sample, write_published


@pytest.fixture(scope="module", params=["slide", "subject"])
def sample(request):
    return make_sample(request.param)


@pytest.fixture(scope="module")
def path(sample, tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("published"), as_published(sample))


@pytest.fixture(scope="module")
def adopted(sample, path):
    return adopt(path, definition(sample.batch_key), CODE, "transductive")


def test_the_contracts_hold_and_files_come_back(adopted, tmp_path):
    for adata, name in ((adopted.expression, "expression"), (adopted.context, "context")):
        check(adata, name)
        adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
        check(anndata.read_h5ad(tmp_path / "a.h5ad"), name)
    assert adopted.context.shape == (adopted.expression.n_obs, 0)


def test_what_was_exported_comes_back(sample, adopted):
    before, after = sample.processed.expression, adopted.expression
    assert after.obs_names.equals(before.obs_names), "the definition's order, not the file's"
    assert after.var_names.equals(before.var_names)
    for name in ("counts", "log_tpm", "measured", "median", "combat"):
        assert np.array_equal(after.layers[name], before.layers[name])
        assert after.layers[name].dtype == before.layers[name].dtype
    assert np.array_equal(after.obsm["spatial"], before.obsm["spatial"])
    pd.testing.assert_frame_equal(after.obs, before.obs, rtol=1e-5, check_dtype=False)
    pd.testing.assert_frame_equal(after.var, before.var, rtol=1e-5, check_dtype=False)
    for key in ("cohort", "protocol", "lattice", "pitch_um"):
        assert after.uns[key] == before.uns[key]


def test_the_batch_correction_is_recovered(sample, adopted):
    before, after = sample.processed.expression.uns["combat"], adopted.expression.uns["combat"]
    assert list(after["slides"]) == list(before["slides"])
    assert after["scale"] == pytest.approx(before["scale"], rel=1e-4)
    assert after["shift"] == pytest.approx(before["shift"], abs=1e-3)
    assert after["skipped"] == ""


def test_a_correction_by_patient_taken_for_one_by_slide_is_told(sample, path, caplog):
    with caplog.at_level(logging.WARNING):
        adopt(path, definition("slide"), CODE, "transductive")
    told = [record.getMessage() for record in caplog.records if "share one" in record.getMessage()]
    if sample.batch_key == "slide":
        assert not told
    else:
        pairs = ("V1_C and V1_A of patient V1", "V2_A and V2_B of patient V2")
        assert len(told) == len(pairs)
        for line, pair in zip(told, pairs, strict=True):
            assert f"the slides {pair} share one batch correction" in line
            assert "batch_key: subject" in line


def test_the_published_completion_is_kept(sample, adopted):
    layers = adopted.expression.layers
    difference = layers[PUBLISHED_SPACKLE] - layers["combat"]
    assert (difference[layers["measured"]] == 0).all()
    assert difference[~layers["measured"]] == pytest.approx(0.25, abs=1e-5)


def test_tables_tell_what_the_file_tells(sample, adopted):
    before = sample.processed
    shared = adopted.statistics.merge(before.statistics, on="statistic")
    assert {"spots", "missing_after", "median_library_size", "val_spots"} <= set(
        shared["statistic"]
    )
    assert shared["value_x"].to_numpy() == pytest.approx(shared["value_y"].to_numpy())
    genes = before.genes[before.genes["fate"] == "chosen"].set_index("gene")
    after = adopted.genes.set_index("gene")
    assert set(adopted.genes) == set(before.genes)
    for column in ("rank", "total", "gene_length", "fraction"):
        assert after[column].to_numpy() == pytest.approx(genes.loc[after.index, column].to_numpy())
    kept = before.spots[before.spots["fate"] == "kept"].reset_index(drop=True)
    assert set(adopted.spots) == set(kept)
    for column in ("slide", "split", "barcode", "array_row", "x", "library_size"):
        assert adopted.spots[column].tolist() == pytest.approx(kept[column].tolist())
    assert adopted.spots["total_counts"].equals(kept["library_size"].astype("int64"))


def test_some_slides_will_do_and_the_others_are_logged(sample, path, caplog):
    cohort = definition(sample.batch_key)
    fewer = {name: one for name, one in cohort.slides.items() if name != "V1_C"}
    with caplog.at_level(logging.INFO):
        done = adopt(path, cohort.model_copy(update={"slides": fewer}), CODE, "transductive")
    assert set(done.expression.obs["slide"]) == set(SPLITS) - {"V1_C"}
    assert "slides of adata.h5ad left out: V1_C" in caplog.text


@pytest.fixture(scope="module")
def plain():
    return make_sample()


def adopt_with(tmp_path, sample, change, cohort=None):
    adata = as_published(sample, patches=False)
    change(adata)
    return adopt(
        write_published(tmp_path, adata), cohort or definition(), CODE, "transductive"
    ).expression


def test_without_batch_correction_the_medians_stand_in(tmp_path, plain):
    def change(adata):
        for name in ("c_d_log1p", "c_t_log1p"):
            del adata.layers[name]

    expression = adopt_with(tmp_path, plain, change)
    assert np.array_equal(expression.layers["combat"], expression.layers["median"])
    assert (expression.uns["combat"]["scale"] == 1).all()
    assert "c_d_log1p" in expression.uns["combat"]["skipped"]
    assert PUBLISHED_SPACKLE not in expression.layers


def test_a_gene_constant_on_a_slide_is_shifted_only(tmp_path, plain):
    def change(adata):
        rows = (adata.obs["slide_id"] == "V2_B").to_numpy()
        for name, value in (("mask", False), ("counts", 0), ("tpm", 0), ("log1p", 0)):
            adata.layers[name][rows, 0] = value
        adata.layers["d_log1p"][rows, 0] = 3
        adata.layers["c_d_log1p"][rows, 0] = 2.5

    expression = adopt_with(tmp_path, plain, change)
    place = list(expression.uns["combat"]["slides"]).index("V2_B")
    assert expression.uns["combat"]["scale"][place, 0] == 1
    assert expression.uns["combat"]["shift"][place, 0] == pytest.approx(-0.5)


def test_a_spot_without_any_count_gets_an_exposure_from_its_library(tmp_path, plain, caplog):
    def change(adata):
        for name in ("mask", "counts", "tpm", "log1p"):
            adata.layers[name][0] = 0

    expression = adopt_with(tmp_path, plain, change)
    empty = ~expression.layers["measured"].any(axis=1)
    assert empty.sum() == 1
    share = expression.obs["tpm_denominator"] / expression.obs["library_size"]
    slide = expression.obs["slide"].to_numpy() == expression.obs["slide"][empty].item()
    assert share[empty].item() == pytest.approx(share[slide & ~empty].median())
    assert "TPM denominators of 1 spots" in caplog.text


def test_sparse_layers_and_versions_are_read(tmp_path, plain):
    from scipy import sparse

    def change(adata):
        adata.layers["counts"] = sparse.csr_matrix(adata.layers["counts"])
        adata.layers["mask"] = sparse.csr_matrix(adata.layers["mask"])
        adata.var_names = [f"ENSG{place:011d}.{place}" for place in range(adata.n_vars)]

    expression = adopt_with(tmp_path, plain, change)
    assert np.array_equal(expression.layers["counts"], plain.processed.expression.layers["counts"])
    assert expression.var_names[3] == "ENSG00000000003"


def set_entry(layer, value):
    def change(adata):
        adata.layers[layer][3, 2] = value

    return change


def bend(adata):
    adata.layers["c_d_log1p"] = adata.layers["c_d_log1p"] ** 2


def natural(adata):
    adata.layers["log1p"] = adata.layers["log1p"] * np.float32(np.log(2))


def longer(adata):
    adata.var["gene_length"] = adata.var["gene_length"].to_numpy() * np.linspace(1, 2, adata.n_vars)


def first_measured(adata):
    return tuple(place[0] for place in np.nonzero(adata.layers["mask"]))


def unmask(adata):
    adata.layers["mask"][first_measured(adata)] = False


def move_measured(adata):
    adata.layers["d_log1p"][first_measured(adata)] += 1


def no_library(adata):
    adata.obs["total_counts"] *= 0


def set_place(key, value):
    def change(adata):
        places = adata.obs[key].to_numpy(np.float64)
        places[3] = value
        adata.obs[key] = places

    return change


def no_position(adata):
    adata.obsm["spatial"][3, 1] = np.nan


def one_place(adata):
    adata.obs["array_row"], adata.obs["array_col"] = 4, 6


WRONG = {
    "position": (no_position, r"obsm\['spatial'\]: found NaN or infinite values for 1 of"),
    "no row": (set_place("array_row", np.nan), r"obs\['array_row'\]: found nan for 1 of .* whole"),
    "half a column": (set_place("array_col", 0.5), r"obs\['array_col'\]: found 0.5 for 1 of"),
    "one place": (one_place, r"row 4, column 6 for \d+ spots; needed: one spot on each place"),
    "no layer": (lambda a: a.layers.pop("d_log1p"), "layers: no 'd_log1p'; found .*log1p"),
    "no column": (lambda a: a.var.pop("d_log1p_moran"), "var: no 'd_log1p_moran'"),
    "no totals": (lambda a: a.obs.pop("total_counts"), "obs: no 'total_counts'"),
    "not affine": (bend, "no batch correction of layers\\['d_log1p'\\].*batch_key"),
    "not finite": (set_entry("c_d_log1p", np.nan), "'c_d_log1p'.*1 of .* values are NaN"),
    "normalised": (set_entry("counts", 0.5), "layers\\['counts'\\]: found 0.5; needed: raw counts"),
    "natural logarithm": (natural, "layers\\['log1p'\\]: found natural logarithms"),
    "other logarithm": (set_entry("log1p", 30), "layers\\['log1p'\\]: found values up to"),
    "mask": (unmask, "layers\\['mask'\\]: found 1 entries differ from tpm"),
    "median": (move_measured, "layers\\['d_log1p'\\]: found measured entries .* up to 1 off"),
    "lengths": (longer, "layers\\['tpm'\\].*do not follow from counts; needed: .*gene_length"),
    "library": (no_library, r"above obs\['total_counts'\]"),
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_is_wrong_is_named(tmp_path, plain, problem):
    change, message = WRONG[problem]
    with pytest.raises(InputError, match=message) as error:
        adopt_with(tmp_path, plain, change)
    assert "adata.h5ad" in str(error.value)


def test_a_slide_that_the_file_lacks(tmp_path, plain):
    cohort = definition()
    slides = {**cohort.slides, "V2_C": cohort.slides["V2_B"]}
    with pytest.raises(
        InputError, match=r"no slide 'V2_C' \(did you mean.*the file has V1_A, V1_C"
    ):
        adopt_with(
            tmp_path, plain, lambda adata: None, cohort.model_copy(update={"slides": slides})
        )


def resplit(**changes):
    slides = definition().model_dump()["slides"]
    slides["V1_C"]["split"] = "train"
    return definition(slides=slides, **changes)


def test_another_split_is_an_error_that_tells_both(tmp_path, plain):
    with pytest.raises(ConfigurationError, match=r"V1_C: test / train.*resplit: true"):
        adopt_with(tmp_path, plain, lambda adata: None, resplit())


def test_another_split_may_be_meant(tmp_path, plain, caplog):
    expression = adopt_with(tmp_path, plain, lambda adata: None, resplit(resplit=True))
    assert (expression.obs["split"][expression.obs["slide"] == "V1_C"] == "train").all()
    assert PUBLISHED_SPACKLE not in expression.layers, "it was trained on other slides"
    assert "V1_C: test / train" in caplog.text
    train = expression.obs["split"].to_numpy() == "train"
    values, measured = expression.layers["log_tpm"][train], expression.layers["measured"][train]
    mean = np.where(measured, values, 0).sum(axis=0) / measured.sum(axis=0)
    assert expression.var["train_mean"].to_numpy() == pytest.approx(mean, rel=1e-5)


def test_subjects_that_group_otherwise_are_told(tmp_path, plain, caplog):
    adopt_with(tmp_path / "same", plain, lambda adata: None)
    assert "subjects differ" not in caplog.text

    def change(adata):
        adata.obs["patient"] = "unique"

    expression = adopt_with(tmp_path / "other", plain, change)
    assert "V1_A: unique / V1; V2_A: unique / V2" in caplog.text
    assert set(expression.obs["subject"]) == {"V1", "V2"}, "the definition counts"


def test_the_inductive_protocol_is_refused(plain, tmp_path):
    path = write_published(tmp_path, as_published(plain, patches=False))
    with pytest.raises(ConfigurationError, match="PUB: a cohort of the format 'spared' is transd"):
        adopt(path, definition(), CODE, "inductive")


def test_a_slide_in_two_splits(tmp_path, plain):
    def change(adata):
        adata.obs["split"] = ["test", *adata.obs["split"].astype(str)[1:]]

    with pytest.raises(InputError, match=r"obs\['split'\]: found test, train on slide V1_A"):
        adopt_with(tmp_path, plain, change)


def test_the_library_reads_a_published_file(sample, path):
    expression = sb.read_published(path, batch_key=sample.batch_key)

    before = sample.processed.expression
    same = expression[before.obs_names]
    assert np.array_equal(same.layers["combat"], before.layers["combat"])
    assert (same.obs["split"].astype(str) == before.obs["split"].astype(str)).all()
    assert (same.obs["subject"].astype(str) == before.obs["subject"].astype(str)).all()
    sb.completers.create("additive").fit(expression)
