"""The paper's statements on completion, judged by scores made up for the purpose."""

from __future__ import annotations

import pandas as pd
import pytest

from spared_benchmark.reporting.ablations import CONTEXT, HOPS, IMAGE, MEASURED, NO_MEDIAN
from spared_benchmark.reporting.claims import (
    IN_PART,
    NOT_REPRODUCED,
    REPRODUCED,
    UNTESTABLE,
    Claim,
    claims_grid,
    completion_claims,
)


def summary(errors: dict[str, dict[float, float]], space: str = "log_tpm") -> pd.DataFrame:
    """Return a summary of one cohort: MSE by completer and hidden share."""
    return pd.DataFrame(
        [
            {
                "cohort": "A",
                "protocol": "inductive",
                "space": space,
                "regime": "entries",
                "hidden_fraction": share,
                "completer": name,
                "kind": "ceiling" if name == "floor" else "method",
                "mse": error,
                "pcc_gene": 0.5,
            }
            for name, by_share in errors.items()
            for share, error in by_share.items()
        ]
    )


def starting(claims: list[Claim], words: str) -> Claim:
    """Return the one claim whose words contain ``words``."""
    found = [claim for claim in claims if words in claim.words]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("spackle", "verdict"), [(0.8, REPRODUCED), (2.0, IN_PART), (5.0, NOT_REPRODUCED)]
)
def test_reduction_beside_the_median_and_beside_a_mean(spackle, verdict):
    errors = {"spackle": {0.3: spackle}, "median": {0.3: 4.0}, "gene_mean": {0.3: 1.0}}
    claim = starting(completion_claims(summary(errors)), "82.5")
    assert claim.verdict == verdict
    assert (
        claim.found["A"].replace("\N{MINUS SIGN}", "-").startswith(f"{100 * (1 - spackle / 4):g}")
    )
    assert claim.beside.startswith("gene_mean: 75")


@pytest.mark.parametrize(
    ("zeros", "verdict"), [(70.0, REPRODUCED), (20.0, IN_PART), (3.0, NOT_REPRODUCED)]
)
def test_how_far_stlearn_is_and_what_telling_it_the_mask_does(zeros, verdict):
    errors = {"spackle": {0.3: 1.0}, "sme_zeros": {0.3: zeros}, "sme": {0.3: 0.7}}
    claim = starting(completion_claims(summary(errors)), "stLearn")
    assert claim.verdict == verdict
    assert "0.700" in claim.beside


@pytest.mark.parametrize(
    ("median", "spackle", "verdict"),
    [(3.0, 1.1, REPRODUCED), (1.1, 1.1, IN_PART), (3.0, 2.0, IN_PART), (1.0, 2.0, NOT_REPRODUCED)],
)
def test_growth_with_the_share_hidden(median, spackle, verdict):
    errors = {
        "spackle (paper evaluation)": {0.1: 1.0, 0.7: spackle},
        "median (paper evaluation)": {0.1: 1.0, 0.7: median},
        "median": {0.1: 1.0, 0.7: 0.5},
    }
    claim = starting(completion_claims(summary(errors)), "70 %")
    assert claim.verdict == verdict
    assert "median 0.500" in claim.beside


def test_corrected_space_decides_where_it_was_scored():
    own = summary({"spackle": {0.3: 3.0}, "median": {0.3: 4.0}})
    printed = summary({"spackle": {0.3: 0.4}, "median": {0.3: 4.0}}, space="combat")
    printed["pcc_gene"] = 0.7
    claims = completion_claims(pd.concat([own, printed], ignore_index=True))
    assert starting(claims, "82.5").verdict == REPRODUCED
    average = starting(claims, "0.713")
    assert average.verdict == UNTESTABLE
    assert average.found["A"] == "0.40; 0.70"
    assert starting(claims, "Ablations").verdict == UNTESTABLE


@pytest.mark.parametrize(
    ("zeros", "verdict"), [(5.0, REPRODUCED), (2.0, IN_PART), (0.9, NOT_REPRODUCED)]
)
def test_what_medians_are_worth_and_what_the_loss_does_without_them(zeros, verdict):
    errors = {"spackle": {0.3: 1.0}, NO_MEDIAN: {0.3: zeros}, MEASURED: {0.3: 0.9}}
    claims = completion_claims(summary(errors, "combat"))
    claim = starting(claims, "6.166")
    assert claim.verdict == verdict
    assert claim.found == {"A": f"{zeros:.3f}"}
    assert "0.900 times" in claim.beside
    assert not [one for one in claims if one.words.startswith("Ablations")]


@pytest.mark.parametrize(
    ("alone", "wider", "verdict"),
    [
        (1.2, 1.01, REPRODUCED),
        (1.0, 1.01, IN_PART),
        (1.2, 0.8, IN_PART),
        (0.9, 0.8, NOT_REPRODUCED),
    ],
)
def test_whether_neighbours_help_and_two_steps_are_enough(alone, wider, verdict):
    errors = dict(zip(HOPS, ({0.3: error} for error in (alone, 1.1, 1.0, wider)), strict=True))
    claim = starting(completion_claims(summary(errors)), "two steps are enough")
    assert claim.verdict == verdict
    assert claim.found["A"] == f"{alone:.2f}; 1.10; 1.00; {wider:.2f}"


@pytest.mark.parametrize(
    ("genes", "image", "verdict"),
    [(1.1, 1.2, REPRODUCED), (0.9, 1.2, IN_PART), (0.9, 0.9, NOT_REPRODUCED)],
)
def test_whether_further_inputs_harm(genes, image, verdict):
    errors = {"spackle": {0.3: 1.0}, CONTEXT: {0.3: genes}, IMAGE: {0.3: image}}
    assert starting(completion_claims(summary(errors)), "1,024 genes").verdict == verdict


def test_what_was_not_run_is_not_judged():
    assert completion_claims(summary({"additive": {0.3: 1.0}, "floor": {0.3: 0.5}})) == []
    assert completion_claims(pd.DataFrame()) == []


def test_grid_has_a_column_for_each_cohort():
    errors = {"spackle": {0.3: 1.0}, "median": {0.3: 4.0}}
    grid = claims_grid(completion_claims(summary(errors)))
    assert "A" in [column.label for column in grid.columns]
    assert all(len(row) == len(grid.columns) for group in grid.groups for row in group.rows)
