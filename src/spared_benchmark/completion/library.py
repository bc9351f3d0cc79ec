"""Completers for one's own cohort, without a study: create, fit, complete, save, load."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from spared_benchmark.atomic import atomic_path
from spared_benchmark.completion import completers as registry
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.protocol import describe, restored
from spared_benchmark.completion.setting import labels_of
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ContractError, InputError
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

        A cohort without ``obs["split"]``, or without a val slide, is split by entries instead: a
        share of the measured ones is kept from the fit and serves selection.

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
        """Write ``weights.safetensors`` and ``card.json`` into ``folder``, atomically."""
        state = {name: np.ascontiguousarray(v) for name, v in self.completer.state().items()}
        card = json.dumps(describe(self.completer), indent=1)
        with atomic_path(Path(folder)) as path:
            path.mkdir()
            save_file(state, path / "weights.safetensors")
            (path / "card.json").write_text(card + "\n", encoding="utf-8")


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
    path = Path(folder)
    card_file, weights = path / "card.json", path / "weights.safetensors"
    if not (card_file.exists() and weights.exists()):
        msg = f"{path}: no completer here; card.json and weights.safetensors are needed"
        raise InputError(msg)
    card = json.loads(card_file.read_text(encoding="utf-8"))
    version = registry.card(card["method"]).version
    if card["version"] != version:
        msg = (
            f"{path}: {card['method']} of version {card['version']}; this code has version "
            f"{version}. Fit it again"
        )
        raise InputError(msg)
    return CohortCompleter(restored(card, load_file(weights)))


def _parts(
    expression: anndata.AnnData, hidden_fraction: float, seed: int
) -> tuple[Visible, Selection]:
    measured = np.asarray(expression.layers["measured"], dtype=bool)
    drawn = np.random.default_rng(seed).random(measured.shape) < hidden_fraction
    split = _split_of(expression)
    val = split == "val"
    if val.any() and (split == "train").any():
        train = Visible.of(expression, _LAYER, measured, rows=split == "train")
        return train, Selection.of(expression, _LAYER, drawn, rows=val)
    train = Visible.of(expression, _LAYER, measured & ~drawn)
    everything = np.ones(expression.n_obs, dtype=bool)
    return train, Selection.of(expression, _LAYER, drawn, rows=everything)


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
