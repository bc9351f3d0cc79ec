"""Context genes get the layers of the chosen ones, made in the same way."""

import numpy as np
import pytest
import yaml

from spared_benchmark.expression.context import corrected_context
from spared_benchmark.expression.process import process
from spared_benchmark.simulation.genes import simulated_gene_lengths
from spared_benchmark.simulation.slide import simulate_slide
from spared_benchmark.study import Cohort, ProcessingSettings

COHORT = """
title: Small
organism: simulated
tissue: simulated
lattice: hexagonal
format: space_ranger
genes: 8
licence: CC0-1.0
citation: none
simulation: {spots: 60, genes: 40, median_counts: 600, spot_diameter_px: 8}
slides:
  A: {subject: P1, split: train}
  B: {subject: P1, split: train}
  C: {subject: P2, split: val}
  D: {subject: P3, split: test}
"""


@pytest.fixture(scope="module", params=["transductive", "inductive"])
def processed(request):
    cohort = Cohort.model_validate(yaml.safe_load(COHORT))
    slides = {
        name: (lambda name=name: simulate_slide(cohort, "SMALL", name).raw.adata)
        for name in cohort.slides
    }
    lengths = simulated_gene_lengths(cohort, "SMALL")
    return process(slides, cohort, "SMALL", request.param, ProcessingSettings(), lengths)


def test_the_chosen_genes_as_context_get_what_processing_gave_them(processed):
    chosen = processed.expression
    made = corrected_context(chosen, chosen)
    assert np.array_equal(made.layers["median"], chosen.layers["median"])
    np.testing.assert_allclose(made.layers["combat"], chosen.layers["combat"], rtol=1e-6)


def test_the_context_is_filled_and_corrected_and_itself_unchanged(processed):
    before = list(processed.context.layers)
    made = corrected_context(processed.context, processed.expression)
    assert list(processed.context.layers) == before
    assert made.n_vars > 0
    measured = made.layers["measured"]
    assert np.array_equal(made.layers["median"][measured], made.layers["log_tpm"][measured])
    assert (made.layers["median"][~measured] > 0).any()
    assert np.isfinite(made.layers["combat"]).all()
    assert not np.allclose(made.layers["combat"], made.layers["median"])


def test_a_cohort_without_context_genes_has_none(processed):
    made = corrected_context(processed.context[:, :0], processed.expression)
    assert made.shape == (processed.expression.n_obs, 0)
    assert set(made.layers) >= {"median", "combat"}
