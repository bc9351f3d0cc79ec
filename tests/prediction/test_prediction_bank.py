"""Exemplars never come from val or test, nor from beside the query."""

from dataclasses import replace

import numpy as np
import pytest
from prediction_samples import cohort

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.bank import Bank
from spared_benchmark.tissue.lattice import offsets


@pytest.fixture(scope="module")
def slides():
    return cohort(target="measured")


def keys(slides):
    return [slide.features["colours"] for slide in slides]


def bank_of(train, **options):
    return Bank.of(train, keys(train), **options)


def slide_of_rows(bank, rows):
    return np.repeat(bank.slides, bank.sizes)[rows]


def test_train_slides_alone_enter(slides):
    others = [*slides.of("train"), *slides.of("val")]
    with pytest.raises(ContractError, match="slide 'c' is of 'val'; only train slides enter"):
        bank_of(others)


def test_the_nearest_by_hand(slides):
    bank = replace(bank_of(slides.of("train")), keys=np.arange(40, dtype=np.float32)[:, None])
    asked = np.full((20, 1), 7.2, dtype=np.float32)
    rows, distances = bank.nearest(slides.of("val")[0].blind(), asked, 3)
    np.testing.assert_array_equal(rows[4], [7, 8, 6])
    np.testing.assert_allclose(distances[4], [0.2, 0.8, 1.2], rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
def test_a_key_finds_itself_at_no_distance(slides, metric):
    train = slides.of("train")
    bank = bank_of(train, exclude="none")
    rows, distances = bank.nearest(train[1].blind(), keys(train)[1], 2, metric)
    np.testing.assert_array_equal(rows[:, 0], 20 + np.arange(20))
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-6)


def test_a_train_slide_finds_nothing_of_its_own(slides):
    train = slides.of("train")
    bank = bank_of(train)
    assert bank.exclude == "own_slide"
    for slide, own in zip(train, keys(train), strict=True):
        rows, _ = bank.nearest(slide.blind(), own, 5)
        assert slide.slide not in slide_of_rows(bank, rows)


def test_of_a_single_train_slide_the_neighbourhood_is_left_out(slides):
    only = slides.of("train")[0]
    bank = bank_of([only], hops=1)
    assert bank.exclude == "own_neighbourhood"
    rows, _ = bank.nearest(only.blind(), keys([only])[0], 4)
    for spot, found in enumerate(rows):
        near = {spot, *(n for n in only.neighbours[spot] if n >= 0)}
        assert not near & set(found.tolist())
    # By two hops: the neighbours' neighbours as well.
    wide, _ = bank_of([only], hops=2).nearest(only.blind(), keys([only])[0], 2)
    beside = {m for n in only.neighbours[7] if n >= 0 for m in only.neighbours[n] if m >= 0}
    assert not beside & set(wide[7].tolist())


def test_other_slides_may_find_everything(slides):
    bank = bank_of(slides.of("train"))
    val = slides.of("val")[0]
    rows, _ = bank.nearest(val.blind(), keys([val])[0], 40)
    assert set(slide_of_rows(bank, rows)[0]) == {"a", "b"}


def test_too_few_left_is_an_error_that_says_so(slides):
    train = slides.of("train")
    message = (
        r"'own_slide' leaves out, a spot of slide 'a' finds 20 of the 21 .* \(40 in the bank\)"
    )
    with pytest.raises(ContractError, match=message):
        bank_of(train).nearest(train[0].blind(), keys(train)[0], 21)


def steps(first, second):
    """Lattice steps between all spots of two hexagonal slides, walked site by site."""
    sites, ring = offsets("hexagonal", 12)
    rings = dict(zip(map(tuple, sites), ring, strict=True))
    rings[0, 0] = 0
    return np.array([[rings[tuple(b - a)] for b in second.array_rc] for a in first.array_rc])


def found_alone(bank, slide):
    """All that each spot of ``slide`` may find, −1 for the rest."""
    rows, distances = bank.nearest(slide.blind(), keys([slide])[0], 20, fewer=True)
    assert np.array_equal(rows < 0, np.isinf(distances))
    return rows


def test_a_neighbourhood_is_told_by_places_whatever_spots_there_are(slides):
    only = slides.of("train")[0]
    holes = only.take(np.array([0, 1, 3, 4, 6, 8, 10, 11, 12, 14, 15, 19]))
    # Permuted, a part of it, and a part with a name of its own: the same neighbourhoods.
    others = [only, holes, only.take(np.arange(20)[::-1])]
    others.append(replace(only.take(np.arange(5)), slide="quarter", part_of=only.slide))
    for hops in (1, 2, 3):
        bank = bank_of([holes], hops=hops)
        for other in others:
            rows, apart = found_alone(bank, other), steps(other, holes)
            allowed = [set(np.flatnonzero(line > hops)) for line in apart]
            assert [set(line[line >= 0]) for line in rows] == allowed


def test_a_part_with_its_own_name_finds_nothing_of_its_slide(slides):
    train = slides.of("train")
    part = replace(train[0].take(np.arange(5)), slide="quarter", part_of="a")
    rows, _ = bank_of(train).nearest(part.blind(), keys([part])[0], 20)
    assert rows.min() == 20


def test_the_neighbourhoods_of_whole_parts_can_be_left_out(slides):
    only = slides.of("train")[0]
    parts = np.arange(20) // 5 // 2  # the first two rows, and the others
    bank = bank_of([only], hops=1)
    banned = bank.excluded(only.blind(), 3, 20, parts)
    near = steps(only, only) <= 1
    expected = np.stack([near[parts == part].any(axis=0) for part in (0, 1)])[parts]
    np.testing.assert_array_equal(banned, expected[3:])
    assert not banned.all(axis=1).any()


def test_of_equally_near_ones_the_first_are_found(slides):
    bank = bank_of(slides.of("train"))
    alike = replace(bank, keys=np.repeat(bank.keys[::8], 8, axis=0))
    val = slides.of("val")[0]
    rows, _ = alike.nearest(val.blind(), keys([val])[0], 11)
    assert (rows[:, :8] == rows[:, :1] + np.arange(8)).all()
    assert (rows[:, 8:] == rows[:, 8:9] + np.arange(3)).all()
    assert not (rows % 8)[:, [0, 8]].any()


def test_a_bank_survives_as_arrays(slides):
    train = slides.of("train")
    bank = bank_of(train, hops=2)
    again = Bank.from_state({name: array.copy() for name, array in bank.state().items()})
    assert (again.slides, again.sizes) == (bank.slides, bank.sizes)
    assert (again.exclude, again.hops) == (bank.exclude, bank.hops)
    val = slides.of("val")[0].blind()
    for first, second in zip(
        bank.nearest(val, val.features["colours"], 3),
        again.nearest(val, val.features["colours"], 3),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)
