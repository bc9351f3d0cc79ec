"""Slides that come as h5ad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from PIL import Image

from spared_benchmark.errors import InputError
from spared_benchmark.simulation import SimulatedSlide
from spared_benchmark.slides.read import read_slide
from spared_benchmark.slides.schema import check
from spared_benchmark.study import Cohort


@pytest.fixture
def foreign(visium_slide: SimulatedSlide) -> AnnData:
    """The slide as scanpy's reader of Visium folders leaves it."""
    raw = visium_slide.raw
    adata = AnnData(
        X=raw.adata.X.astype(np.float32),
        obs=raw.adata.obs.assign(in_tissue=1),
        var=raw.adata.var.assign(gene_ids=raw.adata.var_names).set_index("symbol"),
        obsm={"spatial": raw.adata.obsm["spatial"]},
    )
    adata.uns["spatial"] = {
        "library": {
            "images": {"hires": raw.image.astype(np.float32) / 255},
            "scalefactors": {"spot_diameter_fullres": 32.0, "tissue_hires_scalef": 0.25},
        }
    }
    return adata


@pytest.fixture
def cohort(visium_cohort: Cohort) -> Cohort:
    return Cohort.model_validate({**visium_cohort.model_dump(), "format": "anndata"})


def read(path: Path, cohort: Cohort):
    return read_slide(path, cohort, "SIM", "S1")


def test_scanpy_layout(
    tmp_path: Path, foreign: AnnData, cohort: Cohort, visium_slide: SimulatedSlide
) -> None:
    foreign.write_h5ad(tmp_path / "any.h5ad")
    raw, expected = read(tmp_path, cohort), visium_slide.raw
    check(raw.adata, "slide")
    assert (raw.adata.X != expected.adata.X).nnz == 0
    assert raw.adata.var_names.equals(expected.adata.var_names)
    assert raw.adata.var["symbol"].tolist() == expected.adata.var["symbol"].tolist()
    assert np.array_equal(raw.image, expected.image)
    assert raw.image_scale == 0.25


def test_counts_layer_goes_before_x(tmp_path: Path, foreign: AnnData, cohort: Cohort) -> None:
    foreign.layers["counts"] = foreign.X.copy()
    foreign.X = np.log1p(foreign.X.toarray())
    foreign.write_h5ad(tmp_path / "a.h5ad")
    assert read(tmp_path / "a.h5ad", cohort).adata.X.sum() == foreign.layers["counts"].sum()


def test_symbols_only_and_image_beside(
    tmp_path: Path, foreign: AnnData, cohort: Cohort, visium_slide: SimulatedSlide
) -> None:
    del foreign.uns["spatial"], foreign.var["gene_ids"]
    foreign.obs.loc[foreign.obs_names[0], "in_tissue"] = 0
    foreign.write_h5ad(tmp_path / "a.h5ad")
    large = Image.fromarray(visium_slide.raw.image)
    large.resize((large.width * 4, large.height * 4)).save(tmp_path / "he.tif")
    content = cohort.model_dump()
    content["slides"]["S1"]["image"] = "he.tif"
    raw = read(tmp_path / "a.h5ad", Cohort.model_validate(content))
    assert raw.adata.n_obs == 39
    assert raw.adata.var_names[0] == raw.adata.var["symbol"].iloc[0] == "Sim1"
    assert raw.adata.uns["slide"]["spot_diameter_px"] == pytest.approx(32, rel=0.01)


def _log(adata: AnnData) -> None:
    adata.X = adata.X.log1p()


WRONG: dict[str, tuple[Callable[[AnnData], object], str]] = {
    "log values": (_log, "is not a whole number"),
    "no rows": (lambda a: a.obs.drop(columns="array_row", inplace=True), "obs: no array_row"),
    "no positions": (lambda a: a.obsm.clear(), "obsm: no spatial; found nothing"),
    "no image": (lambda a: a.uns.clear(), "no hires image.*'image: null'"),
}


@pytest.mark.parametrize("problem", WRONG)
def test_wrong_input_is_one_clear_error(
    tmp_path: Path, problem: str, foreign: AnnData, cohort: Cohort
) -> None:
    breaks, message = WRONG[problem]
    breaks(foreign)
    foreign.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path / "a.h5ad", cohort)
    assert "a.h5ad" in str(error.value)


def test_truncated_and_web_page(tmp_path: Path, foreign: AnnData, cohort: Cohort) -> None:
    path = tmp_path / "a.h5ad"
    foreign.write_h5ad(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="truncated or damaged"):
        read(path, cohort)
    path.write_text("<html>sign in</html>")
    with pytest.raises(InputError, match="web page"):
        read(path, cohort)


def test_several_files(tmp_path: Path, cohort: Cohort) -> None:
    for name in "ab":
        (tmp_path / f"{name}.h5ad").write_bytes(b"x")
    with pytest.raises(InputError, match=r"2 files could be the slide: a\.h5ad, b\.h5ad"):
        read(tmp_path, cohort)
