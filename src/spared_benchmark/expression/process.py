"""A cohort's processing, from raw slides to one expression matrix.

The order is the published library's: spots and genes are filtered, log2(TPM + 1) is taken over
the filtered genes (named ones are beside those that the filter keeps), missing entries are
completed by medians, genes are chosen by Moran's I of the completed values, and ComBat corrects
the completed values of the chosen genes.

Slides are read one at a time and twice: once to count, and once to rank the genes, with that
slide's filtered genes dense. Their counts are then held sparse and small until the genes are
chosen; beyond that, memory grows by the chosen genes and their context only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.expression.assemble import (
    add_train_means,
    correct_batches,
    describe,
    gather_context,
    gather_expression,
)
from spared_benchmark.expression.denominators import denominator_genes
from spared_benchmark.expression.filter import Tally, filter_genes
from spared_benchmark.expression.gene_names import named_genes
from spared_benchmark.expression.genes import FilteredGenes, count_slides, with_length
from spared_benchmark.expression.moran import morans_i
from spared_benchmark.expression.parity import cohort_unlike_library, unlike_library
from spared_benchmark.expression.selection import mean_over_slides, rank_genes
from spared_benchmark.expression.slide_spots import SlideSpots, median_completed
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
        context: The best of the other genes, of the same spots (schema ``context``), perhaps none.
        statistics: Columns ``statistic``, ``value``.
        genes: What became of each gene that every choosing slide has: ``gene``, ``source`` (its
            name there), ``symbol``, ``fraction_min``, ``fraction``, ``total``, ``gene_length``,
            ``moran``, ``rank`` from 1, and ``fate``: ``chosen``, ``context`` (the best of the
            others), ``passed`` (ranked, neither), ``narrow`` or ``limits`` (the filter),
            ``no_length`` or ``ambiguous``. Where genes are named, they alone may be chosen.
        spots: What became of each spot in tissue: ``slide`` and ``split``, and the columns of
            `SlideSpots.fates`.
    """

    expression: AnnData
    context: AnnData
    statistics: pd.DataFrame
    genes: pd.DataFrame
    spots: pd.DataFrame


