"""A look at a slide's files before a run: are they there at all? Nothing is opened."""

from __future__ import annotations

from pathlib import Path

_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "space_ranger": (
        ("*filtered_feature_bc_matrix.h5",),
        ("spatial/tissue_positions_list.csv", "spatial/tissue_positions.csv"),
        ("spatial/scalefactors_json.json",),
    ),
    "legacy_st": (("*.tsv", "*.tsv.gz"), ("*selection*.tsv*", "*alignment*.tsv*")),
    "anndata": (("*.h5ad",),),
}


def missing_files(path: Path, slide_format: str, image: str | None) -> str | None:
    """Return what a slide lacks, as a sentence for a person, or None.

    Args:
        path: The slide's folder, or its h5ad file.
        slide_format: Of the cohort.
        image: The image that the slide's definition names, ``hires`` or None.
    """
    if not path.exists():
        return f"{path} does not exist"
    if path.is_file():
        return None if slide_format == "anndata" else f"{path} is a file; a folder is expected"
    lacking = [
        " or ".join(patterns) for patterns in _NEEDED[slide_format] if not _any(path, patterns)
    ]
    picture = "spatial/tissue_hires_image.png" if image == "hires" else image
    within = image == "hires" and slide_format != "space_ranger"
    if picture is not None and not within and not _any(path, (picture,)):
        lacking.append(f"the image {picture} (a slide that has none says image: null)")
    return f"{path} lacks {', '.join(lacking)}" if lacking else None


def _any(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(any(path.glob(pattern)) for pattern in patterns)
