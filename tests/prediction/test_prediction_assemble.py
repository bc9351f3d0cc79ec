"""Targets: what stands in missing entries, what counts, and in which space."""

import logging

import numpy as np
import pytest
from anndata import AnnData
from prediction_samples import SPLITS, cohort, expression, mean_colours, stores

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.prediction.assemble import assemble
from spared_benchmark.prediction.spaces import converted
from spared_benchmark.prediction.types import Sampling


@pytest.fixture(scope="module")
def data():
    adata, colour = expression()
    return adata, stores(adata, colour)


def completed(adata):
    filled = np.where(adata.layers["measured"], adata.layers["log_tpm"], 7).astype(np.float32)
    return AnnData(obs=adata.obs[["slide"]], var=adata.var, layers={"sevens": filled})


def labels(assembled):
    return [
        np.concatenate([getattr(slide, name) for slide in assembled.slides])
        for name in ("y", "measured", "weight")
    ]


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
@pytest.mark.parametrize("target", ["raw", "measured"])
def test_missing_entries_are_zero_and_count_only_in_raw(data, target, space):
    adata, patches = data
    y, measured, weight = labels(assemble(adata, target=target, space=space, patches=patches))
    np.testing.assert_array_equal(measured, adata.layers["measured"])
    np.testing.assert_array_equal(y[measured], adata.layers[space][measured])
    np.testing.assert_array_equal(y[~measured], 0)
    np.testing.assert_array_equal(weight, measured if target == "measured" else True)


@pytest.mark.parametrize("space", ["log_tpm", "combat"])
def test_completed_entries_count_and_are_mapped_by_slide_and_gene(data, space):
    adata, patches = data
    assembled = assemble(
        adata, target="sevens", space=space, completed=completed(adata), patches=patches
    )
    y, measured, weight = labels(assembled)
    assert weight.all()
    np.testing.assert_array_equal(y[measured], adata.layers[space][measured])
    maps = adata.uns["combat"]
    code = np.repeat(np.arange(4), 20)
    mapped = 7 * maps["scale"][code] + maps["shift"][code] if space == "combat" else 7 + 0 * y
    np.testing.assert_allclose(y[~measured], mapped[~measured], rtol=1e-6)


def test_the_spaces_map_to_and_fro(data):
    adata, _ = data
    slide = adata.obs["slide"]
    combat = converted(adata.layers["median"], slide, adata, "log_tpm", "combat")
    np.testing.assert_allclose(combat, adata.layers["combat"], rtol=1e-5, atol=1e-5)
    back = converted(combat, slide, adata, "combat", "log_tpm")
    np.testing.assert_allclose(back, adata.layers["median"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ContractError, match="no map for slide 'z'"):
        converted(combat[:1], ["z"], adata, "combat", "log_tpm")


def test_slides_without_an_image_take_no_part_and_are_named(data, caplog):
    adata, patches = data
    some = {slide: store for slide, store in patches.items() if slide != "b"}
    with caplog.at_level(logging.INFO):
        assembled = assemble(adata, target="raw", space="log_tpm", patches=some)
    assert [slide.slide for slide in assembled.slides] == ["a", "c", "d"]
    assert assembled.dropped == ("b",)
    assert "take no part in prediction: b" in caplog.text


def test_without_a_val_image_there_is_no_prediction(data):
    adata, patches = data
    some = {slide: patches[slide] for slide in "abd"}
    with pytest.raises(InputError, match=r"no val slide has an image \(without one: c\)"):
        assemble(adata, target="raw", space="log_tpm", patches=some)


def test_patches_and_features_follow_their_spots(data):
    adata, patches = data
    shuffled = adata[np.random.default_rng(0).permutation(adata.n_obs)[:50]].copy()
    shuffled.uns = adata.uns
    assembled = assemble(
        shuffled, target="raw", space="log_tpm", patches=patches, features=mean_colours(patches)
    )
    for slide in assembled.slides:
        names = [name.removeprefix(f"{slide.slide}_") for name in assembled.names[slide.slide]]
        rows = [patches[slide.slide].names.index(name) for name in names]
        pixels = patches[slide.slide].array[rows]
        np.testing.assert_array_equal(slide.patches.read(0, slide.n_spots), pixels)
        np.testing.assert_allclose(
            slide.features["colours"], pixels.mean(axis=(1, 2)) / 255, rtol=1e-6
        )
        assert slide.split == SPLITS[slide.slide]


def test_places_are_those_of_the_lattice(data):
    slide = cohort().slides[0]
    x, y = slide.xy_um.T
    near = slide.neighbours
    spot, column = np.nonzero(near >= 0)
    other = near[spot, column]
    distance = np.hypot(x[spot] - x[other], y[spot] - y[other])
    np.testing.assert_allclose(distance, 100, rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("median", lambda done: None, "as layers; found no file"),
        ("eights", lambda done: done, "as layers; found sevens"),
        ("sevens", lambda done: done[::-1], "obs_names of completed and expression differ"),
        ("sevens", lambda done: done[:, ::-1], "var_names of completed and expression differ"),
    ],
)
def test_a_completed_file_must_fit(data, target, change, message):
    adata, patches = data
    done = change(completed(adata))
    with pytest.raises(ContractError, match=message):
        assemble(adata, target=target, space="log_tpm", completed=done, patches=patches)


def test_patches_of_other_spots_are_refused(data):
    adata, patches = data
    swapped = {
        **patches,
        "a": patches["a"].__class__(patches["a"].array[:5], patches["a"].names[:5], 1.0, "1d", "x"),
    }
    with pytest.raises(ContractError, match=r"slide 'a': 15 spots.*have no patch.*'a_spot5'"):
        assemble(adata, target="raw", space="log_tpm", patches=swapped)


def test_the_digest_sees_training_data_and_not_test_labels(data):
    adata, patches = data

    def digest(split):
        changed = adata.copy()
        row = np.flatnonzero(adata.obs["split"] == split)[0]
        gene = np.flatnonzero(adata.layers["measured"][row])[0]
        changed.layers["log_tpm"][row, gene] += 1
        return assemble(changed, target="raw", space="log_tpm", patches=patches).digest(Sampling())

    plain = assemble(adata, target="raw", space="log_tpm", patches=patches).digest(Sampling())
    assert digest("test") == plain
    assert len({plain, digest("train"), digest("val")}) == 3
