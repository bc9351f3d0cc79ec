import numpy as np
import pytest
from anndata import AnnData

from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.published.combat import published_combat
from spared_benchmark.published.layers import add_published_layers, deltas, noisy

ADDED = {
    *("c_log1p", "deltas", "d_deltas", "c_deltas", "c_d_deltas"),
    *("noisy_c_d_log1p", "noisy_c_d_deltas"),
}


def expression_of(own):
    """The simulated hexagonal slides as a processed cohort."""
    slide, ranked = own["hex_slide"], own["hex_ranked"]
    layers = {
        "counts": own["hex_counts"][:, ranked],
        "log_tpm": own["hex_log1p"][:, ranked],
        "measured": own["hex_counts"][:, ranked] > 0,
        "median": own["hex_d_log1p_new"][:, ranked],
        "combat": own["hex_c_d_log1p"],
    }
    adata = AnnData(layers=layers, shape=own["hex_log1p"].shape)
    adata.obs["split"] = np.where(slide < 2, "train", "val")
    return adata


def test_equals_our_loops(own):
    adata = expression_of(own)
    add_published_layers(adata, own["hex_slide"].astype(int))
    assert set(adata.layers) == {"counts", "log_tpm", "measured", "median", "combat"} | ADDED
    for name in ("c_log1p", "c_d_deltas", "noisy_c_d_log1p", "noisy_c_d_deltas"):
        assert adata.layers[name].dtype == np.float32
        expected = own[f"hex_{name}"]
        # Differences of values near 10 are held in 32 bits: relative to the values, not to them.
        np.testing.assert_allclose(adata.layers[name], expected, rtol=1e-6, atol=1e-6)
    mean = own["hex_c_d_log1p_avg_exp"]
    np.testing.assert_allclose(adata.var["c_d_log1p_avg_exp"], mean, rtol=1e-6)


def test_each_layer_of_deltas_comes_from_its_own(own):
    adata = expression_of(own)
    add_published_layers(adata, own["hex_slide"].astype(int))
    train = (adata.obs["split"] == "train").to_numpy()
    sources = {
        "deltas": "log_tpm",
        "d_deltas": "median",
        "c_deltas": "c_log1p",
        "c_d_deltas": "combat",
    }
    published = {
        "log_tpm": "log1p",
        "median": "d_log1p",
        "c_log1p": "c_log1p",
        "combat": "c_d_log1p",
    }
    for name, source in sources.items():
        mean = adata.var[f"{published[source]}_avg_exp"].to_numpy()
        np.testing.assert_allclose(adata.layers[name] + mean, adata.layers[source], atol=1e-5)
        assert np.abs(adata.layers[name][train].mean(axis=0)).max() < 1e-5
        assert np.abs(adata.layers[name][~train].mean(axis=0)).max() > 1e-3


@pytest.mark.real
def test_are_the_published_ones(chain):
    values, train = chain["c_d_log1p"], chain["split"] == "train"
    result, mean = deltas(values, train)
    np.testing.assert_allclose(result, chain["c_d_deltas"], rtol=1e-6)
    np.testing.assert_allclose(mean, chain["c_d_log1p_avg_exp"], rtol=1e-6)
    if "noisy_c_d_deltas" in chain:
        measured = chain["mask"][:, chain["first"] :]
        np.testing.assert_allclose(noisy(values, measured), chain["noisy_c_d_log1p"], rtol=1e-6)
        lowered = noisy(result, measured, mean)
        np.testing.assert_allclose(lowered, chain["noisy_c_d_deltas"], rtol=1e-6)


def test_the_mean_is_over_train_spots_imputed_values_included():
    values = np.array([[1.0, 0.0], [3.0, 4.0], [50.0, 60.0]])
    result, mean = deltas(values, np.array([True, True, False]))
    assert mean.tolist() == [2, 2]
    assert result.tolist() == [[-1, -2], [1, 2], [48, 58]]


def test_missing_entries_mean_no_expression():
    values, measured = np.array([[5.0, 7.0]]), np.array([[True, False]])
    assert noisy(values, measured).tolist() == [[5, 0]]
    # A delta of minus the mean is an expression of zero.
    assert noisy(values - 4, measured, np.array([4.0, 4.0])).tolist() == [[1, -4]]


def test_bad_inputs_say_what_is_wrong(own):
    with pytest.raises(InputError, match="none of the 2 spots is of a train slide"):
        deltas(np.ones((2, 3)), np.zeros(2, bool))
    adata = expression_of(own)
    del adata.layers["median"]
    with pytest.raises(ContractError, match=r"median not found; layers: .*combat"):
        add_published_layers(adata, own["hex_slide"].astype(int))
    adata = expression_of(own)
    del adata.obs["split"]
    with pytest.raises(ContractError, match=r"obs\[split\] not found"):
        add_published_layers(adata, own["hex_slide"].astype(int))
    adata = expression_of(own)
    adata.layers["log_tpm"][:, 3] = 2.0
    with pytest.raises(InputError, match="gene 3"):
        add_published_layers(adata, own["hex_slide"].astype(int))


def test_batches_need_not_be_slides(own):
    adata = expression_of(own)
    batch = (own["hex_slide"] > 0).astype(int)
    add_published_layers(adata, batch)
    values = adata.layers["log_tpm"]
    expected = published_combat(values, batch).apply(values, batch)
    assert np.array_equal(adata.layers["c_log1p"], expected)
