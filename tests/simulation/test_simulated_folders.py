"""What the simulation writes, our readers and scanpy read back exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spared_benchmark.catalog.anndata_file import AnnDataDataset
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.simulation import (
    simulate_slide,
    write_gene_lengths,
    write_slide,
    write_space_ranger,
)
from spared_benchmark.simulation.genes import simulated_gene_lengths
from spared_benchmark.simulation.sites import barcodes, lattice_points
from spared_benchmark.slides.read import read_slide
from spared_benchmark.study import Cohort

LAYOUTS = [
    ("hexagonal", "space_ranger", "hires"),
    ("hexagonal", "space_ranger", "he/full.png"),
    ("square", "legacy_st", "hires"),
    ("diamond", "legacy_st", "tissue.png"),
    ("square", "legacy_st", None),
]


def make_cohort(lattice: str, layout: str, image: str | None) -> Cohort:
    slide = {"image": image, "subject": "P"}
    return Cohort.model_validate(
        {
            "title": "test",
            "organism": "simulated",
            "tissue": "simulated",
            "lattice": lattice,
            "format": layout,
            "licence": "CC0-1.0",
            "citation": "none",
            "simulation": {"spots": 50, "genes": 40, "spot_diameter_px": 8},
            "slides": {"S1": slide | {"split": "train"}, "S2": slide | {"split": "val"}},
        }
    )


@pytest.mark.parametrize(("lattice", "layout", "image"), LAYOUTS)
def test_round_trip(tmp_path: Path, lattice: str, layout: str, image: str | None) -> None:
    cohort = make_cohort(lattice, layout, image)
    made = simulate_slide(cohort, "SIM", "S1")
    write_slide(tmp_path / "S1", made, cohort)
    write_slide(tmp_path / "S1", made, cohort)  # writing again replaces the folder
    read = read_slide(tmp_path / "S1", cohort, "SIM", "S1")
    before, after = made.raw.adata, read.adata
    assert (before.X != after.X).nnz == 0
    assert before.obs.equals(after.obs)
    assert before.var_names.equals(after.var_names)
    assert np.array_equal(before.obsm["spatial"], after.obsm["spatial"])
    facts = before.uns["slide"] | {"source_digest": after.uns["slide"]["source_digest"]}
    assert facts == after.uns["slide"]
    assert read.image_scale == made.raw.image_scale
    assert image is None or np.array_equal(made.raw.image, read.image)
    assert [path.name for path in tmp_path.iterdir()] == ["S1"], "nothing is left behind"


def test_a_jpeg_is_close(tmp_path: Path) -> None:
    cohort = make_cohort("square", "legacy_st", "tissue.jpg")
    made = simulate_slide(cohort, "SIM", "S1")
    write_slide(tmp_path / "S1", made, cohort)
    read = read_slide(tmp_path / "S1", cohort, "SIM", "S1")
    difference = np.abs(read.image.astype(int) - made.raw.image)
    assert difference.mean() < 5


def test_the_same_slide_gives_the_same_bytes(tmp_path: Path) -> None:
    for layout, lattice in (("space_ranger", "hexagonal"), ("legacy_st", "square")):
        cohort = make_cohort(lattice, layout, "hires")
        digests = []
        for name in ("one", "two"):
            write_slide(tmp_path / name, simulate_slide(cohort, "SIM", "S1"), cohort)
            raw = read_slide(tmp_path / name, cohort, "SIM", "S1")
            digests.append(raw.adata.uns["slide"]["source_digest"])
        assert digests[0] == digests[1]


def test_scanpy_reads_the_matrix(tmp_path: Path) -> None:
    scanpy = pytest.importorskip("scanpy")
    made = simulate_slide(make_cohort("hexagonal", "space_ranger", "hires"), "SIM", "S1")
    write_space_ranger(tmp_path / "S1", made)
    read = scanpy.read_10x_h5(tmp_path / "S1" / "filtered_feature_bc_matrix.h5")
    assert read.obs_names.equals(made.raw.adata.obs_names)
    assert read.var["gene_ids"].tolist() == made.raw.adata.var_names.tolist()
    assert (read.X != made.raw.adata.X).nnz == 0


def test_positions_list_holds_the_whole_lattice(tmp_path: Path) -> None:
    made = simulate_slide(make_cohort("hexagonal", "space_ranger", "hires"), "SIM", "S1")
    write_space_ranger(tmp_path / "S1", made)
    text = (tmp_path / "S1/spatial/tissue_positions_list.csv").read_text()
    flags = [line.split(",")[1] for line in text.splitlines()]
    assert flags.count("1") == 50
    assert flags.count("0") > 5


def test_truth_and_lengths(tmp_path: Path) -> None:
    cohort = make_cohort("square", "legacy_st", None)
    made = simulate_slide(cohort, "SIM", "S1")
    file = AnnDataDataset(filepath=str(tmp_path / "S1.truth.h5ad"), schema="truth")
    file.save(made.truth)
    truth = file.load()
    for layer in ("share", "log_tpm_true"):
        assert np.array_equal(truth.layers[layer], made.truth.layers[layer])
    write_gene_lengths(tmp_path / "lengths.tsv.gz", simulated_gene_lengths(cohort, "SIM"))
    import pandas as pd

    assert pd.read_csv(tmp_path / "lengths.tsv.gz", sep="\t").equals(
        simulated_gene_lengths(cohort, "SIM")
    )


def test_barcodes_are_unique_and_the_same_on_every_slide() -> None:
    row, col = lattice_points(78, 128, "hexagonal")
    names = barcodes(row, col, "hexagonal")
    assert len(set(names.tolist())) == len(row) == 4992
    assert all(len(name) == 18 and set(name[:16]) <= set("ACGT") for name in names.tolist())
    some = np.array([5, 900])
    assert barcodes(row[some], col[some], "hexagonal").tolist() == names[some].tolist()
    assert barcodes(np.array([14]), np.array([10]), "square").tolist() == ["10x14"]


def test_a_format_that_is_not_written(tmp_path: Path) -> None:
    cohort = make_cohort("square", "anndata", None)
    with pytest.raises(ConfigurationError, match="space_ranger or legacy_st; found 'anndata'"):
        write_slide(tmp_path / "S1", simulate_slide(cohort, "SIM", "S1"), cohort)
