"""Reading one slide of a cohort, whatever its format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spared_benchmark.errors import ConfigurationError, nearest
from spared_benchmark.slides.anndata_file import read_anndata_file
from spared_benchmark.slides.assemble import assemble
from spared_benchmark.slides.legacy_st import read_legacy_st
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.slides.space_ranger import read_space_ranger
from spared_benchmark.slides.spared_file import read_spared_slide
from spared_benchmark.study import Cohort

_READERS = {
    "space_ranger": read_space_ranger,
    "legacy_st": read_legacy_st,
    "anndata": read_anndata_file,
}


def read_slide(path: Path, cohort: Cohort, code: str, slide: str) -> RawSlide:
    """Read one slide.

    Args:
        path: The slide's folder or file; the cohort's in the format ``spared``.
        cohort: Its format, lattice and the definition of the slide.
        code: Of the cohort.
        slide: A key of ``cohort.slides``.

    Returns:
        Counts after the schema ``slide``, and the image when the definition names one.

    Raises:
        ConfigurationError: When the cohort has no such slide.
        InputError: When what lies at ``path`` cannot be a slide of this format.
    """
    if slide not in cohort.slides:
        known = ", ".join(cohort.slides)
        msg = f"cohort {code}: no slide {slide!r}{nearest(slide, cohort.slides)}; it has {known}"
        raise ConfigurationError(msg)
    image = cohort.slides[slide].image
    if cohort.format == "spared":
        parts, patches = read_spared_slide(Path(path), slide, image)
        return replace(assemble(parts, cohort, code, slide), patches=patches)
    parts = _READERS[cohort.format](Path(path), image)
    return assemble(parts, cohort, code, slide)
