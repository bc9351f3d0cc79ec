"""One simulated slide: counts, positions and image, with the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from spared_benchmark.atomic import digest_of
from spared_benchmark.errors import ConfigurationError, nearest
from spared_benchmark.simulation.counts import draw_counts, log_tpm, shares
from spared_benchmark.simulation.fields import Landscape
from spared_benchmark.simulation.genes import Genes, draw_genes, settings_of
from spared_benchmark.simulation.image import paint
from spared_benchmark.simulation.randomness import generator
from spared_benchmark.simulation.sites import Sites, barcodes, draw_sites
from spared_benchmark.slides.assemble import facts_of
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.slides.scale import pitch_in_pixels
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import DIAMETER_SHARE, Cohort

# Image pixels per full-resolution pixel of the image that Space Ranger calls ``hires``.
_HIRES_SCALE = 0.25


@dataclass(frozen=True)
class SimulatedSlide:
    """A slide with its truth.

    Attributes:
        raw: What a reader would return.
        truth: Same spots and genes; layer ``log_tpm_true`` (log2(TPM + 1) without noise, over all
            genes, with the slide's and subject's offsets), layer ``share`` (expected share of the
            spot's molecules), obs ``region``, obsm ``regions`` and ``programmes``, var ``marker``
            and ``gene_length``.
        image_name: As the slide's definition names it.
    """

    raw: RawSlide
    truth: AnnData
    image_name: str | None


def simulate_slide(cohort: Cohort, code: str, slide: str) -> SimulatedSlide:
    """Simulate one slide of a cohort.

    The result depends on the cohort's simulation settings, its code and the slide's name alone.

    Args:
        cohort: With ``simulation`` settings.
        code: Of the cohort.
        slide: A key of ``cohort.slides``.

    Raises:
        ConfigurationError: When the cohort is not simulated or has no such slide.
    """
    settings = settings_of(cohort, code)
    if slide not in cohort.slides:
        known = ", ".join(cohort.slides)
        msg = f"cohort {code}: no slide {slide!r}{nearest(slide, cohort.slides)}; it has {known}"
        raise ConfigurationError(msg)
    genes = draw_genes(cohort, code)
    pitch = settings.spot_diameter_px / DIAMETER_SHARE[cohort.lattice]
    sites = draw_sites(
        settings.spots, cohort.lattice, pitch, generator(settings.seed, code, slide, "sites")
    )
    landscape, decoy = (
        Landscape.draw(
            settings.regions,
            settings.programmes,
            max(2.5 * pitch, max(sites.size) / 6),
            sites.positions,
            generator(settings.seed, code, slide, name),
        )
        for name in ("landscape", "decoy")
    )
    regions, programmes = landscape.at(sites.positions)
    share = shares(genes, regions, programmes, _offset(cohort, code, slide))
    counts = draw_counts(
        share, settings.median_counts, generator(settings.seed, code, slide, "counts")
    )
    image = None
    if cohort.slides[slide].image is not None:
        painter = generator(settings.seed, code, slide, "image")
        image = paint(
            sites, landscape, decoy, settings.image_signal, settings.spot_diameter_px, painter
        )
    adata, scale = _slide_anndata(cohort, code, slide, genes, sites, counts)
    truth = _truth(adata, genes, share, regions, programmes)
    raw = RawSlide(adata, image, scale if image is not None else 1.0)
    return SimulatedSlide(raw, truth, cohort.slides[slide].image)


def _offset(cohort: Cohort, code: str, slide: str) -> NDArray[np.float64]:
    """Return the gene-wise offset of the slide and its subject, log2 units, ``(n_genes,)``."""
    settings = settings_of(cohort, code)
    subject = cohort.slides[slide].subject
    of_slide = generator(settings.seed, code, "slide offset", slide).normal(size=settings.genes)
    of_subject = generator(settings.seed, code, "subject", subject).normal(size=settings.genes)
    return settings.batch_effect * of_slide + settings.subject_effect * of_subject


def _slide_anndata(
    cohort: Cohort,
    code: str,
    slide: str,
    genes: Genes,
    sites: Sites,
    counts: sparse.csr_matrix,
) -> tuple[AnnData, float]:
    """Return the slide after its schema, and the image pixels per full-resolution pixel."""
    settings, definition = settings_of(cohort, code), cohort.slides[slide]
    reduced = definition.image == "hires" and cohort.format == "space_ranger"
    scale = _HIRES_SCALE if reduced else 1.0
    # Space Ranger writes whole pixels, legacy tables two decimals; so does a simulated slide.
    decimals = 0 if cohort.format == "space_ranger" else 2
    positions = np.round(sites.positions / scale, decimals)
    pitch = pitch_in_pixels(sites.array_row, sites.array_col, positions, cohort.lattice, slide)
    reads_diameter, share = cohort.format != "legacy_st", DIAMETER_SHARE[cohort.lattice]
    names = pd.Index(barcodes(sites.array_row, sites.array_col, cohort.lattice))
    adata = AnnData(
        X=counts,
        obs=pd.DataFrame({"array_row": sites.array_row, "array_col": sites.array_col}, index=names),
        var=pd.DataFrame({"symbol": genes.symbols}, index=pd.Index(genes.ids)),
        obsm={"spatial": positions},
    )
    adata.uns["slide"] = facts_of(cohort, code, slide) | {
        "spot_diameter_px": settings.spot_diameter_px / scale if reads_diameter else share * pitch,
        "um_per_px": cohort.pitch / pitch,
        "source_digest": digest_of([settings, code, slide, cohort.lattice, definition.subject]),
        "image": definition.image is not None,
    }
    if definition.image is not None:
        adata.uns["slide"]["image_scale"] = scale
    return stamp(adata, "slide"), scale


def _truth(
    adata: AnnData,
    genes: Genes,
    share: NDArray[np.float32],
    regions: NDArray[np.float64],
    programmes: NDArray[np.float64],
) -> AnnData:
    obs = adata.obs.copy()
    obs["region"] = regions.argmax(axis=1).astype(np.int32)
    var = adata.var.copy()
    var["gene_length"], var["marker"] = genes.length, genes.marker
    truth = AnnData(
        obs=obs,
        var=var,
        obsm={"regions": regions, "programmes": programmes},
        layers={"log_tpm_true": log_tpm(share, genes.length), "share": share},
    )
    return stamp(truth, "truth")
