"""Blind slides hold no label, and say so."""

from dataclasses import replace

import numpy as np
import pytest
from prediction_samples import cohort

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.resident import Resident
from spared_benchmark.prediction.sampling import draw, gather
from spared_benchmark.prediction.types import BlindSlide, Sampling, Slide


@pytest.fixture(scope="module")
def slide():
    return cohort().slides[0]


@pytest.mark.parametrize("label", ["y", "measured", "weight", "counts"])
def test_a_leak_is_an_attribute_error_that_says_why(slide, label):
    blind = slide.blind()
    assert type(blind) is BlindSlide
    with pytest.raises(AttributeError, match=f"slide 'a' is blind: '{label}' is withheld"):
        getattr(blind, label)
    with pytest.raises(AttributeError, match="no attribute 'expression'"):
        _ = blind.expression


def test_blind_keeps_everything_else(slide):
    blind = slide.blind()
    kept = set(vars(slide)) - {"y", "measured", "weight", "counts"}
    assert all(getattr(blind, name) is getattr(slide, name) for name in kept)


def test_labels_must_fit_the_spots(slide):
    with pytest.raises(ContractError, match=r"slide 'a': 20 spots, but labels of shape"):
        replace(slide, y=slide.y[:-1])


def test_a_batch_of_blind_slides_has_no_loss(slide):
    import torch

    resident = Resident.of([slide.blind()], Sampling())
    (batch,) = draw(resident, 4, torch.Generator())
    with pytest.raises(ContractError, match="blind slides has no target"):
        batch.labels()
    with pytest.raises(ContractError, match="no pixels"):
        batch.images()


def test_labels_are_those_of_the_queries(slide):
    import torch

    resident = Resident.of([slide], Sampling())
    y, weight = gather(resident, torch.tensor([3, 1])).labels()
    np.testing.assert_array_equal(y, slide.y[[3, 1]])
    np.testing.assert_array_equal(weight, slide.weight[[3, 1]])
    assert isinstance(slide, Slide)
