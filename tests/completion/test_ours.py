"""What the project's own completer is to do: better than its parts, and honest of its errors."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from spared_benchmark.completion import completers
from spared_benchmark.completion.lattice_kernel import UNITS
from spared_benchmark.completion.methods._ours_network import (
    Around,
    Averaged,
    OursNetwork,
    OursProblem,
    all_inputs,
)
from spared_benchmark.completion.protocol import describe, restored
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ConfigurationError, ContractError, InputError
from spared_benchmark.study import Budget
from spared_benchmark.training.sweep import Training
from spared_benchmark.training.trials import TrialStore

CPU = torch.device("cpu")
SIDE, GENES, RANK = 12, 20, 3
# Half the rounds of the card: small slides need no more, and tests are to be quick.
QUICK = {"rounds": 10, "train_rounds": 30, "prior_spots": (30.0, 3000.0)}
ALONE = {"networks": 0}


def sites(side=SIDE):
    row = np.repeat(np.arange(side), side)
    return row, np.tile(np.arange(side) * 2, side) + row % 2


def drawn(code, smooth=0.8, depth=0.7, signal=1.0):
    """Return one slide with what was measured of it: factors, depth, noise and dropout.

    Args:
        code: Of the slide; every slide is another drawing.
        smooth: Share of the scores' variance that is continuous over the slide.
        depth: Standard deviation of log2 library size.
        signal: Size of the loadings.
    """
    shared, own = np.random.default_rng(7), np.random.default_rng(1000 + code)
    loadings = signal * shared.normal(0, 0.6, size=(GENES, RANK))
    level, slope = shared.normal(9, 1, GENES), shared.uniform(-1.0, -0.2, GENES)
    row, col = sites()
    places = np.stack([row, col], axis=1) * np.array(UNITS["hexagonal"])
    among = np.exp(-np.linalg.norm(places[:, None] - places[None], axis=2) / 6)
    root = np.linalg.cholesky(among + 1e-9 * np.eye(row.size))
    scores = smooth**0.5 * root @ own.normal(size=(row.size, RANK))
    scores += (1 - smooth) ** 0.5 * own.normal(size=scores.shape)
    library = 12 + depth * (
        0.8 * root @ own.normal(size=row.size) + 0.6 * own.normal(size=row.size)
    )
    values = level + own.normal(0, 0.3, GENES) + np.outer(library - 12, slope)
    values += scores @ loadings.T + own.normal(0, 0.5, values.shape)
    # Low values are lost more often.
    measured = own.random(values.shape) < 1 / (1 + np.exp(-(values - 7.5)))
    return Visible(
        values=np.where(measured, values, 0).astype(np.float32),
        visible=measured,
        slide=np.full(row.size, code, np.int32),
        array_row=row.astype(np.int32),
        array_col=col.astype(np.int32),
        lattice="hexagonal",
        library_size=np.where(measured.any(axis=1), 2.0**library, np.nan).astype(np.float32),
        genes=tuple(f"g{i}" for i in range(GENES)),
    )


def together(*slides):
    names = ("values", "visible", "slide", "array_row", "array_col", "library_size")
    parts = {name: np.concatenate([getattr(one, name) for one in slides]) for name in names}
    return replace(slides[0], **parts)


def hide_entries(slide, share=0.3, seed=0):
    generator = np.random.default_rng(500 + 10 * int(slide.slide[0]) + seed)
    return slide.visible & (generator.random(slide.values.shape) < share)


def hide_blocks(slide, seed=0):
    generator = np.random.default_rng(900 + 10 * int(slide.slide[0]) + seed)
    centres = generator.choice(slide.n_spots, 3, replace=False)
    spots = np.zeros(slide.n_spots, bool)
    spots[centres] = True
    spots |= np.append(spots, False)[slide.neighbours(2)].any(axis=1)
    return slide.visible & spots[:, None]


class Cohort:
    """Two train slides, one for selection and test slides, all drawn alike."""

    def __init__(self, folder, tests=3, **how):
        self.train = together(drawn(0, **how), drawn(1, **how))
        val = drawn(2, **how)
        hidden = hide_entries(val)
        truth = np.where(hidden, val.values, np.float32(0))
        self.selection = Selection(val.without(hidden), hidden, truth)
        self.tests = [drawn(3 + number, **how) for number in range(tests)]
        self.folders = (folder / str(number) for number in count())
        self.known = {}

    def training(self, steps=50, folder=None):
        budget = Budget(steps=steps, batch_size=64, validate_every=25, learning_rates=(3e-3,))
        return Training(budget, 42, TrialStore(folder or next(self.folders)))

    def fitted(self, name, **settings):
        key = name, *settings.items()
        if key not in self.known:
            own = {**(QUICK if name == "ours" else {}), **settings}
            self.known[key] = completers.create(name, size="tiny", **own)
            self.known[key].fit(self.train, self.selection, self.training())
        return self.known[key]

    def errors(self, completer, hide):
        """Return the mean squared error on what is hidden of each test slide."""
        found = []
        for slide in self.tests:
            hidden = hide(slide)
            completed = completer.complete(slide.without(hidden))
            found.append(float(np.square(completed - slide.values)[hidden].mean()))
        return np.array(found)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return Cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def ours(cohort):
    return cohort.fitted("ours")


@pytest.fixture(scope="module")
def alone(cohort):
    """The factor model without networks."""
    return cohort.fitted("ours", **ALONE)


@pytest.fixture(scope="module")
def given(cohort):
    slide = cohort.tests[0]
    return slide.without(hide_entries(slide))


@pytest.mark.parametrize("rival", ["slide_gene_mean", "additive", "ppca"])
def test_it_beats_its_rivals_on_hidden_entries_of_every_slide(cohort, ours, rival):
    own, other = (cohort.errors(one, hide_entries) for one in (ours, cohort.fitted(rival)))
    assert (own < other).all(), (own, other)


@pytest.mark.parametrize("rival", ["slide_gene_mean", "gp"])
def test_it_beats_its_rivals_on_hidden_blocks_of_spots(cohort, ours, rival):
    own, other = (cohort.errors(one, hide_blocks) for one in (ours, cohort.fitted(rival)))
    assert own.mean() < other.mean(), (own, other)
    assert (own < other).mean() > 0.5, (own, other)


@pytest.mark.parametrize("hide", [hide_entries, hide_blocks])
def test_intervals_hold_nine_tenths_of_what_is_hidden(cohort, ours, hide):
    held, standard = [], []
    for slide in cohort.tests:
        for seed in range(2):
            hidden = hide(slide, seed=seed)
            belief = ours.believe(slide.without(hidden))
            truth = slide.values[hidden]
            held.append((truth >= belief.lower[hidden]) & (truth <= belief.upper[hidden]))
            standard.append((truth - belief.values[hidden]) / belief.sd[hidden])
    assert 0.85 < np.concatenate(held).mean() < 0.95
    assert np.square(np.concatenate(standard)).mean() == pytest.approx(1, abs=0.35)


def test_intervals_are_wider_where_nothing_is_visible(cohort, ours):
    slide = cohort.tests[0]
    blank = hide_blocks(slide).any(axis=1)
    less = slide.without(hide_entries(slide)).without(np.repeat(blank[:, None], GENES, axis=1))
    belief = ours.believe(less)
    width = belief.upper - belief.lower
    shown = ~less.visible & ~blank[:, None]
    assert width[blank].mean() > 1.1 * width[shown].mean()


def test_what_is_believed_is_what_is_completed(ours, given):
    belief = ours.believe(given)
    assert np.array_equal(belief.values, ours.complete(given))
    shown = given.visible
    assert (belief.sd[shown] == 0).all()
    for part in (belief.values, belief.lower, belief.upper):
        assert part.dtype == np.float32
        assert np.array_equal(part[shown], given.values[shown])
    hidden = ~shown
    assert (belief.sd[hidden] > 0).all()
    assert (belief.lower[hidden] < belief.values[hidden]).all()
    assert (belief.values[hidden] < belief.upper[hidden]).all()


def test_others_tell_no_uncertainty(cohort, given):
    with pytest.raises(ContractError, match="ppca tells no uncertainty"):
        cohort.fitted("ppca").believe(given)


@pytest.mark.parametrize("settings", [{}, ALONE], ids=["networks", "alone"])
def test_what_is_believed_survives_disk(cohort, given, settings):
    completer = cohort.fitted("ours", **settings)
    copy = restored(json.loads(json.dumps(describe(completer))), completer.state())
    one, other = completer.believe(given), copy.believe(given)
    for part in ("values", "sd", "lower", "upper"):
        assert np.array_equal(getattr(one, part), getattr(other, part))


def test_slides_are_believed_as_each_alone(cohort, ours):
    slides = [slide.without(hide_entries(slide)) for slide in cohort.tests[:2]]
    told = ours.believe(together(*slides))
    for number, slide in enumerate(slides):
        own = slice(number * slide.n_spots, (number + 1) * slide.n_spots)
        np.testing.assert_allclose(told.upper[own], ours.believe(slide).upper, rtol=1e-5)


def test_without_networks_no_selection_is_needed(cohort, alone, given):
    nothing = replace(cohort.selection, hidden=np.zeros_like(cohort.selection.hidden))
    completer = completers.create("ours", size="tiny", **QUICK, **ALONE)
    completer.fit(cohort.train, nothing, cohort.training())
    assert np.array_equal(completer.complete(given), alone.complete(given))
    assert "trials" not in completer.record
    with pytest.raises(InputError, match=r"ours: no entry is hidden for selection.*networks: 0"):
        completers.create("ours", size="tiny").fit(cohort.train, nothing, cohort.training())


@pytest.mark.parametrize("hide", [lambda slide: hide_entries(slide, 0.7), hide_blocks])
def test_space_is_worth_something_where_scores_are_smooth(cohort, alone, hide):
    none = cohort.fitted("ours", space=False, **ALONE)
    own, other = (cohort.errors(one, hide) for one in (alone, none))
    assert own.mean() < 0.95 * other.mean(), (own, other)
    assert (own < other).mean() > 0.5, (own, other)


def test_depth_is_worth_something_where_values_depend_on_it(tmp_path):
    # Little else is shared by genes: else a factor would do for depth where the level does not.
    strong = Cohort(tmp_path, tests=2, depth=1.5, signal=0.3)
    errors = [
        strong.errors(strong.fitted("ours", depth=depth, **ALONE), hide_entries)
        for depth in (True, False)
    ]
    assert (errors[0] < errors[1]).all(), errors
    slope = strong.fitted("ours", depth=False, **ALONE).state()["slope"]
    assert (slope == 0).all()


def weigh(factors, network, truth):
    return completers.create("ours")._weight(factors, network, truth)


@pytest.fixture
def entries():
    """Truth, a fair guess and a useless one, of 20,000 entries."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=20000)
    return truth, truth + generator.normal(0, 0.5, truth.size), generator.normal(0, 30, truth.size)


