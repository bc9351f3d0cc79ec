"""One sampler for spots, neighbourhoods and slides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from prediction_samples import cohort

from spared_benchmark.errors import ContractError
from spared_benchmark.prediction.resident import Resident, scaled_place
from spared_benchmark.prediction.sampling import batches, draw, gather
from spared_benchmark.prediction.types import Sampling


@pytest.fixture(scope="module")
def slides():
    return cohort().of("train")


def fields(batch):
    return {name: value for name, value in vars(batch).items() if torch.is_tensor(value)}


def test_spots_are_drawn_without_repetition_and_by_the_generator(slides):
    resident = Resident.of(slides, Sampling())
    first, again, other = (
        next(draw(resident, 16, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)
    )
    assert torch.equal(first.spot, again.spot)
    assert not torch.equal(first.spot, other.spot)
    assert len(first.spot.unique()) == 16
    assert len(next(draw(resident, 10**6, torch.Generator())).spot) == resident.n_spots


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(kind="ego", hops=1),
        Sampling(kind="slide"),
        Sampling(kind="slide", tiles=2, halo=1),
    ],
)
def test_every_spot_is_asked_for_exactly_once(slides, sampling):
    resident = Resident.of(slides, sampling)
    asked = torch.cat([batch.spot[batch.query] for batch in batches(resident, 7)])
    assert torch.equal(asked.sort().values, torch.arange(resident.n_spots))
    assert sampling.tiles > 1 or torch.equal(asked, torch.arange(resident.n_spots))


def test_a_batch_holds_what_belongs_to_its_spots(slides):
    resident = Resident.of(slides, Sampling(image_size=20, features=("colours",)))
    rows = torch.tensor([25, 3])
    batch = gather(resident, rows)
    assert batch.slide.tolist() == [1, 0]
    np.testing.assert_array_equal(batch.pixels[1].permute(1, 2, 0), slides[0].patches.array[3])
    np.testing.assert_array_equal(batch.features["colours"][0], slides[1].features["colours"][5])
    np.testing.assert_array_equal(batch.array_rc[0], slides[1].array_rc[5])
    np.testing.assert_array_equal(batch.y[0], slides[1].y[5])
    assert batch.neighbours is None


def test_an_ego_of_no_hops_is_a_batch_of_spots(slides):
    rows = torch.tensor([4, 30, 4, 0])
    spots = fields(gather(Resident.of(slides, Sampling(kind="spots")), rows))
    egos = fields(gather(Resident.of(slides, Sampling(kind="ego", hops=0)), rows))
    assert spots.keys() == egos.keys()
    assert all(torch.equal(spots[name], egos[name]) for name in spots)


def test_an_ego_is_the_spot_with_its_neighbourhood(slides):
    resident = Resident.of(slides, Sampling(kind="ego", hops=1))
    batch = gather(resident, torch.tensor([27, 0, 27]))
    table = resident.neighbours
    for block, query in enumerate([27, 0, 27]):
        nodes = batch.spot[batch.block == block].tolist()
        assert sorted(nodes) == sorted([query, *(n for n in table[query].tolist() if n >= 0)])
        assert batch.spot[(batch.block == block) & batch.query].tolist() == [query]
    for row in range(len(batch.spot)):
        reached = batch.neighbours[row]
        found = reached[reached >= 0]
        assert (batch.block[found] == batch.block[row]).all()
        assert set(batch.spot[found].tolist()) <= set(table[batch.spot[row]].tolist())
    # Of a centre, every neighbour is there.
    centre = batch.neighbours[batch.query][0]
    assert (centre >= 0).sum() == (table[27] >= 0).sum()


def test_an_ego_of_many_hops_is_the_slide(slides):
    everything = gather(Resident.of(slides, Sampling(kind="ego", hops=12)), torch.tensor([2]))
    whole = next(batches(Resident.of(slides, Sampling(kind="slide")), 1))
    assert torch.equal(everything.spot, whole.spot)
    assert torch.equal(everything.neighbours, whole.neighbours)
    assert whole.query.all()


def test_slides_are_drawn_whole(slides):
    resident = Resident.of(slides, Sampling(kind="slide"))
    drawn = [next(draw(resident, 1, torch.Generator().manual_seed(seed))) for seed in range(8)]
    assert {tuple(batch.slide.unique().tolist()) for batch in drawn} == {(0,), (1,)}
    assert all(len(batch.spot) == 20 for batch in drawn)


def test_augmentation_turns_training_patches_only(slides):
    sampling = Sampling(image_size=20, augment="each")
    resident = Resident.of(slides, sampling)
    batch = next(draw(resident, 40, torch.Generator().manual_seed(0)))
    plain = gather(resident, batch.spot)
    same = (batch.pixels == plain.pixels).flatten(1).all(dim=1)
    assert 0 < same.sum() < 20  # one in eight stays
    first = next(batches(resident, 40))
    assert torch.equal(first.pixels, gather(resident, first.spot).pixels)


def test_place_is_scaled_on_each_slide_and_a_single_spot_lies_in_the_middle():
    place = scaled_place(np.array([[0, 10], [5, 20], [10, 30]], dtype=np.int32))
    np.testing.assert_allclose(place, [[-1, -1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(scaled_place(np.array([[7, 3]], dtype=np.int32)), [[0, 0]])


def test_labels_come_along_only_when_every_slide_has_them(slides):
    mixed = Resident.of([slides[0], slides[1].blind()], Sampling())
    assert mixed.y is None
    assert mixed.weight is None


def test_what_is_missing_is_named(slides):
    bare = replace(slides[0], patches=None)
    with pytest.raises(ContractError, match="slide 'a' has no patches"):
        Resident.of([bare], Sampling(image_size=8))
    with pytest.raises(ContractError, match=r"no features 'colour' \(did you mean 'colours'\?\)"):
        Resident.of(slides, Sampling(features=("colour",)))
