"""Factors that are continuous over the slide, a network beside them, and what both may miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from spared_benchmark.completion.belief import Belief
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.conformal import ErrorShape
from spared_benchmark.completion.depth_level import DepthLevel, depth_of
from spared_benchmark.completion.inner import inner_blocks, inner_hidden
from spared_benchmark.completion.kriging import LatticeCovariance
from spared_benchmark.completion.methods._ours_network import (
    Around,
    Averaged,
    OursNetwork,
    OursProblem,
    all_inputs,
    standardise,
    weights_of,
)
from spared_benchmark.completion.methods._ours_settings import check_settings
from spared_benchmark.completion.spatial_factors import (
    Evidence,
    Expected,
    Loadings,
    Space,
    expect,
    fit_loadings,
)
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import InputError
from spared_benchmark.registry import Card
from spared_benchmark.study import Size
from spared_benchmark.training.sweep import sweep

if TYPE_CHECKING:
    from spared_benchmark.training.sweep import Training

_Floats = NDArray[np.float64]
_LEAST = 1e-9
_BLOCK_HOPS, _BLOCK_CENTRES = 2, 1 / 50  # of the spots that are hidden to see what that misses
# Of the settings those by which a network's training is another one: variants share the rest.
_OF_NETWORKS = ("width", "dropout", "least_hidden", "most_hidden", "depth")


@dataclass(frozen=True, eq=False)
class _Experts:
    """What each expert expects of one slide, all ``(n_spots, n_genes)``.

    Attributes:
        factors: The factor model.
        variance: Of the factor model, of what would be measured.
        network: The networks' mean; the factor model where the spot has nothing visible, or where
            there is no network.
    """

    factors: _Floats
    variance: _Floats
    network: _Floats

    def mixed(self, weight: float) -> _Floats:
        """Return the mean of both with ``weight`` for the network."""
        return self.factors + weight * (self.network - self.factors)


class Ours(Completer):
    """Fills with a weighted mean of a spatial factor model and of small networks.

    Level: the gene's mean on the slide and its slope by the spot's depth (`depth_level`). The
    factor model (`spatial_factors`) and the networks (`_ours_network`) expect deviations from it.
    On each slide, ``inner_share`` of what is visible is hidden once more, and on that the weight of
    the networks and how many spots the train loadings are worth are chosen, and the scale of
    intervals is set (`conformal`); then all that is visible is used.

    Hyper-parameters: ``rank`` to begin with; ``length`` of the covariance over the slide, pitches;
    ``prior_spots`` to choose from; ``rounds`` on a slide and ``train_rounds``; ``networks``, how
    many, 0 for none; ``width``, ``dropout``, ``least_hidden`` and ``most_hidden`` of their
    training; ``weight``, the networks' on a slide that tells nothing, and ``weight_entries``, how
    many entries it is worth; ``space: false`` takes the factors of each spot alone and
    ``depth: false`` no slope by depth, for ablation.
    """

    card: ClassVar[Card] = Card(
        name="ours",
        label="Kriged factors",
        summary="Slide gene mean plus depth slope plus Bayesian factors that are Gaussian "
        "processes over the slide, averaged with small networks by weights learnt on the slide.",
        source="this project (docs/ours.md); variational factor analysis: Ilin and Raiko 2010; "
        "kriging: Matheron 1963; stacking: Wolpert 1992; intervals: Romano et al. 2019",
        year=2026,
        uses=frozenset({"genes", "space", "library_size"}),
        sizes={
            "paper": {"width": 512, "networks": 3, "rank": 24},
            "small": {"width": 256, "networks": 3, "rank": 20},
            "tiny": {"width": 32, "networks": 1, "rank": 8},
        },
        trained=True,
    )
    defaults: ClassVar[dict[str, Any]] = {
        "length": 6.0,
        "prior_spots": (30.0, 300.0, 3000.0),
        "rounds": 20,
        "train_rounds": 60,
        "dropout": 0.2,
        "least_hidden": 0.1,
        "most_hidden": 0.7,
        "inner_share": 0.2,
        "weight": 0.3,
        "weight_entries": 1000.0,
        "space": True,
        "depth": True,
    }
    tells_uncertainty: ClassVar[bool] = True

    def __init__(self, size: Size = "small", **settings: Any) -> None:
        super().__init__(size, **settings)
        check_settings(self.card.name, self.settings)

    def _fit(self, train: Visible, selection: Selection, training: Training) -> None:
        self.device = torch.device(training.device)
        self.level = DepthLevel.of_train(train)
        if not self.settings["depth"]:
            self.level = replace(self.level, slope=np.zeros_like(self.level.slope))
        evidence = self._evidence(train, self._level(train)[0])
        self.loadings = fit_loadings(evidence, self.settings["rank"], self.settings["train_rounds"])
        self.networks: list[OursNetwork] = []
        trials = []
        for number in range(self.settings["networks"]):
            seed = np.random.SeedSequence([training.seed, number]).generate_state(1)
            own = replace(training, seed=int(seed[0]))
            trials += self._fit_network(train, selection, own)
        self._learn_errors(train)
        self.record = {
            "rank": int(self.loadings.mean.shape[1]),
            **({"trials": trials} if trials else {}),
        }

    def _complete(self, slide: Visible) -> NDArray[np.floating]:
        return self._believe(slide).values

    def _believe(self, slide: Visible) -> Belief:
        told = np.empty((4, *slide.values.shape), dtype=np.float32)
        for code in slide.slides:
            rows = slide.slide == code
            told[:, rows] = self._one_slide(slide.rows(rows))
        return Belief(*told)

    def _one_slide(self, slide: Visible) -> NDArray[np.floating]:
        """Return value, deviation and both ends of one slide ``(4, n_spots, n_genes)``."""
        hidden = inner_hidden(slide, self.settings["inner_share"])
        less = slide.without(hidden)
        truth = slide.values[hidden].astype(np.float64)
        # From the largest on: where nothing tells them apart, train is followed most.
        tried = {spots: self._experts(less, spots) for spots in self._prior_spots}
        prior_spots = min(
            tried, key=lambda one: float(np.square(tried[one].factors[hidden] - truth).sum())
        )
        inner = tried[prior_spots]
        weight = self._weight(inner.factors[hidden], inner.network[hidden], truth)
        errors = (truth - inner.mixed(weight)[hidden]) / np.sqrt(inner.variance[hidden])
        # A spot of which all that was visible is hidden says nothing of those that show something.
        spot, gene = np.nonzero(hidden)
        showing = _showing(less)[spot]
        scale = self.shown_errors.scale(errors[showing], gene[showing])
        experts = self._experts(slide, prior_spots)
        value, model_sd = experts.mixed(weight), np.sqrt(experts.variance)
        shows = _showing(slide)
        blind_scale = 1.0 if shows.all() else self._blind_scale(slide, prior_spots)
        lower, upper, spread = (
            np.where(
                shows[:, None],
                scale * getattr(self.shown_errors, part),
                blind_scale * getattr(self.blind, part),
            )
            for part in ("lower", "upper", "spread")
        )
        return np.stack(
            [value, spread * model_sd, value + lower * model_sd, value + upper * model_sd]
        )

    def _blind_scale(self, slide: Visible, prior_spots: float) -> float:
        """Return the scale of intervals of spots of which nothing is visible."""
        hidden = inner_blocks(slide, _BLOCK_HOPS, _BLOCK_CENTRES)
        experts = self._experts(slide.without(hidden), prior_spots)
        errors = (slide.values - experts.factors)[hidden] / np.sqrt(experts.variance[hidden])
        return self.blind.scale(errors, np.nonzero(hidden)[1])

    def _weight(self, factors: _Floats, network: _Floats, truth: _Floats) -> float:
        """Return the networks' weight of least squared error, shrunk to the setting's.

        The setting is worth ``weight_entries`` entries on which the networks differ from the
        factors as they do here, but never by more than the factors are wrong: networks that are far
        off on this slide must not lend weight to the setting.

        Args:
            factors: Of the inner hidden entries ``(n,)``.
            network: Of the same ``(n,)``.
            truth: Of the same ``(n,)``.
        """
        step, missed = network - factors, truth - factors
        curvature = float(np.square(step).sum())
        usual = min(curvature, float(np.square(missed).sum())) / max(len(truth), 1)
        prior = self.settings["weight_entries"] * usual
        if curvature + prior <= _LEAST:
            return float(self.settings["weight"])
        best = float((step * missed).sum()) + prior * self.settings["weight"]
        return float(np.clip(best / (curvature + prior), 0.0, 1.0))

    def _experts(self, slide: Visible, prior_spots: float) -> _Experts:
        level, depth = self._level(slide)
        expected = self._factors(slide, level, prior_spots)
        factors = level + expected.mean.cpu().numpy()
        network = factors
        if self.networks:
            around = all_inputs(Around.of(slide, level, depth, self.device))
            with torch.inference_mode():
                told = torch.stack([one.eval()(around) for one in self.networks]).mean(dim=0)
            shows = _showing(slide)[:, None]
            network = np.where(shows, level + told.cpu().numpy(), factors)
        variance = np.maximum(expected.variance.cpu().numpy(), _LEAST)
        return _Experts(factors, variance, network)

    def _factors(self, slide: Visible, level: _Floats, prior_spots: float) -> Expected:
        space = None
        if self.settings["space"]:
            neighbours = torch.from_numpy(slide.neighbours(1).astype(np.int64)).to(self.device)
            covariance = LatticeCovariance(slide, self.settings["length"], self.device)
            space = Space(covariance, neighbours)
        evidence, rounds = self._evidence(slide, level), self.settings["rounds"]
        return expect(evidence, space, self.loadings, prior_spots, rounds)

    @property
    def _prior_spots(self) -> tuple[float, ...]:
        given = self.settings["prior_spots"]
        several = given if isinstance(given, (tuple, list)) else (given,)
        return tuple(sorted(map(float, several), reverse=True))

    def _level(self, given: Visible) -> tuple[_Floats, _Floats]:
        depth = depth_of(given)
        return self.level.of(given, depth), depth

    def _evidence(self, given: Visible, level: _Floats) -> Evidence:
        values = np.where(given.visible, given.values - level, 0.0)
        numbers = np.unique(given.slide, return_inverse=True)[1]
        slide = np.eye(numbers.max(initial=0) + 1)[numbers]
        arrays = (values, given.visible.astype(np.float64), slide)
        return Evidence(*(torch.from_numpy(one).to(self.device) for one in arrays))

    def _fit_network(
        self, train: Visible, selection: Selection, training: Training
    ) -> list[dict[str, Any]]:
        if not selection.hidden.any():
            msg = (
                f"{self.card.name}: no entry is hidden for selection; give val slides with "
                "measured entries, or networks: 0"
            )
            raise InputError(msg)
        data = Around.of(train, *self._level(train), self.device)
        level, depth = self._level(selection.visible)
        inputs = all_inputs(Around.of(selection.visible, level, depth, self.device))
        truth = (selection.truth - level).astype(np.float32)
        hidden, deviations = (torch.from_numpy(one) for one in (selection.hidden, truth))
        judged = (inputs, hidden.to(self.device), deviations.to(self.device))
        shares = (self.settings["least_hidden"], self.settings["most_hidden"])

        def make(seed: int) -> OursProblem:  # noqa: ARG001 - the sweep seeds torch before
            network = self._network().to(self.device)
            standardise(network, all_inputs(data))
            return OursProblem(Averaged(network), data, judged, training.budget.batch_size, shares)

        known = self.identified(training, train, selection)
        settings = {name: self.settings[name] for name in _OF_NETWORKS}
        known = replace(known, identity={**known.identity, "settings": settings})
        result = sweep(make, known)
        trained = Averaged(self._network()).to(self.device)
        trained.load_state_dict(result.state)
        self.networks.append(trained.mean.eval())
        return [trial.summary() for trial in result.trials]

    def _network(self) -> OursNetwork:
        return OursNetwork(len(self.genes), self.settings["width"], self.settings["dropout"])

    def _learn_errors(self, train: Visible) -> None:
        """Hide entries, and blocks of spots, of the train slides and keep the shape of errors."""
        shown, blind = [], []
        for code in train.slides:
            slide = train.one_slide(code)
            for draw, share in enumerate((0.2, 0.5)):
                shown.append(self._errors(slide, inner_hidden(slide, share, draw + 1)))
            blind.append(self._errors(slide, inner_blocks(slide, _BLOCK_HOPS, _BLOCK_CENTRES, 1)))
        self.shown_errors, self.blind = (
            ErrorShape.of(
                np.concatenate([error for error, _ in errors]),
                np.concatenate([gene for _, gene in errors]),
                len(self.genes),
            )
            for errors in (shown, blind)
        )

    def _errors(
        self, slide: Visible, hidden: NDArray[np.bool_]
    ) -> tuple[_Floats, NDArray[np.intp]]:
        experts = self._experts(slide.without(hidden), max(self._prior_spots))
        completed = experts.mixed(self.settings["weight"])
        errors = (slide.values[hidden] - completed[hidden]) / np.sqrt(experts.variance[hidden])
        return errors, np.nonzero(hidden)[1]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return level, loadings, shapes of errors, and weights as ``network.<number>.<name>``."""
        loadings = {
            f"loadings.{name}": getattr(self.loadings, name).cpu().numpy()
            for name in ("mean", "covariance", "noise")
        }
        weights = [
            weights_of(network, f"network.{number}.")
            for number, network in enumerate(self.networks)
        ]
        learnt = {**self.level.state(), **loadings}
        learnt |= {**self.shown_errors.state("shown."), **self.blind.state("blind.")}
        return learnt | {name: array for own in weights for name, array in own.items()}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what `state` gives; it runs on the CPU then."""
        self.device = torch.device("cpu")
        self.level = DepthLevel.loaded(state)
        parts = (state[f"loadings.{name}"] for name in ("mean", "covariance", "noise"))
        self.loadings = Loadings(*(torch.from_numpy(np.array(part)) for part in parts))
        self.shown_errors = ErrorShape.loaded(state, "shown.")
        self.blind = ErrorShape.loaded(state, "blind.")
        self.networks = []
        for number in range(self.settings["networks"]):
            prefix = f"network.{number}."
            weights = {
                name.removeprefix(prefix): torch.from_numpy(np.array(array))
                for name, array in state.items()
                if name.startswith(prefix)
            }
            network = self._network().eval()
            network.load_state_dict(weights)
            self.networks.append(network)


def _showing(given: Visible) -> NDArray[np.bool_]:
    """Return which spots show a value ``(n_spots,)``."""
    return np.asarray(given.visible.any(axis=1))