def test_the_weight_goes_to_the_expert_that_is_right(entries):
    truth, fair, useless = entries
    assert weigh(fair, useless, truth) < 0.03
    assert weigh(useless, fair, truth) > 0.95
    other = truth + np.random.default_rng(1).normal(0, 0.5, truth.size)
    assert weigh(fair, other, truth) == pytest.approx(0.5, abs=0.03)
    assert weigh(truth, truth - 1, truth) < 0.03
    assert 0 <= weigh(fair, 2 * fair - truth, truth) <= 1


def test_the_weight_of_a_slide_that_tells_nothing_is_that_of_the_setting(entries):
    truth, fair, _ = entries
    assert weigh(fair, fair, truth) == 0.3
    assert weigh(*np.empty((3, 0))) == 0.3
    other = truth + np.random.default_rng(1).normal(0, 0.5, truth.size)
    assert weigh(fair[:3], other[:3], truth[:3]) == pytest.approx(0.3, abs=0.01)


def test_a_small_slide_gives_useless_networks_no_weight(entries):
    truth, fair, useless = (array[:300] for array in entries)
    assert weigh(fair, useless, truth) < 0.03


def test_hidden_values_reach_neither_value_nor_interval(ours, cohort):
    slide = cohort.tests[1]
    hidden = hide_entries(slide)
    other = replace(slide, values=np.where(hidden, slide.values + 50, slide.values))
    one, two = (ours.believe(of.without(hidden)) for of in (slide, other))
    assert np.array_equal(one.upper, two.upper)
    assert np.array_equal(one.values, two.values)


