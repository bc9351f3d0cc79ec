"""A cohort's processing, from raw slides to one expression matrix.

The order is the published library's: spots and genes are filtered, log2(TPM + 1) is taken over
the filtered genes, missing entries are completed by medians, genes are chosen by Moran's I of
the completed values, and ComBat corrects the completed values of the chosen genes.

Slides are read one at a time: once to count, once (those that may choose) to rank the genes with
that slide's filtered genes dense, and once to keep the chosen ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.expression.assemble import (
    add_train_means,
    context_block,
    correct_batches,
    describe,
    expression_block,
    join_context,
    join_expression,
)
from spared_benchmark.expression.filter import Tally, filter_genes
from spared_benchmark.expression.genes import FilteredGenes, count_slides, with_length
from spared_benchmark.expression.moran import morans_i
from spared_benchmark.expression.selection import mean_over_slides, rank_genes
from spared_benchmark.expression.slide_spots import SlideSpots
from spared_benchmark.expression.statistics import statistics_table
from spared_benchmark.slides.schema import stamp
from spared_benchmark.study import Cohort, ProcessingSettings, Protocol

logger = logging.getLogger(__name__)

Loader = Callable[[], AnnData]


@dataclass(frozen=True)
class Processed:
    """A processed cohort.

    Attributes:
        expression: The chosen genes (schema ``expression``).
        context: The next-ranked genes of the same spots (schema ``context``), perhaps none.
        statistics: Columns ``statistic``, ``value``.
    """

    expression: AnnData
    context: AnnData
    statistics: pd.DataFrame


def process(
    slides: Mapping[str, Loader],
    cohort: Cohort,
    code: str,
    protocol: Protocol,
    settings: ProcessingSettings,
    gene_lengths: pd.DataFrame,
) -> Processed:
    """Process the slides of one cohort.

    Under the protocol ``inductive`` the genes to choose from, their limits, expressed fractions
    and ranking, the reference of ComBat and the train means come from train slides alone; under
    ``transductive`` only the train means do.

    Args:
        slides: By slide, a function without arguments that loads it (schema ``slide``).
        cohort: Its definition; ``cohort.slides`` says each slide's split and subject.
        code: The cohort's code.
        protocol: Of the study.
        settings: Of the study.
        gene_lengths: Columns ``gene_id``, ``symbol``, ``length`` (base pairs).

    Raises:
        ConfigurationError: When a slide is not the cohort's, or no train slide is given.
        InputError: When slides share no gene or a slide or gene limit leaves nothing.
    """
    loaders = _in_order(slides, cohort, code)
    choosers = [
        slide
        for slide in loaders
        if protocol == "transductive" or cohort.slides[slide].split == "train"
    ]
    genes, tallies = count_slides(loaders, choosers, cohort.filter.spot_counts)
    kept = filter_genes({slide: tallies[slide] for slide in choosers}, genes.id, cohort.filter)
    filtered = with_length(genes, kept, gene_lengths)

    read = partial(_read, loaders, tallies, filtered)
    moran = mean_over_slides([_moran(read(slide), cohort, settings) for slide in choosers])
    ranked = rank_genes(moran, filtered.id)
    chosen = ranked[: cohort.genes]
    others = ranked[cohort.genes : settings.context_genes]
    if chosen.size < cohort.genes:
        _report_few(code, chosen.size, cohort.genes)
    blocks, context_blocks = [], []
    for slide in loaders:
        spots = read(slide)
        blocks.append(expression_block(spots, chosen, slide, cohort, settings))
        context_blocks.append(context_block(spots, others))
    expression = join_expression(blocks, filtered.table(chosen, moran))
    correct_batches(expression, cohort, protocol)
    add_train_means(expression)
    describe(expression, cohort, code, protocol, settings)
    context = join_context(context_blocks, filtered.table(others, moran), expression)
    statistics = statistics_table(
        expression,
        tallies,
        cohort,
        genes_filtered=filtered.id.size,
        lengths_missing=filtered.missing,
        lengths_ambiguous=filtered.ambiguous,
    )
    return Processed(stamp(expression, "expression"), stamp(context, "context"), statistics)


def _in_order(slides: Mapping[str, Loader], cohort: Cohort, code: str) -> dict[str, Loader]:
    unknown = sorted(set(slides) - set(cohort.slides))
    if unknown:
        msg = (
            f"{code}: the slides {', '.join(unknown)} are not in the cohort's definition, which "
            f"has {', '.join(cohort.slides)}"
        )
        raise ConfigurationError(msg)
    loaders = {slide: slides[slide] for slide in cohort.slides if slide in slides}
    if not any(cohort.slides[slide].split == "train" for slide in loaders):
        msg = (
            f"{code}: none of the slides {', '.join(loaders) or '(none given)'} has the split "
            "'train'; means are taken from train slides, so one is needed"
        )
        raise ConfigurationError(msg)
    return loaders


def _read(
    loaders: Mapping[str, Loader],
    tallies: Mapping[str, Tally],
    filtered: FilteredGenes,
    slide: str,
) -> SlideSpots:
    spots = SlideSpots.of(loaders[slide](), tallies[slide].kept, filtered.id, filtered.lengths)
    if len(spots.spots) == 0:
        msg = (
            f"slide {slide}: none of its {tallies[slide].kept.size} spots is left: each is outside "
            "filter.spot_counts or has no count of a filtered gene; leave the slide out"
        )
        raise InputError(msg)
    return spots


def _report_few(code: str, found: int, asked: int) -> None:
    logger.warning(
        "%s: %d genes pass the filter where %d are asked; all are kept", code, found, asked
    )


def _moran(spots: SlideSpots, cohort: Cohort, settings: ProcessingSettings) -> NDArray[np.float64]:
    values = spots.log_tpm(np.arange(spots.lengths.size))
    if settings.rank_on == "median":
        values = spots.median_completed(values, cohort.lattice, settings.median_hops)
    return morans_i(values, spots.neighbours(cohort.lattice, 1))
