"""One way of scoring completers: a space, its masks, and what may be seen under them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay, of_entries, of_molecules
from spared_benchmark.completion.belief import Belief
from spared_benchmark.completion.beside import Beside
from spared_benchmark.completion.calibration import score_belief
from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.score_tables import COLUMNS
from spared_benchmark.completion.scoring import SCORED_SPLITS, score_assay
from spared_benchmark.completion.structure_metrics import KnownEntries, TrueStructure
from spared_benchmark.completion.truth import score_truth
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.floor import one_count
from spared_benchmark.study import CONTEXT_REGIMES, HEADLINE, Regime
from spared_benchmark.tissue.lattice import neighbour_table

Space = Literal["log_tpm", "combat"]
# The layer in which missing entries hold medians, by space.
_FILLED_LAYER: dict[str, str] = {"log_tpm": "median", "combat": "combat"}


@dataclass(frozen=True, eq=False)
class Setting:
    """A cohort's expression in one space with the masks of its assays.

    Attributes:
        expression: All slides of the cohort.
        masks: Drawn from this expression.
        space: ``log_tpm``, where a completer sees visible values alone; or ``combat``, the
            published protocol, where entries are hidden in the finished layer and missing ones
            hold medians.
        noiseless: What `truth.true_expression` gives in ``log_tpm``, for simulated slides alone; it
            is for scores and no completer sees it.
        beside: What the completer is shown beside the chosen genes, if anything.
    """

    expression: anndata.AnnData
    masks: Masks
    space: Space
    noiseless: NDArray[np.float32] | None = None
    beside: Beside | None = None

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Measured entries ``(n_spots, n_genes)``."""
        return np.asarray(self.expression.layers["measured"], dtype=bool)

    @cached_property
    def truth(self) -> NDArray[np.float32]:
        """Values in this space ``(n_spots, n_genes)``."""
        return np.asarray(self.expression.layers[self.space], dtype=np.float32)

    @cached_property
    def split(self) -> NDArray[np.str_]:
        """Split of each spot ``(n_spots,)``."""
        return labels_of(self.expression, "split")

    @cached_property
    def slide(self) -> NDArray[np.str_]:
        """Slide of each spot ``(n_spots,)``."""
        return labels_of(self.expression, "slide")

    def fill(self) -> NDArray[np.float32]:
        """Return medians at missing entries and 0 elsewhere: the published evaluation."""
        medians = np.asarray(self.expression.layers[_FILLED_LAYER[self.space]], dtype=np.float32)
        return np.where(self.measured, np.float32(0), medians)

    def train(self) -> Visible:
        """Return the train slides with everything measured visible."""
        rows = self.split == "train"
        fill = self._own_fill()
        seen = Visible.of(self.expression, self.space, self.measured, rows=rows, fill=fill)
        return seen if self.beside is None else self.beside.train(seen, self.space, rows)

    def selection(self) -> Selection:
        """Return the val slides under the selection masks."""
        hidden = self.masks.selection()
        rows = self.split == "val"
        fill = self._own_fill()
        own = Selection.of(self.expression, self.space, hidden, rows=rows, fill=fill)
        return own if self.beside is None else self.beside.selection(own, self.space, rows)

    @property
    def drawings(self) -> list[tuple[Regime, float]]:
        """What is scored in this space: regimes with their shares, the headline first.

        ``combat`` stands beside printed numbers, which know the headline alone. With context genes
        the regimes are left out that have no counterpart there.
        """
        wide = self.beside is not None and self.beside.context is not None
        drawn = [
            (regime, share)
            for regime, shares in self.masks.regimes.items()
            for share in shares
            if not wide or regime in CONTEXT_REGIMES
        ]
        others = [] if self.space == "combat" else [one for one in drawn if one != HEADLINE]
        return [HEADLINE, *others]

    def assays(self, regime: Regime, fraction: float) -> Iterator[Assay]:
        """Yield the assays of a regime at one share.

        Raises:
            ContractError: When they were not drawn.
        """
        for number in range(self.masks.assays):
            hidden = self.masks.reported(number, regime, fraction)
            if regime == "molecular":
                yield of_molecules(self.expression, self.masks.halves[number], hidden, number)
            else:
                drawing = (regime, fraction, number)
                yield of_entries(self.expression, self.space, hidden, drawing)

    @property
    def untouched(self) -> Assay:
        """What is seen where nothing is hidden, neither here nor of what stands beside."""
        nothing = np.zeros(self.expression.shape, dtype=bool)
        return of_entries(self.expression, self.space, nothing, (HEADLINE[0], 0.0, 0))

    def completed(
        self,
        completer: Completer,
        hidden: NDArray[np.bool_],
        splits: tuple[str, ...] = SCORED_SPLITS,
        *,
        published: bool = False,
    ) -> NDArray[np.float32]:
        """Complete each slide of ``splits`` from what is measured and not ``hidden``.

        Args:
            completer: Fitted in this space.
            hidden: Withheld entries ``(n_spots, n_genes)``.
            splits: As `completed_in`.
            published: As `completed_in`.
        """
        # Where nothing is hidden, nothing is hidden of what stands beside either.
        share = HEADLINE[1] if hidden.any() else 0.0
        assay = of_entries(self.expression, self.space, hidden, (HEADLINE[0], share, 0))
        return self.completed_in(assay, completer, splits, published=published)

    def completed_in(
        self,
        assay: Assay,
        completer: Completer,
        splits: tuple[str, ...] = SCORED_SPLITS,
        *,
        published: bool = False,
    ) -> NDArray[np.float32]:
        """Complete each slide of ``splits`` from what an assay lets be seen.

        Args:
            assay: Of this space.
            completer: Fitted in this space.
            splits: Whose slides; the rest of the result is NaN.
            published: Missing entries hold medians, as in the paper's evaluation.

        Returns:
            A value for every entry of those slides, float32 ``(n_spots, n_genes)``.
        """
        completed = np.full(self.expression.shape, np.nan, dtype=np.float32)
        for rows, seen in self._seen(assay, splits, published=published):
            completed[rows] = completer.complete(seen)[:, : completed.shape[1]]
        return completed

    def believed_in(
        self, assay: Assay, completer: Completer, splits: tuple[str, ...] = SCORED_SPLITS
    ) -> Belief:
        """Return what a completer that tells its uncertainty believes of those slides.

        Args:
            assay: Of this space.
            completer: Fitted in this space.
            splits: As `completed_in`.

        Returns:
            Each part ``(n_spots, n_genes)``; its values are what `completed_in` returns.

        Raises:
            ContractError: When the completer tells no uncertainty.
        """
        shape = self.expression.shape
        parts = [np.full(shape, np.nan, dtype=np.float32) for _ in fields(Belief)]
        for rows, seen in self._seen(assay, splits):
            told = completer.believe(seen)
            for part, one in zip(parts, fields(Belief), strict=True):
                part[rows] = getattr(told, one.name)[:, : shape[1]]
        return Belief(*parts)

    def _seen(
        self, assay: Assay, splits: tuple[str, ...], *, published: bool = False
    ) -> Iterator[tuple[NDArray[np.bool_], Visible]]:
        """Yield the spots of each slide with what is seen of it."""
        fill = self.fill() if published else self._own_fill()
        withheld = None if self.beside is None else self.beside.hidden(assay)
        for slide in dict.fromkeys(self.slide[np.isin(self.split, splits)].tolist()):
            rows = self.slide == slide
            seen = Visible.showing(
                self.expression,
                assay.values,
                assay.visible,
                assay.library_size,
                rows=rows,
                fill=fill,
            )
            if self.beside is not None and withheld is not None:
                seen = self.beside.shown(seen, self.space, rows, withheld)
            yield rows, seen

    def score(self, completed: NDArray[np.float32], assay: Assay) -> pd.DataFrame:
        """Score an assay: its hidden entries, see `score_assay`, and `against_truth`."""
        lengths = self.expression.var["gene_length"].to_numpy(dtype=np.float64)
        parts = (assay, completed, self.split, self.slide, lengths)
        table = score_assay(*parts, lambda name: self._structure(name, assay))
        return pd.concat([table, *self.against_truth(completed, assay)], ignore_index=True)

    def score_belief(self, belief: Belief, assay: Assay) -> pd.DataFrame:
        """Score the intervals of an assay's hidden entries, see `calibration.score_belief`."""
        molecule = None
        if self.space == "log_tpm":
            lengths = self.expression.var["gene_length"].to_numpy(dtype=np.float64)
            molecule = one_count(lengths, assay.depth)
        return score_belief(assay, belief, self.split, self.slide, molecule)

    def against_truth(
        self, completed: NDArray[np.float32], assay: Assay
    ) -> tuple[pd.DataFrame, ...]:
        """Return the scores against the true expression, see `score_truth`; none if not known.

        In ``molecular`` half of the molecules is the truth, and there are none either.
        """
        if self.noiseless is None or assay.regime == "molecular":
            return ()
        return (score_truth(assay, completed, self.noiseless, self.split, self.slide),)

    def labelled(self, table: pd.DataFrame, completer: str, kind: str) -> pd.DataFrame:
        """Return a table of scores with every column of the tidy table."""
        return table.assign(
            cohort=str(self.expression.uns["cohort"]),
            protocol=str(self.expression.uns["protocol"]),
            space=self.space,
            completer=completer,
            kind=kind,
        )[list(COLUMNS)]

    def affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return slope and shift from ``log_tpm`` to this space ``(n_spots, n_genes)`` each.

        Raises:
            ContractError: When the expression does not tell the map of one of its slides.
        """
        if self.space == "log_tpm":
            return np.ones(self.expression.shape), np.zeros(self.expression.shape)
        combat = self.expression.uns["combat"]
        known = [str(slide) for slide in combat["slides"]]
        missing = sorted(set(self.slide.tolist()) - set(known))
        if missing:
            msg = f"uns['combat'] tells no map for the slides {missing}; it has {known}"
            raise ContractError(msg)
        rows = np.array([known.index(slide) for slide in self.slide.tolist()])
        return np.asarray(combat["scale"])[rows], np.asarray(combat["shift"])[rows]

    def _own_fill(self) -> NDArray[np.float32] | None:
        return self.fill() if self.space == "combat" else None

    @cached_property
    def _structures(self) -> dict[str, TrueStructure]:
        return {}

    def _structure(self, slide: str, assay: Assay) -> TrueStructure:
        """Return a slide's true structure; where entries are hidden, it is that of all assays."""
        shared = assay.regime != "molecular"
        if shared and slide in self._structures:
            return self._structures[slide]
        rows = self.slide == slide
        obs = self.expression.obs[["array_row", "array_col"]].to_numpy()[rows]
        lattice = self.expression.uns["lattice"]
        table = neighbour_table(obs[:, 0], obs[:, 1], np.zeros(len(obs), np.int32), lattice, 1)
        values = np.where(assay.hidden[rows], assay.truth[rows], assay.values[rows])
        structure = TrueStructure(KnownEntries(assay.known[rows], table), values)
        if shared:
            self._structures[slide] = structure
        return structure


def labels_of(expression: anndata.AnnData, column: str) -> NDArray[np.str_]:
    """Return a column of ``obs`` as plain strings ``(n_spots,)``."""
    return np.asarray(expression.obs[column], dtype=np.str_)