def network_state(completer):
    return {name: part for name, part in completer.state().items() if name.startswith("network.")}


@pytest.mark.parametrize("stop_at", [10, 40])
def test_a_training_that_is_stopped_ends_with_the_same_bits(
    cohort, ours, tmp_path, monkeypatch, stop_at
):
    calls, loss = count(1), OursProblem.loss

    def stopping(self, generator):
        if next(calls) == stop_at:
            raise KeyboardInterrupt
        return loss(self, generator)

    def fit():
        completer = completers.create("ours", size="tiny", **QUICK)
        completer.fit(cohort.train, cohort.selection, cohort.training(folder=tmp_path))
        return completer

    with monkeypatch.context() as patch:
        patch.setattr(OursProblem, "loss", stopping)
        with pytest.raises(KeyboardInterrupt):
            fit()
    taken, whole = network_state(fit()), network_state(ours)
    assert taken.keys() == whole.keys()
    assert all(np.array_equal(taken[name], whole[name]) for name in whole)
    assert np.abs(whole["network.0.readout.weight"]).max() > 0


def around_of(slide, seed=0):
    level = np.full(slide.values.shape, 9.0)
    depth = np.random.default_rng(seed).normal(size=(slide.n_spots, 1))
    return Around.of(slide, level, depth, CPU)


