import numpy as np
import pytest
from scipy import sparse

from spared_benchmark.expression.normalisation import log_tpm, tpm_denominators


def test_by_hand():
    counts = np.array([[2, 0, 3], [0, 0, 5]])
    lengths = np.array([1000.0, 500.0, 3000.0])
    exposure = tpm_denominators(counts, lengths)
    assert exposure == pytest.approx([0.003, 5 / 3000])
    values = log_tpm(counts, lengths, exposure)
    assert values.dtype == np.float32
    assert values[0] == pytest.approx([np.log2(666_666.667 + 1), 0, np.log2(333_333.333 + 1)])
    assert values[1] == pytest.approx([0, 0, np.log2(1e6 + 1)])


def test_a_spot_sums_to_a_million_and_sparse_equals_dense():
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (20, 15))
    lengths = rng.uniform(200, 9000, 15)
    exposure = tpm_denominators(counts, lengths)
    values = log_tpm(counts, lengths, exposure)
    assert (2 ** values.astype(float) - 1).sum(axis=1) == pytest.approx(np.full(20, 1e6), rel=1e-5)
    packed = sparse.csr_matrix(counts)
    assert np.array_equal(values, log_tpm(packed, lengths, tpm_denominators(packed, lengths)))
    assert np.array_equal(values == 0, counts == 0)


def test_a_value_does_not_depend_on_which_other_genes_are_asked_for():
    counts = np.random.default_rng(1).poisson(2.0, (9, 12))
    lengths = np.linspace(300, 5000, 12)
    exposure = tpm_denominators(counts, lengths)
    some = [7, 2]
    alone = log_tpm(counts[:, some], lengths[some], exposure)
    assert np.array_equal(alone, log_tpm(counts, lengths, exposure)[:, some])


def test_an_empty_spot_gives_zeros():
    counts, lengths = np.zeros((2, 3), int), np.full(3, 100.0)
    assert not log_tpm(counts, lengths, tpm_denominators(counts, lengths)).any()


@pytest.mark.real
def test_equals_the_published_library(golden):
    chain = np.load(golden / "her2st_chain.npz")
    lengths = chain["gene_length"].astype(float)
    values = log_tpm(chain["counts"], lengths, tpm_denominators(chain["counts"], lengths))
    assert np.abs(values - chain["log1p"]).max() < 1e-5