def process(
    slides: Mapping[str, Loader],
    cohort: Cohort,
    code: str,
    protocol: Protocol,
    settings: ProcessingSettings,
    gene_lengths: pd.DataFrame | None,
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
        gene_lengths: Columns ``gene_id``, ``symbol``, ``length`` (base pairs); may be None when
            ``settings.normalisation`` is ``cpm``.

    Raises:
        ConfigurationError: When a slide is not the cohort's, no train slide is given, or parity
            with the published library is asked of what cannot have it.
        InputError: When slides share no gene or a slide or gene limit leaves nothing; the cohort
            is named.
    """
    problems = unlike_library(protocol, settings) + cohort_unlike_library(code, cohort, settings)
    if problems:
        raise ConfigurationError("\n".join([f"{code}: cannot be processed:", *problems]))
    loaders = _in_order(slides, cohort, code)
    choosers = [
        slide
        for slide in loaders
        if protocol == "transductive" or cohort.slides[slide].split == "train"
    ]
    with _naming(code):
        filtered, tallies = _filtered(loaders, choosers, cohort, settings, gene_lengths)
        held, moran = _read_all(loaders, choosers, tallies, filtered, cohort, settings)
        chosen, others, genes = _choose(filtered, moran, cohort, code, settings)
        spots = _spot_fates(held, cohort)
        expression = gather_expression(held, chosen, cohort, settings)
        expression.var = filtered.table(chosen, moran)
        published = settings.published is not None
        correct_batches(expression, cohort, protocol, published=published)
        add_train_means(expression)
        describe(expression, cohort, code, protocol, settings)
        expression.uns["filtered_genes"] = denominator_genes(filtered)
        context = gather_context(held, others, expression)
        context.var = filtered.table(others, moran)
    return Processed(
        stamp(expression, "expression"),
        stamp(context, "context"),
        statistics_table(expression, tallies, cohort, filtered),
        genes,
        spots,
    )


@contextmanager
def _naming(code: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        msg = f"{code}: {error}"
        raise InputError(msg) from error


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


def _filtered(
    loaders: Mapping[str, Loader],
    choosers: Sequence[str],
    cohort: Cohort,
    settings: ProcessingSettings,
    gene_lengths: pd.DataFrame | None,
) -> tuple[FilteredGenes, dict[str, Tally]]:
    """Read every slide once; return the genes that remain and what each slide counted."""
    common, tallies = count_slides(loaders, choosers, cohort.filter.spot_counts)
    named = named_genes(common, cohort.gene_names, gene_lengths)
    kept = filter_genes(
        {slide: tallies[slide] for slide in choosers},
        common.source,
        cohort.filter,
        named,
        published=settings.published is not None,
    )
    needed = settings.normalisation == "tpm"
    return with_length(common, kept, gene_lengths, lengths_needed=needed), tallies


def _read_all(
    loaders: Mapping[str, Loader],
    choosers: Sequence[str],
    tallies: Mapping[str, Tally],
    filtered: FilteredGenes,
    cohort: Cohort,
    settings: ProcessingSettings,
) -> tuple[dict[str, SlideSpots], NDArray[np.float64]]:
    """Read every slide again; return what is held of each, and Moran's I ``(n_filtered,)``."""
    held: dict[str, SlideSpots] = {}
    by_slide = []
    for slide in loaders:
        held[slide] = _read(loaders, tallies, filtered, cohort, slide)
        if slide in choosers:
            by_slide.append(_moran(held[slide], cohort, settings))
    return held, mean_over_slides(by_slide)


def _choose(
    filtered: FilteredGenes,
    moran: NDArray[np.float64],
    cohort: Cohort,
    code: str,
    settings: ProcessingSettings,
) -> tuple[NDArray[np.intp], NDArray[np.intp], pd.DataFrame]:
    """Return the places of the chosen genes and of the context, and what became of all genes."""
    ranked = rank_genes(moran, filtered.id)
    chosen = ranked[filtered.may_be_chosen[ranked]][: cohort.genes]
    if cohort.genes is not None and chosen.size < cohort.genes:
        logger.warning(
            "%s: %d genes may be chosen where %d are asked; all of them are",
            *(code, chosen.size, cohort.genes),
        )
    room = max(settings.context_genes - chosen.size, 0)
    others = ranked[~np.isin(ranked, chosen)][:room]
    return chosen, others, _gene_fates(filtered, moran, ranked, chosen, others)


def _read(
    loaders: Mapping[str, Loader],
    tallies: Mapping[str, Tally],
    filtered: FilteredGenes,
    cohort: Cohort,
    slide: str,
) -> SlideSpots:
    limits = cohort.filter.spot_counts
    spots = SlideSpots.of(loaders[slide](), tallies[slide], filtered, limits)
    if len(spots.spots) == 0:
        msg = (
            f"slide {slide}: none of its {tallies[slide].kept.size} spots is left: each is outside "
            "filter.spot_counts or has no count of a filtered gene; leave the slide out"
        )
        raise InputError(msg)
    return spots


def _moran(spots: SlideSpots, cohort: Cohort, settings: ProcessingSettings) -> NDArray[np.float64]:
    values = spots.log_tpm(np.arange(spots.lengths.size))
    windows = spots.windows(cohort.lattice, settings)
    if settings.rank_on == "median":
        values = median_completed(values, windows)
    return morans_i(values, windows[0])


def _gene_fates(
    filtered: FilteredGenes,
    moran: NDArray[np.float64],
    ranked: NDArray[np.intp],
    chosen: NDArray[np.intp],
    others: NDArray[np.intp],
) -> pd.DataFrame:
    rank = np.empty(ranked.size)
    rank[ranked] = np.arange(1, ranked.size + 1)
    fate = np.full(ranked.size, "passed", dtype=object)
    fate[chosen], fate[others] = "chosen", "context"
    table = filtered.common.copy()
    table.loc[filtered.place, "moran"] = moran
    table.loc[filtered.place, "rank"] = rank
    table.loc[filtered.place, "fate"] = fate
    return table


def _spot_fates(held: Mapping[str, SlideSpots], cohort: Cohort) -> pd.DataFrame:
    return pd.concat(
        [
            spots.fates.assign(slide=slide, split=cohort.slides[slide].split)
            for slide, spots in held.items()
        ],
        ignore_index=True,
    )
