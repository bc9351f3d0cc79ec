"""One way of scoring completers: a space, its masks, and what may be seen under them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import anndata
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from spared_benchmark.completion.completer import Completer
from spared_benchmark.completion.masks import REGIME, Masks
from spared_benchmark.completion.score_tables import COLUMNS, NO_ASSAY
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ContractError
from spared_benchmark.evaluation.correlation import partial_correlation
from spared_benchmark.evaluation.metrics import scores

Space = Literal["log_tpm", "combat"]
SCORED_SPLITS = ("val", "test")
_METRICS = ("mse", "mae", "pcc_gene")
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
    """

    expression: anndata.AnnData
    masks: Masks
    space: Space

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
        return Visible.of(
            self.expression, self.space, self.measured, rows=rows, fill=self._own_fill()
        )

    def selection(self) -> Selection:
        """Return the val slides under the selection masks."""
        hidden = self.masks.selection()
        rows = self.split == "val"
        return Selection.of(self.expression, self.space, hidden, rows=rows, fill=self._own_fill())

    def completed(
        self,
        completer: Completer,
        hidden: NDArray[np.bool_],
        splits: tuple[str, ...] = SCORED_SPLITS,
        *,
        published: bool = False,
    ) -> NDArray[np.float32]:
        """Complete each slide of ``splits`` from what is measured and not hidden.

        Args:
            completer: Fitted in this space.
            hidden: Withheld entries ``(n_spots, n_genes)``.
            splits: Whose slides; the rest of the result is NaN.
            published: Missing entries hold medians, as in the paper's evaluation.

        Returns:
            A value for every entry of those slides, float32 ``(n_spots, n_genes)``.
        """
        visible = self.measured & ~hidden
        fill = self.fill() if published else self._own_fill()
        completed = np.full(self.expression.shape, np.nan, dtype=np.float32)
        for slide in dict.fromkeys(self.slide[np.isin(self.split, splits)].tolist()):
            rows = self.slide == slide
            seen = Visible.of(self.expression, self.space, visible, rows=rows, fill=fill)
            completed[rows] = completer.complete(seen)
        return completed

    def score(
        self, completed: NDArray[np.float32], hidden: NDArray[np.bool_], assay: int
    ) -> pd.DataFrame:
        """Score hidden entries by slide and pooled, each split for itself.

        Returns:
            Columns ``assay``, ``split``, ``slide``, ``metric``, ``value``, ``n``. ``pcc_net`` is
            ``pcc_gene`` with the spots' TPM denominator removed: what is not depth alone.
        """
        denominator = np.log2(self.expression.obs["tpm_denominator"].to_numpy(dtype=np.float64))
        frames = []
        for split in SCORED_SPLITS:
            rows = self.split == split
            if not rows.any():
                continue
            parts = (self.truth[rows], completed[rows], hidden[rows])
            table = scores(*parts, self.slide[rows], _METRICS)
            net = _net_correlation(*parts, self.slide[rows], denominator[rows])
            both = pd.concat([table, net], ignore_index=True)
            frames.append(both.assign(assay=assay, split=split))
        return pd.concat(frames, ignore_index=True)

    def labelled(self, table: pd.DataFrame, completer: str, kind: str) -> pd.DataFrame:
        """Return ``table`` with every column of the tidy table."""
        return table.assign(
            cohort=str(self.expression.uns["cohort"]),
            protocol=str(self.expression.uns["protocol"]),
            space=self.space,
            regime=REGIME,
            hidden_fraction=self.masks.hidden_fraction,
            completer=completer,
            kind=kind,
        )[list(COLUMNS)]

    def seconds(self, completer: str, kind: str, value: float) -> pd.DataFrame:
        """Return the row that tells how long a completer took."""
        row = {"assay": NO_ASSAY, "split": "", "slide": "", "metric": "seconds", "n": 1}
        return self.labelled(pd.DataFrame([{**row, "value": value}]), completer, kind)

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


def labels_of(expression: anndata.AnnData, column: str) -> NDArray[np.str_]:
    """Return a column of ``obs`` as plain strings ``(n_spots,)``."""
    return np.asarray(expression.obs[column], dtype=np.str_)


def _net_correlation(
    truth: NDArray[np.float32],
    completed: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    slide: NDArray[np.str_],
    depth: ArrayLike,
) -> pd.DataFrame:
    covariate = np.asarray(depth)
    rows: list[tuple[str, float, int]] = []
    for label in dict.fromkeys(slide.tolist()):
        of = slide == label
        values = partial_correlation(truth[of], completed[of], covariate[of], hidden[of])
        defined = values[~np.isnan(values)]
        rows.append((label, float(defined.mean()) if defined.size else np.nan, defined.size))
    means = np.array([value for _, value, _ in rows])
    pooled = float(np.nanmean(means)) if np.isfinite(means).any() else float("nan")
    rows.append(("", pooled, sum(count for *_, count in rows)))
    return pd.DataFrame(rows, columns=["slide", "value", "n"]).assign(metric="pcc_net")