def problem_of(around, batch_size, hidden):
    torch.manual_seed(0)
    network = OursNetwork(GENES, 16, 0.0)
    torch.nn.init.normal_(network.readout.weight)
    judged = (torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1))
    return OursProblem(Averaged(network), around, judged, batch_size, hidden)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(5))
def test_inputs_depend_on_nothing_that_is_hidden(cohort, seed):
    around = around_of(cohort.train)
    inputs, target, hidden = problem_of(around, 1, (0.3, 0.6)).draw(seeded(seed))
    assert hidden.any()
    row = torch.randperm(len(around.values), generator=seeded(seed))[:1]
    values = around.values.clone()
    values[row] = torch.where(hidden, values[row] + 1000, values[row])
    again, moved, same = problem_of(replace(around, values=values), 1, (0.3, 0.6)).draw(
        seeded(seed)
    )
    assert torch.equal(again, inputs)
    assert torch.equal(same, hidden)
    assert torch.equal(moved - target, torch.where(hidden, moved - target, 0.0))
    # And by gradients: no hidden entry of the spot or of another spot moves the inputs.
    leaf = around.values.clone().requires_grad_()
    drawn_inputs, _, _ = problem_of(replace(around, values=leaf), 1, (0.3, 0.6)).draw(seeded(seed))
    (moves,) = torch.autograd.grad(drawn_inputs.square().sum(), leaf)
    assert (moves[row][hidden] == 0).all()
    near = torch.cat([row, around.tables[-1][row[0]]])
    far = torch.ones(len(leaf), dtype=torch.bool)
    far[near[near >= 0]] = False
    assert (moves[far] == 0).all()
    assert (moves[~around.visible] == 0).all()


def test_the_loss_depends_on_what_is_expected_of_hidden_entries_alone(cohort):
    problem = problem_of(around_of(cohort.train), 32, (0.2, 0.6))
    kept = []
    problem.module.register_forward_hook(
        lambda *told: kept.append(told[2]) or told[2].retain_grad()
    )
    problem.loss(seeded(3))["loss"].backward()
    _, _, hidden = problem.draw(seeded(3))
    (expected,) = kept
    assert (expected.grad[~hidden] == 0).all()
    assert (expected.grad[hidden] != 0).all()


