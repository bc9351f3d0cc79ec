"""Completers for one's own cohort, without a study: create, fit, complete, save, load."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion import completers as registry
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.protocol import describe, restored
from spared_benchmark.completion.raw_slide import Recipe, is_raw, on_card
from spared_benchmark.completion.setting import labels_of
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ContractError, InputError
from spared_benchmark.model import Model
from spared_benchmark.study import Budget

_LAYER = "log_tpm"
_NEEDED = {
    "obs": ("slide", "array_row", "array_col", "library_size"),
    "layers": (_LAYER, "measured"),
    "uns": ("lattice",),
}

_log = logging.getLogger(__name__)


class CohortCompleter:
    """A completer that takes and gives a cohort's expression as AnnData.

    Args:
        completer: The method underneath.
        recipe: How the values that it was fitted on were made, for raw slides.
    """

    def __init__(self, completer: Completer, recipe: Recipe | None = None) -> None:
        self.completer = completer
        self.recipe = recipe

    @property
    def name(self) -> str:
        """The method's name, or the variant's, and that of the layer it adds."""
        return self.completer.name

    def fit(
        self,
        expression: anndata.AnnData,
        *,
        budget: Budget | None = None,
        hidden_fraction: float = 0.3,
        seed: int = 42,
        device: str = "cpu",
    ) -> CohortCompleter:
        """Fit on the train slides and select on hidden entries of the val slides.

        Without a val slide the train slides are split by entries instead: a share of the measured
        ones is kept from the fit and serves selection. Without ``obs["split"]`` every slide is
        train.

        Args:
            expression: What `process` returns.
            budget: For completers that are trained.
            hidden_fraction: Share of measured entries hidden for selection.
            seed: Of every draw.
            device: ``cpu`` or ``cuda``.

        Returns:
            Itself.

        Raises:
            ContractError: When the expression lacks a layer or column.
            InputError: When no slide is train.
        """
        _check(expression)
        train, selection = _parts(expression, hidden_fraction, seed)
        from spared_benchmark.training.sweep import Training
        from spared_benchmark.training.trials import TrialStore

        with tempfile.TemporaryDirectory() as folder:
            trials = TrialStore(Path(folder))
            training = Training(budget or Budget(), seed, trials, device)
            self.completer.fit(train, selection, training)
        self.recipe = Recipe.of(expression)
        return self

    def complete(self, adata: anndata.AnnData) -> anndata.AnnData:
        """Complete a processed cohort, or one raw slide.

        Args:
            adata: What `process` returns; or what `read_slide` returns, which is then brought to
                the genes and the normalisation of the fit (see `Recipe.values_of`).

        Returns:
            A copy of the expression with the layer `name`: measured entries unchanged, all others
            filled. Of a completer that tells its uncertainty also the layers ``<name>_sd``,
            ``<name>_lower`` and ``<name>_upper``, see `Belief`.

        Raises:
            ContractError: When genes or lattice are not those of the fit.
            InputError: When a raw slide keeps no spot.
        """
        if is_raw(adata):
            completed = self._recipe().values_of(adata, self.completer)
        else:
            _check(adata)
            self._compare(adata)
            completed = adata.copy()
        measured = np.asarray(completed.layers["measured"], dtype=bool)
        whole = Visible.of(completed, _LAYER, measured)
        layers: dict[str, NDArray[np.float32]] = {}
        for code in whole.slides:
            rows = whole.slide == code
            for name, values in self._layers(whole.rows(rows)).items():
                if name not in layers:
                    layers[name] = np.empty(completed.shape, dtype=np.float32)
                layers[name][rows] = values
        for name, values in layers.items():
            completed.layers[name] = values
        return completed

    def save(self, folder: Path | str) -> None:
        """Write card and weights as ``folder``, atomically; a study's models look the same.

        Raises:
            InputError: When ``folder`` holds anything that is no model.
        """
        card = {**describe(self.completer), **on_card(self.recipe)}
        Model(card, self.completer.state()).save(Path(folder))

    def _layers(self, slide: Visible) -> dict[str, NDArray[np.float32]]:
        if self.completer.tells_uncertainty:
            return self.completer.believe(slide).layers(self.name)
        return {self.name: self.completer.complete(slide)}

    def _recipe(self) -> Recipe:
        if self.recipe is None:
            msg = (
                f"{self.name} does not know over which genes its values are normalised, so it "
                "cannot complete a raw slide; fit it again on what process returns, or give it an "
                "expression"
            )
            raise ContractError(msg)
        return self.recipe

    def _compare(self, expression: anndata.AnnData) -> None:
        """Warn of values that were normalised over other genes than those of the fit."""
        given = Recipe.of(expression)
        if self.recipe and given and set(given.genes) != set(self.recipe.genes):
            _log.warning(
                "%s: TPM of this expression is over other genes (%d) than that of the fit (%d), "
                "which shifts its values; complete the raw slides instead",
                self.name,
                len(given.genes),
                len(self.recipe.genes),
            )


class CompleterLibrary:
    """The completers by name, ready for a cohort."""

    def available(self) -> list[str]:
        """Return the names of all completers."""
        return registry.available()

    def create(self, name: str, **settings: Any) -> CohortCompleter:
        """Return a new completer; ``size`` and hyper-parameters as its card tells.

        Raises:
            ConfigurationError: For an unknown name, size or hyper-parameter.
        """
        return CohortCompleter(registry.create(name, **settings))


completers = CompleterLibrary()


def load_completer(folder: Path | str) -> CohortCompleter:
    """Return the fitted completer that `CohortCompleter.save` wrote.

    Raises:
        InputError: When the folder holds none, or one of another version of the method.
    """
    model = Model.load(Path(folder))
    card = model.card
    version = registry.card(card["method"]).version
    if card["version"] != version:
        msg = (
            f"{folder}: {card['method']} of version {card['version']}; this code has version "
            f"{version}. Fit it again"
        )
        raise InputError(msg)
    return CohortCompleter(restored(card, dict(model.weights)), Recipe.of_card(card))


def _parts(
    expression: anndata.AnnData, hidden_fraction: float, seed: int
) -> tuple[Visible, Selection]:
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    split = _split_of(expression)
    train, val = split == "train", split == "val"
    if not train.any():
        msg = (
            f"no slide has the split 'train'; found {', '.join(np.unique(split)) or 'no spot'}. "
            "A completer is fitted on train slides; without obs['split'] every slide is one"
        )
        raise InputError(msg)
    judged = val if val.any() else train
    hidden = np.zeros(measured.shape, dtype=bool)
    generator = np.random.default_rng(seed)
    hidden[judged] = generator.random((judged.sum(), expression.n_vars)) < hidden_fraction
    return (
        Visible.of(expression, _LAYER, measured & ~hidden, rows=train),
        Selection.of(expression, _LAYER, hidden, rows=judged),
    )


def _split_of(expression: anndata.AnnData) -> NDArray[np.str_]:
    if "split" not in expression.obs:
        return np.full(expression.n_obs, "train")
    return labels_of(expression, "split")


def _check(expression: anndata.AnnData) -> None:
    for part, keys in _NEEDED.items():
        held = getattr(expression, part)
        for key in keys:
            if key not in held:
                msg = (
                    f"expression.{part} has no {key!r}; found {', '.join(map(str, held))}. Give "
                    "what process returns, or, to complete, one raw slide as read_slide returns it"
                )
                raise ContractError(msg)
