import numpy as np
import pytest

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.published.hiding import hiding_probability

METHODS = ("mask_prob", "prob_median", "scale_factor")


@pytest.mark.parametrize("method", METHODS)
def test_equals_our_loops(own, method):
    result = hiding_probability(own["hidden_fraction"], method)
    np.testing.assert_allclose(result, own[f"hidden_{method}"], rtol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("method", METHODS)
def test_is_the_published_one(golden, method):
    with np.load(golden / "her2st_chain.npz") as file:
        fraction, expected = file["glob_exp_frac"], file[f"maskprob_{method}"]
    np.testing.assert_allclose(hiding_probability(fraction, method), expected, rtol=1e-6)


def test_a_rare_gene_is_hidden_whole_and_a_ubiquitous_one_by_the_share():
    assert hiding_probability(np.array([0.2, 0.3, 0.6, 1.0]), "mask_prob").tolist() == [
        1,
        1,
        0.5,
        0.3,
    ]
    assert hiding_probability(np.array([0.5]), "mask_prob", share=0.1).tolist() == [0.2]
    assert hiding_probability(np.array([0.25, 0.5, 1.0]), "scale_factor").tolist() == [1, 0.8, 0]


def test_bad_inputs_say_what_is_wrong():
    with pytest.raises(ConfigurationError, match="did you mean 'mask_prob'"):
        hiding_probability(np.array([0.5]), "mask_probs")
    for wrong in (0.0, 1.5, np.nan):
        with pytest.raises(InputError, match=f"found {wrong:g} for gene 1"):
            hiding_probability(np.array([0.5, wrong]), "mask_prob")