def test_with_nothing_hidden_a_batch_has_the_inputs_of_use(cohort):
    around = around_of(cohort.train)
    spots = len(around.values)
    inputs, target, hidden = problem_of(around, spots, (0.0, 0.0)).draw(seeded(1))
    rows = torch.randperm(spots, generator=seeded(1))
    assert not hidden.any()
    assert torch.equal(target, around.values[rows])
    torch.testing.assert_close(inputs, all_inputs(around)[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_training_hides_the_share_asked_for_and_low_values_more_often(cohort, share):
    around = around_of(cohort.train)
    spots = len(around.values)
    rates, lost, kept = [], [], []
    for seed in range(6):
        _, _, hidden = problem_of(around, spots, (share, share)).draw(seeded(seed))
        rows = torch.randperm(spots, generator=seeded(seed))
        visible = around.visible[rows]
        assert not (hidden & ~visible).any()
        rates.append(float(hidden.sum() / visible.sum()))
        lost.append(float(around.standing[rows][hidden].mean()))
        kept.append(float(around.standing[rows][visible & ~hidden].mean()))
    assert np.mean(rates) == pytest.approx(share, abs=0.06)
    assert (np.array(lost) < np.array(kept)).all()


def test_the_mean_of_weights_follows_and_is_what_is_used():
    torch.manual_seed(0)
    averaged = Averaged(OursNetwork(3, 4, 0.0))
    inputs = torch.randn(5, 15)
    with torch.no_grad():
        averaged.moving.readout.bias.fill_(2.0)
        assert float(averaged.train()(inputs).mean()) == pytest.approx(2.0)
        assert float(averaged.eval()(inputs).abs().max()) == 0.0
    averaged.follow()
    # A mean over what was and what is: the first step counts for ten of eleven parts.
    assert float(averaged.eval()(inputs).detach().mean()) == pytest.approx(20 / 11)
    for _ in range(3000):
        averaged.follow()
    torch.testing.assert_close(averaged.eval()(inputs), averaged.train()(inputs))
    assert not any(weight.requires_grad for weight in averaged.mean.parameters())
    assert "steps" in averaged.state_dict()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"networks": -1}, "networks is -1; allowed: a whole number from 0"),
        ({"networks": 2.5}, "networks is 2.5; allowed: a whole number from 0"),
        ({"rank": 0}, "rank is 0; allowed: a whole number from 1"),
        ({"inner_share": 1.0}, "inner_share is 1.0; allowed: a number from 0.01 to 0.9"),
        ({"prior_spots": ()}, r"prior_spots is \(\); allowed: a number .*, or a list of such"),
        ({"prior_spots": "300"}, "prior_spots is '300'"),
        ({"length": 0}, "length is 0; allowed"),
        ({"least_hidden": 0.8}, "least_hidden 0.8 is above most_hidden 0.7"),
        ({"space": "no"}, "space is 'no'; allowed: true or false"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(ConfigurationError, match=told):
        completers.create("ours", **settings)


def test_a_slide_that_tells_nothing_follows_train_most(cohort, ours):
    slide = cohort.tests[0]
    keep = np.zeros(slide.values.shape, dtype=bool)
    keep[0, 0] = True
    little = slide.without(slide.visible & ~keep)
    asked = []
    plain = ours._experts
    ours._experts = lambda given, spots: asked.append(spots) or plain(given, spots)
    try:
        ours.complete(little)
    finally:
        del ours._experts
    assert asked[-2] == max(ours.settings["prior_spots"])  # the last but one, before blocks


def test_variants_share_the_networks_that_are_the_same(cohort, tmp_path):
    one, other = (cohort.fitted("ours", rounds=rounds) for rounds in (3, 4))
    seeds = {trial["trial"] for trial in one.record["trials"]}
    assert seeds == {trial["trial"] for trial in other.record["trials"]}
    deeper = cohort.fitted("ours", width=8)
    assert seeds.isdisjoint(trial["trial"] for trial in deeper.record["trials"])
