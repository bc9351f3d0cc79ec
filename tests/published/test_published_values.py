import numpy as np
import pytest

from spared_benchmark.expression.normalisation import log_tpm, tpm_denominators


@pytest.mark.parametrize("name", ["hex", "square"])
def test_log_values_equal_our_loops(own, script, name):
    counts, lengths = own[f"{name}_counts"].astype(np.float64), np.array(script.LENGTHS, float)
    result = log_tpm(counts, lengths, tpm_denominators(counts, lengths))
    np.testing.assert_allclose(result, own[f"{name}_log1p"], rtol=1e-6)


@pytest.mark.real
def test_tpm_and_its_logarithm_are_the_published_ones(golden):
    with np.load(golden / "her2st_chain.npz") as file:
        chain = dict(file)
    counts, lengths = chain["counts"].astype(np.float64), chain["gene_length"].astype(np.float64)
    exposure = tpm_denominators(counts, lengths)
    result = log_tpm(counts, lengths, exposure)
    np.testing.assert_allclose(result, chain["log1p"], rtol=1e-6)
    np.testing.assert_allclose(2.0**result - 1, chain["tpm"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(counts / lengths * 1e6 / exposure[:, None], chain["tpm"], rtol=1e-6)
    assert np.array_equal(result > 0, chain["mask"])
