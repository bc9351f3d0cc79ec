"""Completers for one's own cohort, without a study: create, fit, complete, save, load."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion import completers as registry
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.protocol import describe, restored
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


class CohortCompleter:
    """A completer that takes and gives a cohort's expression as AnnData.

    Args:
        completer: The method underneath.
    """

    def __init__(self, completer: Completer) -> None:
        self.completer = completer

    @property
    def name(self) -> str:
        """The method's name, and that of the layer it adds."""
        return self.completer.card.name

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
        return self

    def complete(self, expression: anndata.AnnData) -> anndata.AnnData:
        """Return a copy with the layer `name`: measured entries unchanged, all others filled.

        Raises:
            ContractError: When genes or lattice are not those of the fit.
        """
        _check(expression)
        measured = np.asarray(expression.layers["measured"], dtype=bool)
        completed = expression.copy()
        whole = Visible.of(expression, _LAYER, measured)
        values = np.empty(expression.shape, dtype=np.float32)
        for code in whole.slides:
            values[whole.slide == code] = self.completer.complete(whole.one_slide(int(code)))
        completed.layers[self.name] = values
        return completed

    def save(self, folder: Path | str) -> None:
        """Write card and weights into ``folder``, atomically; a study's models look the same."""
        Model(describe(self.completer), self.completer.state()).save(Path(folder))


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
    return CohortCompleter(restored(card, dict(model.weights)))


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
                    f"expression.{part} has no {key!r}; found {', '.join(map(str, held))}. Make it "
                    "with process, which writes every layer and column that completion needs"
                )
                raise ContractError(msg)
