"""A look at a slide's files before a run: are they there at all? Nothing is opened."""

from __future__ import annotations

import re
from pathlib import Path

_TABLES = re.compile(r"\.tsv(\.gz)?$")
_SELECTION = re.compile(r"selection|alignment", re.IGNORECASE)
_IMAGES = re.compile(r"\.(jpe?g|png|tiff?)$", re.IGNORECASE)


def missing_files(path: Path, slide_format: str, image: str | None) -> str | None:
    """Return what a slide lacks, as a sentence for a person, or None.

    Args:
        path: The slide's folder, or its h5ad file; the cohort's with the format ``spared``.
        slide_format: Of the cohort.
        image: The image that the slide's definition names, ``hires`` or None.
    """
    if not path.exists():
        return f"{path} does not exist"
    if path.is_file():
        if slide_format == "spared" and not _has_image(path.parent, slide_format, image or "hires"):
            return f"{path.parent} lacks the image {image}"
        whole = slide_format in ("anndata", "spared")
        return None if whole else f"{path} is a file; a folder is expected"
    lacking = _FORMATS[slide_format](path)
    if image is not None and not _has_image(path, slide_format, image):
        picture = "spatial/tissue_hires_image.png" if slide_format == "space_ranger" else "an image"
        name = picture if image == "hires" else image
        lacking.append(f"the image {name} (a slide that has none says image: null)")
    return f"{path} lacks {', '.join(lacking)}" if lacking else None


def source_files(path: Path, slide_format: str, image: str | None) -> list[Path]:
    """Return the files that a slide is read from, those that are there.

    A folder is read whole, but with the format ``spared``: beside ``adata.h5ad`` may lie other
    files of the published collection, and images of other slides.
    """
    if slide_format != "spared":
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        return [file for file in files if file.is_file()]
    folder = path if path.is_dir() else path.parent
    found = [path] if path.is_file() else _published(folder)
    named = [] if image in (None, "hires") else [folder / str(image)]
    return [file for file in [*found, *named] if file.is_file()]


def _published(folder: Path) -> list[Path]:
    usual = folder / "adata.h5ad"
    return [usual] if usual.is_file() else sorted(folder.glob("*.h5ad"))


def _space_ranger(path: Path) -> list[str]:
    spatial = path / "spatial"
    positions = ("tissue_positions_list.csv", "tissue_positions.csv")
    there = {
        "filtered_feature_bc_matrix.h5": any(path.glob("*filtered_feature_bc_matrix.h5")),
        "spatial/scalefactors_json.json": (spatial / "scalefactors_json.json").is_file(),
        f"spatial/{positions[0]}": any((spatial / name).is_file() for name in positions),
    }
    return [name for name, found in there.items() if not found]


def _legacy_st(path: Path) -> list[str]:
    tables = [file.name for file in path.iterdir() if _TABLES.search(file.name)]
    selections = [name for name in tables if _SELECTION.search(name)]
    lacking = [] if len(tables) > len(selections) else ["a table of counts (*.tsv or *.tsv.gz)"]
    return lacking + ([] if selections else ["a table of selected spots (*selection*.tsv)"])


def _anndata(path: Path) -> list[str]:
    return [] if any(path.glob("*.h5ad")) else ["an h5ad file"]


def _spared(path: Path) -> list[str]:
    return [] if _published(path) else ["adata.h5ad"]


_FORMATS = {
    "space_ranger": _space_ranger,
    "legacy_st": _legacy_st,
    "anndata": _anndata,
    "spared": _spared,
}


def _has_image(path: Path, slide_format: str, image: str) -> bool:
    if image != "hires":
        return (path / image).is_file()
    if slide_format in ("anndata", "spared"):
        return True  # it lies within the file, which is not opened here
    if slide_format == "space_ranger":
        return (path / "spatial" / "tissue_hires_image.png").is_file()
    return sum(bool(_IMAGES.search(file.name)) for file in path.iterdir()) == 1
