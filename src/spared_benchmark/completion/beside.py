"""What a variant of a completer is shown beside the chosen genes: context genes, images, or both.

The completer takes the context genes for genes like any others. That they are hidden at the same
rate, and that none of them is selected by or scored, is seen to here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.completion.assay import Assay
from spared_benchmark.completion.regimes import low_values
from spared_benchmark.completion.regimes.ground import Ground
from spared_benchmark.completion.visible import Selection, Visible
from spared_benchmark.errors import ContractError
from spared_benchmark.study import CONTEXT_REGIMES, HEADLINE

# Streams of the seed that no mask of the chosen genes has, see `masks`.
_REPORTED, _SELECTION = 101, 102
_LOW_VALUES = 103
# The layer in which missing entries hold medians, by space.
_FILLED_LAYER = {"log_tpm": "median", "combat": "combat"}


@dataclass(frozen=True, eq=False)
class Beside:
    """Further genes and images of a cohort's spots.

    Attributes:
        spots: Names of the cohort's spots ``(n_spots,)``.
        seed: Of the entries of context genes that are hidden.
        context: Context genes in the layers ``log_tpm``, ``measured``, ``median`` and ``combat``
            ``(n_spots, n_context)``; see `expression.context.corrected_context`.
        image: Features of each spot's image ``(n_spots, n_features)``.

    Raises:
        ContractError: When either is of other spots.
    """

    spots: tuple[str, ...]
    seed: int
    context: anndata.AnnData | None = None
    image: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.context is not None and tuple(self.context.obs_names) != self.spots:
            msg = (
                f"the context has {self.context.n_obs} spots, the expression {len(self.spots)}, "
                "or their names differ; give the context that was made with this expression"
            )
            raise ContractError(msg)
        if self.image is not None and len(self.image) != len(self.spots):
            msg = f"image features of {len(self.image)} spots; the expression has {len(self.spots)}"
            raise ContractError(msg)

    def hidden(self, assay: Assay) -> NDArray[np.bool_]:
        """Return the context entries withheld in an assay ``(n_spots, n_context)``.

        Where whole spots are hidden, all context of spots that show no chosen gene. In
        ``low_values`` the context's own entries by value, by the context's own dropout curve. In
        ``entries`` each measured one with the probability of the share; a larger share contains a
        smaller one.

        Raises:
            ContractError: When the assay hides in a way that has no counterpart in context.
        """
        none = np.zeros((len(self.spots), 0), dtype=bool)
        if self.context is None:
            return none
        regime, drawing = assay.regime, (assay.fraction, assay.number)
        measured = np.asarray(self.context.layers["measured"], dtype=bool)
        if regime == "entries":
            return self._drawn(_REPORTED, *drawing)
        if regime == "low_values":
            generator = np.random.default_rng([self.seed, _LOW_VALUES, assay.number])
            return low_values.hidden(self._ground(), assay.fraction, generator)
        if regime in ("spots", "blocks"):
            blank = np.asarray(~assay.visible.any(axis=1))
            of_blank: NDArray[np.bool_] = measured & blank[:, None]
            return of_blank
        allowed = ", ".join(CONTEXT_REGIMES)
        msg = f"context genes are hidden under {allowed}; found the regime {regime!r}"
        raise ContractError(msg)

    def train(self, seen: Visible, space: str, rows: NDArray[np.bool_]) -> Visible:
        """Return the train slides with all that is measured of the context genes."""
        return self.shown(seen, space, rows, self._drawn(_REPORTED, 0.0, 0))

    def selection(self, own: Selection, space: str, rows: NDArray[np.bool_]) -> Selection:
        """Return the val slides with context entries hidden as the chosen ones, and not judged."""
        hidden = self._drawn(_SELECTION, HEADLINE[1])
        visible = self.shown(own.visible, space, rows, hidden)
        unjudged = ((0, 0), (0, hidden.shape[1]))
        return Selection(visible, np.pad(own.hidden, unjudged), np.pad(own.truth, unjudged))

    def shown(
        self,
        seen: Visible,
        space: str,
        rows: NDArray[np.bool_],
        hidden: NDArray[np.bool_],
    ) -> Visible:
        """Return what is seen of the chosen genes with what is shown beside them.

        Args:
            seen: Of the spots ``rows``.
            space: ``log_tpm`` or ``combat``.
            rows: The spots ``(n_spots,)`` of the whole cohort.
            hidden: Withheld context entries of the whole cohort ``(n_spots, n_context)``.
        """
        image = None if self.image is None else np.asarray(self.image[rows], dtype=np.float32)
        if self.context is None:
            return replace(seen, image=image)
        measured = np.asarray(self.context.layers["measured"], dtype=bool)[rows]
        visible = measured & ~hidden[rows]
        values = np.asarray(self.context.layers[space], dtype=np.float32)[rows]
        fill = seen.fill
        if fill is not None:
            medians = np.asarray(self.context.layers[_FILLED_LAYER[space]], dtype=np.float32)[rows]
            fill = np.concatenate([fill, np.where(measured, np.float32(0), medians)], axis=1)
        return replace(
            seen,
            values=np.concatenate([seen.values, np.where(visible, values, np.float32(0))], axis=1),
            visible=np.concatenate([seen.visible, visible], axis=1),
            genes=(*seen.genes, *map(str, self.context.var_names)),
            fill=fill,
            image=image,
        )

    def _drawn(self, stream: int, share: float, *assay: int) -> NDArray[np.bool_]:
        if self.context is None:
            return np.zeros((len(self.spots), 0), dtype=bool)
        generator = np.random.default_rng([self.seed, stream, *assay])
        measured = np.asarray(self.context.layers["measured"], dtype=bool)
        drawn: NDArray[np.bool_] = measured & (generator.random(measured.shape) < share)
        return drawn

    def _ground(self) -> Ground:
        """Return the context genes as what low values are hidden of; places play no part there."""
        context = self.context
        assert context is not None  # noqa: S101 - for the type checker; callers have looked
        nowhere = np.zeros(len(self.spots), dtype=np.int32)
        split, slide = (np.asarray(context.obs[name], dtype=np.str_) for name in ("split", "slide"))
        measured = np.asarray(context.layers["measured"], dtype=bool)
        values = np.asarray(context.layers["log_tpm"], dtype=np.float32)
        return Ground(measured, values, split, slide, nowhere, nowhere, "square")
