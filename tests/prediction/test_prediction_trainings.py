"""What seeds add to a difference: paired, apart, none, or not known."""

import numpy as np
import pytest

from spared_benchmark.evaluation.bootstrap import Part
from spared_benchmark.prediction.trainings import Trainings, drawn_name, seed_parts


def network(*errors, seeds="123"):
    return Trainings(tuple(seeds[: len(errors)]), np.array(errors), fixed=False)


CLOSED = Trainings(("1",), np.array([5.0]), fixed=True)


def test_the_same_seeds_are_paired_in_any_order():
    (part,) = seed_parts(network(1.0, 2.0, 4.0), network(3.5, 0.5, 1.5, seeds="312"))
    assert part == Part(pytest.approx(0.0), 2)


def test_other_seeds_are_independent():
    first, second = seed_parts(network(1.0, 3.0), network(1.0, 2.0, 3.0, seeds="456"))
    assert first == Part(pytest.approx(1.0), 1)
    assert second == Part(pytest.approx(1 / 3), 2)


def test_a_closed_form_is_paired_with_every_seed():
    assert seed_parts(network(1.0, 3.0), CLOSED) == [Part(pytest.approx(1.0), 1)]
    assert seed_parts(CLOSED, network(1.0, 3.0)) == [Part(pytest.approx(1.0), 1)]
    assert seed_parts(CLOSED, CLOSED) == []


def test_of_one_training_nobody_knows():
    assert seed_parts(network(1.0), CLOSED) is None
    assert seed_parts(network(1.0, 2.0), network(1.0)) is None


def test_names_say_what_was_drawn():
    assert drawn_name("blocks", []) == "blocks"
    assert drawn_name("blocks", [Part(1.0, 2)]) == "blocks and seeds"
    assert drawn_name("subjects", None) == "subjects of one seed"
