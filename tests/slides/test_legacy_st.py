"""Legacy ST folders: what is read, and one clear error for each thing that can be wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.simulation import SimulatedSlide
from spared_benchmark.slides.read import read_slide
from spared_benchmark.slides.schema import check
from spared_benchmark.study import Cohort

COUNTS = "S1.tsv.gz"
SELECTION = "S1_selection.tsv"


def read(folder: Path, cohort: Cohort):
    return read_slide(folder, cohort, "SIM", "S1")


def counts_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / COUNTS, sep="\t", index_col=0)


def write_counts(folder: Path, counts: pd.DataFrame) -> None:
    counts.to_csv(folder / COUNTS, sep="\t")


def test_reads_the_schema(legacy: Path, legacy_cohort: Cohort) -> None:
    raw = read(legacy, legacy_cohort)
    check(raw.adata, "slide")
    facts = raw.adata.uns["slide"]
    assert facts["spot_diameter_px"] == pytest.approx(8)
    assert facts["um_per_px"] == pytest.approx(200 / 16)
    x, y = np.array([name.split("x") for name in raw.adata.obs_names], dtype=int).T
    assert (raw.adata.obs["array_col"] == x).all()
    assert (raw.adata.obs["array_row"] == y).all()


def test_only_selected_spots_with_counts(legacy: Path, legacy_cohort: Cohort) -> None:
    counts = counts_of(legacy)
    write_counts(legacy, counts.iloc[1:])  # the first spot has no counts
    path = legacy / SELECTION
    table = pd.read_csv(path, sep="\t")
    x, y = map(int, counts.index[2].split("x"))
    table.loc[(table["x"] == x) & (table["y"] == y), "selected"] = 0
    table.to_csv(path, sep="\t", index=False)
    names = read(legacy, legacy_cohort).adata.obs_names.tolist()
    assert names == counts.index.drop([counts.index[0], counts.index[2]]).tolist()


def test_alignment_layout_plain_text_and_versioned_ids(
    legacy: Path, legacy_cohort: Cohort, legacy_slide: SimulatedSlide
) -> None:
    counts = counts_of(legacy)
    counts.columns = [f"ENSMUSG{number:011d}.{number}" for number in range(1, 31)]
    (legacy / COUNTS).unlink()
    counts.to_csv(legacy / "S1.tsv", sep="\t")
    (legacy / SELECTION).rename(legacy / "alignment_table_S1.tsv")
    adata = read(legacy, legacy_cohort).adata
    assert adata.var_names[4] == "ENSMUSG00000000005" == adata.var["symbol"].iloc[4]
    assert np.array_equal(adata.X.toarray(), legacy_slide.raw.adata.X.toarray())


def test_duplicate_symbols_are_summed_and_dots_kept(legacy: Path, legacy_cohort: Cohort) -> None:
    counts = counts_of(legacy)
    summed = counts.iloc[:, 1] + counts.iloc[:, 7]
    names = [f"G{number}" for number in range(30)]
    names[1] = names[7] = "FO538757.1"
    header = "\t".join(["", *names])
    text = counts.to_csv(sep="\t", header=False)
    (legacy / COUNTS).write_bytes(gzip.compress(f"{header}\n{text}".encode()))
    adata = read(legacy, legacy_cohort).adata
    assert adata.n_vars == 29
    assert adata[:, "FO538757.1"].X.toarray()[:, 0].tolist() == summed.tolist()


def test_gzip_is_told_by_content(legacy: Path, legacy_cohort: Cohort) -> None:
    (legacy / COUNTS).rename(legacy / "S1.tsv")
    assert read(legacy, legacy_cohort).adata.n_obs == 40


def test_header_without_corner(legacy: Path, legacy_cohort: Cohort) -> None:
    text = gzip.decompress((legacy / COUNTS).read_bytes()).decode()
    (legacy / COUNTS).write_bytes(gzip.compress(text.lstrip("\t").encode()))
    assert read(legacy, legacy_cohort).adata.n_vars == 30


def _change_counts(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    return lambda folder: write_counts(folder, change(counts_of(folder)))


def _set(value: object) -> Callable[[Path], None]:
    def change(counts: pd.DataFrame) -> pd.DataFrame:
        counts = counts.astype(object)
        counts.iloc[2, 3] = value
        return counts

    return _change_counts(change)


def _duplicate(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.rename(index={counts.index[1]: counts.index[0]})


def _drop_column(folder: Path) -> None:
    path = folder / SELECTION
    pd.read_csv(path, sep="\t").drop(columns="pixel_x").to_csv(path, sep="\t", index=False)


def _none_selected(folder: Path) -> None:
    path = folder / SELECTION
    pd.read_csv(path, sep="\t").assign(selected=0).to_csv(path, sep="\t", index=False)


def _selected_twice(folder: Path) -> None:
    path = folder / SELECTION
    table = pd.read_csv(path, sep="\t")
    table = pd.concat([table, table[table["selected"] == 1].head(1)])
    table.to_csv(path, sep="\t", index=False)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "transposed": (_change_counts(lambda c: c.T), "the table is transposed"),
    "not spots": (
        _change_counts(lambda c: c.set_axis([f"spot{i}" for i in range(40)])),
        "found 'spot0'",
    ),
    "not whole": (_set(0.25), "0.25 is not a whole number"),
    "negative": (_set(-1), "-1.0 is negative"),
    "a hole": (_set(None), "a value is no number"),
    "a word": (_set("many"), "a value is no number"),
    "no overlap": (
        _change_counts(lambda c: c.set_axis([f"{i + 500}x1" for i in range(40)])),
        "none of its 40 spots",
    ),
    "duplicate spot": (_change_counts(_duplicate), "1 barcodes occur more than once"),
    "no counts": (lambda f: (f / COUNTS).unlink(), "no table of counts"),
    "two counts": (lambda f: (f / "more.tsv").write_text("x"), "2 files could be the table of c"),
    "no selection": (lambda f: (f / SELECTION).unlink(), "no table of selected spots"),
    "column": (_drop_column, "no column pixel_x; found x, y"),
    "none selected": (_none_selected, "rows with selected = 1 are needed.*found none"),
    "selected twice": (_selected_twice, "is selected more than once"),
    "damaged gzip": (
        lambda f: (f / COUNTS).write_bytes((f / COUNTS).read_bytes()[:200]),
        "cannot be read as text",
    ),
    "web page": (lambda f: (f / COUNTS).write_text("<html>no</html>"), "is a web page"),
    "empty": (lambda f: (f / COUNTS).write_bytes(b""), "0 bytes"),
    "no image": (lambda f: (f / "S1.png").unlink(), "no image .*image: null"),
    "two images": (
        lambda f: (f / "b.jpg").write_bytes((f / "S1.png").read_bytes()),
        "2 files could be the image",
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_wrong_input_is_one_clear_error(problem: str, legacy: Path, legacy_cohort: Cohort) -> None:
    breaks, message = WRONG[problem]
    breaks(legacy)
    with pytest.raises(InputError, match=message) as error:
        read(legacy, legacy_cohort)
    assert str(legacy) in str(error.value)


def test_a_diamond_mixes_no_parities(legacy: Path, legacy_cohort: Cohort) -> None:
    diamond = Cohort.model_validate({**legacy_cohort.model_dump(), "lattice": "diamond"})
    with pytest.raises(InputError, match="on a diamond lattice it is odd for all or for none"):
        read(legacy, diamond)


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "slide", "lattice", "image", "spots", "median"),
    [
        ("andersson_her2st", "B4", "square", "BT10737_D2_HE.jpg", 283, 648),
        ("stutility_mouse_olfactory_bulb", "MOB2", "diamond", "MOB2.jpg", 407, 2424),
    ],
)
def test_real_section(
    real_data: Path,
    legacy_cohort: Cohort,
    folder: str,
    slide: str,
    lattice: str,
    image: str,
    spots: int,
    median: int,
) -> None:
    content = legacy_cohort.model_dump()
    content |= {"organism": "human", "simulation": None, "lattice": lattice, "pitch_um": None}
    content["slides"] = {
        slide: {"subject": "a", "split": "train", "image": image},
        "other": {"subject": "b", "split": "val"},
    }
    cohort = Cohort.model_validate(content)
    adata = read_slide(real_data / folder / slide, cohort, "REAL", slide).adata
    assert adata.n_obs == spots
    assert np.median(np.asarray(adata.X.sum(axis=1))) == median
