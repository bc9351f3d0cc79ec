"""What a cohort's definition says beside its slides: filter, simulation, printed figures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from spared_benchmark.settings_model import Settings

Fraction = Annotated[float, Field(gt=0, lt=1)]


class FilterSettings(Settings):
    """Quality limits on raw counts; the defaults are those of the published cohorts.

    Attributes:
        spot_counts: A spot is kept when its total lies strictly between the two.
        gene_counts: A gene is kept when its total lies strictly between the two.
        rule: ``running_mean`` (the published library) or ``thresholds`` (the paper's text).
        mean_fraction: Of ``running_mean``: of the genes from the most to the least widely
            expressed, all are kept up to the last one at which the mean of the expressed fractions
            so far is at least this.
        slide_fraction: Of ``thresholds``: the least share of spots that express a gene, on
            every slide.
        overall_fraction: Of ``thresholds``: the same over all spots together.
    """

    spot_counts: tuple[float, float] = (10, 1_000_000)
    gene_counts: tuple[float, float] = (10, 1_000_000)
    rule: Literal["running_mean", "thresholds"] = "running_mean"
    mean_fraction: Fraction = 0.7
    slide_fraction: Annotated[float, Field(ge=0, le=1)] = 0.3
    overall_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5

    @field_validator("spot_counts", "gene_counts")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] < limits[1]:
            msg = "limits are [low, high] with 0 <= low < high"
            raise ValueError(msg)
        return limits


class SimulationSettings(Settings):
    """Tissue made by the computer, with known truth.

    Attributes:
        spots: Spots of each slide (about: the tissue has a ragged border).
        genes: Genes measured; those that the filter keeps are fewer.
        median_counts: Median UMI of a spot.
        regions: Tissue regions, each with its own expression programme and its own look.
        programmes: Smooth programmes beside the regions.
        image_signal: From 0 (the image tells nothing) to 1 (it shows every region and programme).
        batch_effect: Standard deviation of the gene-wise offsets of a slide, log2 units.
        subject_effect: The same for subjects.
        spot_diameter_px: Diameter of a spot in the image, pixels.
        seed: Same seed, same tissue.
    """

    spots: Annotated[int, Field(ge=10, le=20_000)] = 200
    genes: Annotated[int, Field(ge=8, le=40_000)] = 200
    median_counts: Annotated[float, Field(gt=0)] = 400.0
    regions: Annotated[int, Field(ge=1, le=12)] = 4
    programmes: Annotated[int, Field(ge=0, le=8)] = 2
    image_signal: Annotated[float, Field(ge=0, le=1)] = 1.0
    batch_effect: Annotated[float, Field(ge=0)] = 0.3
    subject_effect: Annotated[float, Field(ge=0)] = 0.2
    spot_diameter_px: Annotated[int, Field(ge=4, le=400)] = 24
    seed: int = 0


class PublishedFigures(Settings):
    """What the paper's Table 1 prints for a cohort."""

    slides: int
    subjects: int
    spots: int
    missing_before: float
    missing_after: float
