from __future__ import annotations

import json

import numpy as np
import pytest

from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.evaluation.metrics import METRICS, gene_scores, scores


@pytest.fixture
def drawn():
    generator = np.random.default_rng(0)
    truth = generator.normal(8, 2, (40, 6))
    prediction = truth + generator.normal(0, 1.5, (40, 6))
    measured = generator.random((40, 6)) < 0.7
    slide = np.repeat(["one", "two"], 20)
    return truth, prediction, measured, slide


def of(table, metric, slide=""):
    row = table[(table["metric"] == metric) & (table["slide"] == slide)]
    assert len(row) == 1
    return float(row["value"].iloc[0]), int(row["n"].iloc[0])


def by_loop(metric, truth, prediction, measured):
    """One number per gene or spot, the slow way."""
    lines = range(truth.shape[1]) if metric.endswith("gene") else range(truth.shape[0])
    values = []
    for line in lines:
        index = (slice(None), line) if metric.endswith("gene") else (line, slice(None))
        inside = measured[index]
        t, p = truth[index][inside], prediction[index][inside]
        if len(t) < 2:
            continue
        if metric.startswith("pcc"):
            values.append(np.corrcoef(t, p)[0, 1])
        else:
            values.append(1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum())
    return values


@pytest.mark.parametrize("metric", METRICS[2:])
def test_correlations_and_r2_equal_loops(drawn, metric):
    truth, prediction, measured, slide = drawn
    table = scores(*drawn)
    means, counts = [], []
    for name in ("one", "two"):
        rows = slide == name
        values = by_loop(metric, truth[rows], prediction[rows], measured[rows])
        value, n = of(table, metric, name)
        assert value == pytest.approx(np.mean(values))
        assert n == len(values)
        means.append(value)
        counts.append(n)
    assert of(table, metric) == (pytest.approx(np.mean(means)), sum(counts))


def test_errors_are_means_over_entries(drawn):
    truth, prediction, measured, _ = drawn
    table = scores(*drawn)
    errors = (truth - prediction)[measured]
    assert of(table, "mse") == (pytest.approx((errors**2).mean()), measured.sum())
    assert of(table, "mae") == (pytest.approx(np.abs(errors).mean()), measured.sum())
    first = (truth - prediction)[:20][measured[:20]]
    assert of(table, "mse", "one") == (pytest.approx((first**2).mean()), measured[:20].sum())


def test_knowing_the_slide_alone_earns_no_correlation():
    truth = np.array([[1.0], [2.0], [3.0], [11.0], [12.0], [13.0]])
    prediction = np.array([[2.0]] * 3 + [[12.0]] * 3)
    table = scores(truth, prediction, np.ones((6, 1), dtype=bool), list("aaabbb"))
    value, n = of(table, "pcc_gene")
    assert np.isnan(value)
    assert n == 0


def test_an_undefined_gene_does_not_enter():
    truth = np.array([[1.0, 5.0, 1.0], [2.0, 5.0, 2.0], [4.0, 5.0, 3.0]])
    prediction = np.array([[1.0, 4.0, 7.0], [2.0, 5.0, 7.0], [3.0, 6.0, 7.0]])
    table = scores(truth, prediction, np.ones((3, 3), dtype=bool), ["s"] * 3)
    expected = np.corrcoef([1, 2, 4], [1, 2, 3])[0, 1]
    assert of(table, "pcc_gene") == (pytest.approx(expected), 1)
    # R² needs no variation of the prediction, only of the truth.
    assert of(table, "r2_gene")[1] == 2


def test_values_outside_the_measured_entries_are_not_read(drawn):
    truth, prediction, measured, slide = drawn
    before = scores(truth, prediction, measured, slide)
    wild = np.where(measured, truth, np.nan)
    after = scores(wild, np.where(measured, prediction, np.inf), measured, slide)
    assert before.equals(after)


def test_genes_scores_agree_with_scores(drawn):
    truth, prediction, measured, slide = drawn
    genes = [f"g{i}" for i in range(6)]
    table = gene_scores(truth, prediction, measured, slide, genes)
    whole = scores(truth, prediction, measured, slide)
    one = table[(table["metric"] == "pcc_gene") & (table["slide"] == "one")]
    assert one["value"].mean() == pytest.approx(of(whole, "pcc_gene", "one")[0])
    errors = table[(table["metric"] == "mse") & (table["slide"] == "")]
    weighted = (errors["value"] * errors["n"]).sum() / errors["n"].sum()
    assert weighted == pytest.approx(of(whole, "mse")[0])
    third = errors[errors["gene"] == "g2"]
    expected = ((truth - prediction)[:, 2][measured[:, 2]] ** 2).mean()
    assert float(third["value"].iloc[0]) == pytest.approx(expected)


def test_a_scored_value_must_be_finite(drawn):
    truth, prediction, measured, slide = drawn
    prediction[np.argwhere(measured)[0][0], np.argwhere(measured)[0][1]] = np.nan
    with pytest.raises(InputError, match=r"prediction: 1 of \d+ scored entries are not finite"):
        scores(truth, prediction, measured, slide)


def test_shapes_and_names_are_checked(drawn):
    truth, prediction, measured, slide = drawn
    with pytest.raises(InputError, match="of one shape"):
        scores(truth[:, :2], prediction, measured, slide)
    with pytest.raises(ConfigurationError, match="unknown metric 'pcc'"):
        scores(truth, prediction, measured, slide, metrics=("pcc",))
    with pytest.raises(InputError, match="2 gene names for 6 genes"):
        gene_scores(truth, prediction, measured, slide, ["a", "b"])


@pytest.mark.real
@pytest.mark.parametrize(
    "case", ["full_mask", "random_mask", "masked_gene", "masked_spot", "float32"]
)
def test_well_defined_cases_equal_the_published_library(golden, case):
    expected = json.loads((golden / "metrics_outputs.json").read_text(encoding="utf-8"))
    with np.load(golden / "metrics_inputs.npz", allow_pickle=False) as inputs:
        truth, prediction = inputs[f"{case}_gt"], inputs[f"{case}_pred"]
        measured = inputs[f"{case}_mask"].astype(bool)
    table = scores(truth, prediction, measured, ["all"] * len(truth))
    names = {"mse": "MSE", "mae": "MAE", "pcc_gene": "PCC-Gene", "pcc_spot": "PCC-Patch"}
    names |= {"r2_gene": "R2-Gene", "r2_spot": "R2-Patch"}
    for metric, published in names.items():
        assert of(table, metric)[0] == pytest.approx(expected[case][published], abs=1e-5)
