"""Contracts of AnnData files: the first broken key is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from spared_benchmark.errors import ContractError
from spared_benchmark.simulation import SimulatedSlide
from spared_benchmark.slides.schema import SCHEMAS, check, stamp


@pytest.fixture
def slide(visium_slide: SimulatedSlide) -> AnnData:
    return visium_slide.raw.adata.copy()


def test_survives_the_file(tmp_path: Path, visium_slide: SimulatedSlide) -> None:
    for name, adata in (("slide", visium_slide.raw.adata), ("truth", visium_slide.truth)):
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        check(anndata.read_h5ad(tmp_path / f"{name}.h5ad"), name)


def test_unknown_schema_suggests_the_nearest(slide: AnnData) -> None:
    with pytest.raises(ContractError, match="did you mean 'expression'"):
        check(slide, "expresion")
    with pytest.raises(ContractError, match=", ".join(SCHEMAS)):
        stamp(slide, "?")


WRONG: dict[str, tuple[Callable[[AnnData], object], str]] = {
    "unstamped": (lambda a: a.uns.pop("schema"), r"uns\['schema'\]: needs a name and a version"),
    "other schema": (lambda a: stamp(a, "truth"), r"needs 'slide'; found 'truth'"),
    "future": (lambda a: a.uns["schema"].update(version=99), r"newer release.*found 99"),
    "float counts": (lambda a: setattr(a, "X", a.X.astype(np.float32)), "X: needs a CSR matrix"),
    "dense": (lambda a: setattr(a, "X", a.X.toarray()), "X: needs a CSR matrix"),
    "no column": (lambda a: a.obs.pop("array_row"), r"obs\['array_row'\]: needs this key"),
    "kind": (
        lambda a: a.obs.__setitem__("array_row", 0.5),
        r"obs\['array_row'\]: needs a column of kind integer; found float64",
    ),
    "positions": (
        lambda a: a.obsm.__setitem__("spatial", np.zeros((40, 3))),
        r"obsm\['spatial'\]: needs float64 \(n_spots, 2\)",
    ),
    "fact": (lambda a: a.uns["slide"].pop("um_per_px"), r"uns\['slide'\]\['um_per_px'\]"),
    "fact kind": (lambda a: a.uns["slide"].update(image="yes"), "kind flag; found 'yes'"),
    "scale": (lambda a: a.uns["slide"].pop("image_scale"), r"\['image_scale'\].*found nothing"),
    "twice": (
        lambda a: setattr(a, "obs_names", pd.Index(["x"] * a.n_obs)),
        "obs_names: needs unique names; found 'x' more than once",
    ),
}


@pytest.mark.parametrize("problem", WRONG)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_first_broken_key_is_named(problem: str, slide: AnnData) -> None:
    breaks, message = WRONG[problem]
    breaks(slide)
    with pytest.raises(ContractError, match=message):
        check(slide, "slide")


def test_layers_are_checked() -> None:
    adata = stamp(
        AnnData(obs=pd.DataFrame({"slide": ["a"], "split": ["val"]}, index=["s"])), "completed"
    )
    with pytest.raises(ContractError, match="layers: needs at least one layer"):
        check(adata, "completed")
    adata = AnnData(np.zeros((1, 1)), obs=adata.obs, layers={"median": np.array([[np.nan]])})
    with pytest.raises(ContractError, match=r"layers\['median'\]: needs finite values"):
        check(stamp(adata, "completed"), "completed")
    adata.layers["median"][:] = 1
    check(adata, "completed")
    adata.obs["split"] = "fold1"
    with pytest.raises(ContractError, match=r"obs\['split'\].*found fold1"):
        check(adata, "completed")
