"""Space Ranger folders: what is read, and one clear error for each thing that can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from spared_benchmark.errors import InputError
from spared_benchmark.simulation import SimulatedSlide
from spared_benchmark.slides.read import read_slide
from spared_benchmark.slides.schema import check
from spared_benchmark.study import Cohort

MATRIX = "filtered_feature_bc_matrix.h5"
POSITIONS = "spatial/tissue_positions_list.csv"
FACTORS = "spatial/scalefactors_json.json"
IMAGE = "spatial/tissue_hires_image.png"


def read(folder: Path, cohort: Cohort):
    return read_slide(folder, cohort, "SIM", "S1")


def replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    del file[name]
    file[name] = values


def with_image(cohort: Cohort, image: str | None) -> Cohort:
    content = cohort.model_dump()
    content["slides"]["S1"]["image"] = image
    return Cohort.model_validate(content)


def test_reads_the_schema(visium: Path, visium_cohort: Cohort) -> None:
    raw = read(visium, visium_cohort)
    check(raw.adata, "slide")
    facts = raw.adata.uns["slide"]
    assert raw.image_scale == facts["image_scale"] == 0.25
    assert facts["spot_diameter_px"] == 32
    assert facts["um_per_px"] == pytest.approx(100 / (32 / 0.55), rel=0.01)
    assert facts["subject"] == "P1"


def test_positions_are_x_then_y(visium: Path, visium_cohort: Cohort) -> None:
    first = (visium / POSITIONS).read_text().splitlines()
    barcode, _, row, col, y, x = next(line for line in first if line.split(",")[1] == "1").split(
        ","
    )
    adata = read(visium, visium_cohort).adata
    assert adata.obs.loc[barcode, ["array_row", "array_col"]].tolist() == [int(row), int(col)]
    place = adata.obs_names.get_loc(barcode)
    assert adata.obsm["spatial"][place].tolist() == [float(x), float(y)]


def test_header_of_version_2_is_told_by_content(visium: Path, visium_cohort: Cohort) -> None:
    before = read(visium, visium_cohort)
    old = visium / POSITIONS
    header = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"
    (visium / "spatial/tissue_positions.csv").write_text(header + old.read_text())
    old.unlink()
    after = read(visium, visium_cohort)
    assert np.array_equal(after.adata.obsm["spatial"], before.adata.obsm["spatial"])
    assert after.adata.uns["slide"]["source_digest"] != before.adata.uns["slide"]["source_digest"]


def test_spots_outside_the_tissue_are_left_out(visium: Path, visium_cohort: Cohort) -> None:
    names = read(visium, visium_cohort).adata.obs_names
    path = visium / POSITIONS
    path.write_text(path.read_text().replace(f"{names[3]},1", f"{names[3]},0"))
    assert read(visium, visium_cohort).adata.obs_names.tolist() == names.delete(3).tolist()


def test_versions_are_cut_and_duplicates_summed(
    visium: Path, visium_cohort: Cohort, visium_slide: SimulatedSlide
) -> None:
    counts = visium_slide.raw.adata.X.toarray()
    with h5py.File(visium / MATRIX, "r+") as file:
        ids = file["matrix/features/id"].asstr()[:]
        ids[:3] = ["ENSG00000000003.14", "ENSMUSG00000064339.1", "ENSG00000000003.2"]
        replace(file, "matrix/features/id", np.char.encode(ids.astype(str)))
    adata = read(visium, visium_cohort).adata
    assert adata.var_names[:2].tolist() == ["ENSG00000000003", "ENSMUSG00000064339"]
    assert adata.n_vars == 29
    assert np.array_equal(adata.X[:, 0].toarray()[:, 0], counts[:, 0] + counts[:, 2])
    assert adata.X.dtype == np.int32


def test_only_gene_expression_is_read(visium: Path, visium_cohort: Cohort) -> None:
    with h5py.File(visium / MATRIX, "r+") as file:
        kinds = file["matrix/features/feature_type"].asstr()[:].astype("U20")
        kinds[::2] = "Antibody Capture"
        replace(file, "matrix/features/feature_type", np.char.encode(kinds))
    adata = read(visium, visium_cohort).adata
    assert adata.var["symbol"].tolist()[:2] == ["Sim2", "Sim4"]


def test_another_image_is_taken_at_full_resolution(visium: Path, visium_cohort: Cohort) -> None:
    with Image.open(visium / IMAGE) as image:
        image.resize((image.width * 4, image.height * 4)).save(visium / "full.tif")
    raw = read(visium, with_image(visium_cohort, "full.tif"))
    assert raw.image_scale == 1.0
    assert raw.image is not None
    assert raw.centres().max() > 256 * 0.25


def test_no_image(visium: Path, visium_cohort: Cohort) -> None:
    raw = read(visium, with_image(visium_cohort, None))
    assert raw.image is None
    assert raw.adata.uns["slide"]["image"] is False


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _matrix(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        with h5py.File(folder / MATRIX, "r+") as file:
            change(file)

    return apply


def _counts(value: float, kind: type) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        data = file["matrix/data"][:].astype(kind)
        data[5] = value
        replace(file, "matrix/data", data)

    return _matrix(change)


def _positions(change: Callable[[list[list[str]]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / POSITIONS
        table = [line.split(",") for line in path.read_text().splitlines()]
        change(table)
        path.write_text("\n".join(map(",".join, table)) + "\n")

    return apply


def _rename_barcodes(table: list[list[str]]) -> None:
    for line in table:
        line[0] = line[0].removesuffix("-1")


def _lose_one(table: list[list[str]]) -> None:
    table.remove(next(line for line in table if line[1] == "1"))


def _odd(table: list[list[str]]) -> None:
    for line in table:
        line[3] = str(int(line[3]) + 1)


def _swap_lattice(table: list[list[str]]) -> None:
    for line in table:
        line[2], line[3] = line[3], line[2]


def _shift(table: list[list[str]]) -> None:
    for line in table:
        line[5] = str(int(line[5]) + 1200)


def _duplicate(file: h5py.File) -> None:
    names = file["matrix/barcodes"][:]
    names[1] = names[0]
    replace(file, "matrix/barcodes", names)


def _transpose(file: h5py.File) -> None:
    replace(file, "matrix/shape", file["matrix/shape"][:][::-1])


def _external(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as target:
        target["data"] = file["matrix/data"][:]
    del file["matrix/data"]
    file["matrix/data"] = h5py.ExternalLink(other.name, "data")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no matrix": (lambda f: (f / MATRIX).unlink(), "no count matrix .*holds spatial"),
    "two matrices": (
        lambda f: (f / f"raw_{MATRIX}").write_bytes(b"x"),
        "2 files could be the count matrix",
    ),
    "truncated matrix": (lambda f: _truncate(f / MATRIX), "truncated or damaged"),
    "empty matrix": (lambda f: (f / MATRIX).write_bytes(b""), "0 bytes"),
    "web page": (
        lambda f: (f / MATRIX).write_text("<!DOCTYPE html><html>404</html>"),
        "is a web page, not HDF5",
    ),
    "not HDF5": (lambda f: (f / MATRIX).write_text("counts"), "is not HDF5"),
    "old matrix": (_matrix(lambda f: f.move("matrix", "GRCh38")), "no dataset.*holds GRCh38"),
    "transposed": (_matrix(_transpose), "'matrix/shape' says .*transposed"),
    "external link": (_matrix(_external), "points to another file"),
    "negative": (_counts(-3, np.int32), "-3 is negative"),
    "not whole": (_counts(0.5, np.float32), "0.5 is not a whole number"),
    "not finite": (_counts(np.nan, np.float32), "nan is not finite"),
    "too large": (_counts(2**40, np.int64), "does not fit into 32 bit"),
    "no molecule": (
        _matrix(lambda f: replace(f, "matrix/data", f["matrix/data"][:] * 0)),
        "no molecule",
    ),
    "no genes": (
        _matrix(
            lambda f: replace(f, "matrix/features/feature_type", np.full(30, b"Antibody Capture"))
        ),
        "no feature of type 'Gene Expression'; found Antibody Capture",
    ),
    "duplicate barcode": (_matrix(_duplicate), "1 barcodes occur more than once"),
    "no positions": (lambda f: (f / POSITIONS).unlink(), "no table of positions"),
    "suffix": (_positions(_rename_barcodes), "none of its 40 barcodes.*differ by their suffix"),
    "some barcodes": (_positions(_lose_one), "1 of its 40 barcodes are not in"),
    "five columns": (_positions(lambda t: [line.pop() for line in t]), "found 5 columns"),
    "a word": (_positions(lambda t: t[2].__setitem__(4, "NA")), "line 3: .*five numbers"),
    "parity": (_positions(_odd), "row \\+ column is odd for 40 of 40"),
    "swapped lattice": (_positions(_swap_lattice), "do not belong together"),
    "outside": (_positions(_shift), "spot centres lie outside the image"),
    "scale factors": (lambda f: (f / FACTORS).write_text("{}"), "'spot_diameter_fullres': found"),
    "zero scale": (
        lambda f: (f / FACTORS).write_text(
            json.dumps({"spot_diameter_fullres": 32, "tissue_hires_scalef": 0})
        ),
        "'tissue_hires_scalef': found 0",
    ),
    "no JSON": (lambda f: (f / FACTORS).write_text("{"), "is not JSON"),
    "no image": (lambda f: (f / IMAGE).unlink(), "the image is missing"),
    "truncated image": (lambda f: _truncate(f / IMAGE), "truncated or damaged"),
    "image is a page": (lambda f: (f / IMAGE).write_text("<html>"), "is no image"),
    "blank image": (
        lambda f: Image.new("RGB", (300, 300), "white").save(f / IMAGE),
        "the image is blank",
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_wrong_input_is_one_clear_error(problem: str, visium: Path, visium_cohort: Cohort) -> None:
    breaks, message = WRONG[problem]
    breaks(visium)
    with pytest.raises(InputError, match=message) as error:
        read(visium, visium_cohort)
    assert str(visium) in str(error.value)


def test_wrong_folder(tmp_path: Path, visium_cohort: Cohort) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read(tmp_path / "absent", visium_cohort)
    (tmp_path / "outs").mkdir()
    (tmp_path / "outs" / "web_summary.html").write_text("x")
    with pytest.raises(InputError, match=r"is this 'outs'.*holds web_summary\.html"):
        read(tmp_path / "outs", visium_cohort)


@pytest.mark.real
def test_real_section(real_data: Path, visium_cohort: Cohort) -> None:
    content = visium_cohort.model_dump()
    content |= {"organism": "human", "simulation": None}
    content["slides"] = {
        "V19D02-088_A1": {"subject": "a", "split": "train"},
        "V19D02-088_B1": {"subject": "b", "split": "val"},
    }
    cohort = Cohort.model_validate(content)
    folder = real_data / "villacampa_lung_organoid" / "V19D02-088_A1"
    raw = read_slide(folder, cohort, "VLO", "V19D02-088_A1")
    assert raw.adata.shape == (416, 33_538)
    assert np.median(np.asarray(raw.adata.X.sum(axis=1))) == 3344
    assert raw.adata.uns["slide"]["um_per_px"] == pytest.approx(0.1716, abs=1e-3)
