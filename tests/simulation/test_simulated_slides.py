"""Simulated tissue: what is promised of it, and that its image tells of its expression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.simulation import SimulatedSlide, simulate_slide, simulated_gene_lengths
from spared_benchmark.slides.schema import check
from spared_benchmark.study import Cohort


def make_cohort(
    lattice: str = "hexagonal", layout: str = "space_ranger", **simulation: Any
) -> Cohort:
    slides = {
        "A1": {"subject": "A", "split": "train"},
        "A2": {"subject": "A", "split": "train"},
        "B1": {"subject": "B", "split": "val"},
        "C1": {"subject": "C", "split": "test", "image": None},
    }
    return Cohort.model_validate(
        {
            "title": "test",
            "organism": "simulated",
            "tissue": "simulated",
            "lattice": lattice,
            "format": layout,
            "licence": "CC0-1.0",
            "citation": "none",
            "simulation": simulation,
            "slides": slides,
        }
    )


def small(lattice: str = "hexagonal", layout: str = "space_ranger", **more: Any) -> Cohort:
    return make_cohort(lattice, layout, spots=50, genes=40, spot_diameter_px=8, **more)


@pytest.fixture(scope="module")
def default() -> dict[str, SimulatedSlide]:
    cohort = make_cohort(spot_diameter_px=16)
    return {name: simulate_slide(cohort, "SIM", name) for name in ("A1", "A2", "B1")}


@pytest.mark.parametrize("lattice", ["hexagonal", "square", "diamond"])
def test_contracts_on_every_lattice(lattice: str) -> None:
    slide = simulate_slide(small(lattice, "legacy_st"), "SIM", "A1")
    check(slide.raw.adata, "slide")
    check(slide.truth, "truth")
    assert slide.raw.adata.shape == slide.truth.shape == (50, 40)
    row, col = slide.raw.adata.obs["array_row"], slide.raw.adata.obs["array_col"]
    assert lattice == "square" or ((row + col) % 2 == 0).all()
    height, width = slide.raw.image.shape[:2]
    centres = slide.raw.centres()
    assert (centres > 8).all()
    assert (centres < np.array([width, height]) - 8).all()
    assert len(np.unique(row)) > 3, "a ragged piece of tissue, not a line"
    box = (np.ptp(row) + 1) * (np.ptp(col) + 1) / (1 if lattice == "square" else 2)
    assert box > 55, "not the full rectangle"


def test_same_names_same_tissue_whatever_the_order() -> None:
    cohort = small()
    first = [simulate_slide(cohort, "SIM", name) for name in ("A1", "A2")]
    second = [simulate_slide(cohort, "SIM", name) for name in ("A2", "A1")][::-1]
    for one, other in zip(first, second, strict=True):
        assert (one.raw.adata.X != other.raw.adata.X).nnz == 0
        assert np.array_equal(one.raw.image, other.raw.image)
        assert np.array_equal(one.truth.layers["log_tpm_true"], other.truth.layers["log_tpm_true"])
    assert (first[0].raw.adata.X != first[1].raw.adata.X).nnz > 0
    reseeded = simulate_slide(small(seed=1), "SIM", "A1")
    assert (first[0].raw.adata.X != reseeded.raw.adata.X).nnz > 0


def test_counts_follow_the_truth(default: dict[str, SimulatedSlide]) -> None:
    slide = default["A1"]
    counts = slide.raw.adata.X.toarray()
    share = slide.truth.layers["share"]
    assert share.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-4)
    expected = share * counts.sum(axis=1, keepdims=True)
    assert counts.sum(axis=0) == pytest.approx(expected.sum(axis=0), rel=0.25, abs=40)
    length = slide.truth.var["gene_length"].to_numpy()
    tpm = share / length
    tpm = 1e6 * tpm / tpm.sum(axis=1, keepdims=True)
    assert np.allclose(slide.truth.layers["log_tpm_true"], np.log2(tpm + 1), atol=1e-4)
    assert np.median(counts.sum(axis=1)) == pytest.approx(400, rel=0.1)


def test_about_half_of_the_genes_are_seen_widely(default: dict[str, SimulatedSlide]) -> None:
    seen = np.min([(slide.raw.adata.X > 0).mean(axis=0) for slide in default.values()], axis=0)
    descending = np.sort(np.ravel(seen))[::-1]
    passing = (np.cumsum(descending) / np.arange(1, 201) >= 0.7).sum()
    assert 80 <= passing <= 140


@pytest.mark.parametrize(("of", "shared"), [("batch_effect", False), ("subject_effect", True)])
def test_offsets_of_slides_and_subjects(of: str, shared: bool) -> None:
    none = {"batch_effect": 0.0, "subject_effect": 0.0}
    offsets = []
    for name in ("A1", "A2"):  # two slides of one subject
        plain = simulate_slide(small(**none), "SIM", name).truth.layers["share"]
        moved = simulate_slide(small(**none | {of: 1.0}), "SIM", name).truth.layers["share"]
        offsets.append(np.log2(moved / plain).mean(axis=0))
    assert np.std(offsets, axis=1) == pytest.approx(1, abs=0.35)
    agreement = np.corrcoef(offsets)[0, 1]
    assert agreement > 0.99 if shared else abs(agreement) < 0.5


def _look(slide: SimulatedSlide) -> np.ndarray:
    """Mean colour and share of dark pixels within each spot, with a constant."""
    centres = np.rint(slide.raw.centres()).astype(int)
    step = np.arange(-8, 8)
    rows, columns = centres[:, 1, None] + step, centres[:, 0, None] + step
    patches = slide.raw.image[rows[:, :, None], columns[:, None, :]].astype(float)
    dark = (patches.mean(axis=-1) < 130).mean(axis=(1, 2))
    return np.column_stack([patches.mean(axis=(1, 2)), dark, np.ones(len(dark))])


def _explained(slides: dict[str, SimulatedSlide], train: list[str], test: str) -> float:
    look = np.concatenate([_look(slides[name]) for name in train])
    truth = np.concatenate([slides[name].truth.layers["log_tpm_true"] for name in train])
    weights = np.linalg.lstsq(look, truth, rcond=None)[0]
    target = slides[test].truth.layers["log_tpm_true"]
    rest = target - _look(slides[test]) @ weights
    marker = slides[test].truth.var["marker"].to_numpy()
    return float(np.median((1 - rest.var(axis=0) / target.var(axis=0))[marker]))


def test_the_image_tells_of_region_genes(default: dict[str, SimulatedSlide]) -> None:
    assert _explained(default, ["A1"], "A1") > 0.3
    assert _explained(default, ["A1", "A2"], "B1") > 0.3


def test_without_image_signal_it_tells_nothing() -> None:
    cohort = make_cohort(spot_diameter_px=16, image_signal=0.0)
    slides = {name: simulate_slide(cohort, "SIM", name) for name in ("A1", "A2", "B1")}
    assert _explained(slides, ["A1", "A2"], "B1") < 0.1


def test_a_slide_without_image() -> None:
    slide = simulate_slide(small(), "SIM", "C1")
    assert slide.raw.image is None
    assert slide.raw.adata.uns["slide"]["image"] is False
    check(slide.raw.adata, "slide")


def test_extreme_settings() -> None:
    slide = simulate_slide(
        make_cohort(spots=10, genes=8, regions=1, programmes=0, spot_diameter_px=4), "SIM", "A1"
    )
    check(slide.raw.adata, "slide")
    assert slide.truth.obsm["programmes"].shape == (10, 0)


def test_gene_lengths() -> None:
    cohort = small()
    lengths = simulated_gene_lengths(cohort, "SIM")
    assert list(lengths.columns) == ["gene_id", "symbol", "length"]
    assert lengths["gene_id"].tolist() == list(simulate_slide(cohort, "SIM", "A2").truth.var_names)
    assert lengths["length"].between(300, 12_000).all()


def test_unknown_slide_and_real_cohort() -> None:
    with pytest.raises(ConfigurationError, match="no slide 'A3'; it has A1, A2, B1, C1"):
        simulate_slide(small(), "SIM", "A3")
    content = small().model_dump() | {"organism": "human", "simulation": None}
    with pytest.raises(ConfigurationError, match="has no 'simulation'"):
        simulated_gene_lengths(Cohort.model_validate(content), "VLO")
