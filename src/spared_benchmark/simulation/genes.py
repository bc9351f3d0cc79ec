"""The genes of a simulated cohort: what they are called and what drives each of them.

One draw per cohort, shared by all of its slides, so that a model of some slides can hold on others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.cohort_settings import SimulationSettings
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.simulation.randomness import generator
from spared_benchmark.study import Cohort

# Half of the genes are captured well enough to be seen in most spots; the others are rare.
_RARE_SHARE = 0.5
_WELL_CAPTURED = (0.0, 4.0)  # log2 abundance, from the least to the most abundant
_RARE = (-4.5, -0.5)
_MARKER_SHARE = 0.6
_MARKER_EFFECT, _OTHER_EFFECT = 1.2, 0.2  # standard deviations over regions, log2
_PROGRAMME_SHARE, _PROGRAMME_EFFECT = 0.4, 0.5


@dataclass(frozen=True)
class Genes:
    """What drives each gene, log2 units.

    Attributes:
        ids: ``(n_genes,)``.
        symbols: ``(n_genes,)``.
        length: Bases, ``(n_genes,)``.
        abundance: Log2 abundance with its capture, ``(n_genes,)``.
        region_effect: ``(n_regions, n_genes)``, mean 0 over regions.
        programme_effect: ``(n_programmes, n_genes)``.
        marker: Whether regions drive the gene, ``(n_genes,)``.
    """

    ids: NDArray[np.str_]
    symbols: NDArray[np.str_]
    length: NDArray[np.int64]
    abundance: NDArray[np.float64]
    region_effect: NDArray[np.float64]
    programme_effect: NDArray[np.float64]
    marker: NDArray[np.bool_]


def settings_of(cohort: Cohort, code: str) -> SimulationSettings:
    """Return how ``cohort`` is simulated.

    Raises:
        ConfigurationError: When it is a cohort of real slides.
    """
    if cohort.simulation is None:
        msg = (
            f"cohort {code}: has no 'simulation' and organism {cohort.organism!r}; "
            "only cohorts with both 'simulation' and organism 'simulated' can be simulated"
        )
        raise ConfigurationError(msg)
    return cohort.simulation


def draw_genes(cohort: Cohort, code: str) -> Genes:
    """Return the genes of ``cohort``; the same for every slide.

    Raises:
        ConfigurationError: When it is a cohort of real slides.
    """
    settings = settings_of(cohort, code)
    random = generator(settings.seed, code, "genes")
    n = settings.genes
    number = np.arange(1, n + 1)
    rare = random.permutation(n) < round(_RARE_SHARE * n)
    level = random.permutation(n) / max(n - 1, 1)
    abundance = np.where(rare, _spread(level, _RARE), _spread(level, _WELL_CAPTURED))
    marker = random.random(n) < _MARKER_SHARE
    region = random.normal(size=(settings.regions, n))
    region -= region.mean(axis=0)
    loaded = random.random((settings.programmes, n)) < _PROGRAMME_SHARE
    programme = random.normal(scale=_PROGRAMME_EFFECT, size=(settings.programmes, n))
    return Genes(
        ids=np.array([f"SIMG{value:011d}" for value in number.tolist()]),
        symbols=np.array([f"Sim{value}" for value in number.tolist()]),
        length=np.clip(2000 * np.exp(0.6 * random.normal(size=n)), 300, 12_000).astype(np.int64),
        abundance=abundance,
        region_effect=region * np.where(marker, _MARKER_EFFECT, _OTHER_EFFECT),
        programme_effect=programme * loaded,
        marker=marker,
    )


def simulated_gene_lengths(cohort: Cohort, code: str) -> pd.DataFrame:
    """Return columns ``gene_id``, ``symbol``, ``length`` (bases), one row per gene.

    Raises:
        ConfigurationError: When it is a cohort of real slides.
    """
    genes = draw_genes(cohort, code)
    return pd.DataFrame({"gene_id": genes.ids, "symbol": genes.symbols, "length": genes.length})


def _spread(level: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.float64]:
    return limits[0] + level * (limits[1] - limits[0])
