"""What a completer may see: visible values, and nothing of the entries that are hidden."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import anndata
import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.study import Lattice
from spared_benchmark.tissue.lattice import neighbour_table


@dataclass(frozen=True, eq=False)
class Visible:
    """Expression as a completer sees it; hidden and missing entries look alike.

    Attributes:
        values: float32 ``(n_spots, n_genes)``; 0 wherever not visible.
        visible: The entries that may be used ``(n_spots, n_genes)``.
        slide: Integer code of each spot's slide ``(n_spots,)``.
        array_row: Lattice row ``(n_spots,)``.
        array_col: Lattice column ``(n_spots,)``.
        lattice: How the spots lie.
        library_size: UMI of each spot over the filtered genes ``(n_spots,)``; NaN for a spot with
            nothing visible.
        genes: Names ``(n_genes,)``.
        fill: The published evaluation only: medians at missing entries and 0 at hidden ones
            ``(n_spots, n_genes)``, which tells the two apart. None in every honest use.
        image: Features of each spot's image, which are never hidden ``(n_spots, n_features)``;
            None for all but variants that are to use them.

    Raises:
        ContractError: When shapes differ, or anything of a hidden entry is given.
    """

    values: NDArray[np.float32]
    visible: NDArray[np.bool_]
    slide: NDArray[np.int32]
    array_row: NDArray[np.int32]
    array_col: NDArray[np.int32]
    lattice: Lattice
    library_size: NDArray[np.float32]
    genes: tuple[str, ...]
    fill: NDArray[np.float32] | None = None
    image: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        hidden = ~self.visible
        leaked = int((self.values[hidden] != 0).sum())
        if leaked:
            msg = (
                f"Visible.values: {leaked} entries that are not visible hold a value; they must "
                "be 0. Build it with Visible.of, which withholds them"
            )
            raise ContractError(msg)
        wrong = int((~np.isfinite(self.values)).sum())
        if wrong:
            msg = f"Visible.values: {wrong} visible entries are not finite; each needs a number"
            raise ContractError(msg)
        blank = ~self.visible.any(axis=1)
        told = int((~np.isnan(self.library_size[blank])).sum())
        if told:
            msg = (
                f"Visible.library_size: given for {told} spots with nothing visible; it must be "
                "NaN there. Build it with Visible.of, which withholds it"
            )
            raise ContractError(msg)

    @classmethod
    def of(
        cls,
        expression: anndata.AnnData,
        layer: str,
        visible: NDArray[np.bool_],
        *,
        rows: NDArray[np.bool_] | None = None,
        fill: NDArray[np.float32] | None = None,
    ) -> Visible:
        """Take the visible part of a layer; everything else is withheld.

        Args:
            expression: A cohort's expression with ``layer``.
            layer: ``log_tpm`` or ``combat``.
            visible: ``(n_spots, n_genes)`` of the whole cohort.
            rows: The spots to take ``(n_spots,)``; all when not given.
            fill: See the class; of the whole cohort.

        Raises:
            ContractError: When ``layer`` is not there or a shape differs.
        """
        if layer not in expression.layers:
            msg = f"expression has no layer {layer!r}; it has {', '.join(expression.layers)}"
            raise ContractError(msg)
        values = np.asarray(expression.layers[layer], dtype=np.float32)
        library_size = expression.obs["library_size"].to_numpy(dtype=np.float32)
        return cls.showing(expression, values, visible, library_size, rows=rows, fill=fill)

    @classmethod
    def showing(
        cls,
        expression: anndata.AnnData,
        values: NDArray[np.floating],
        visible: NDArray[np.bool_],
        library_size: NDArray[np.floating],
        *,
        rows: NDArray[np.bool_] | None = None,
        fill: NDArray[np.float32] | None = None,
    ) -> Visible:
        """Take the visible part of values that are no layer; everything else is withheld.

        Args:
            expression: Tells spots, genes, slides and lattice; none of its values is looked at.
            values: Of the whole cohort ``(n_spots, n_genes)``.
            visible: ``(n_spots, n_genes)`` of the whole cohort.
            library_size: UMI that belong to these values ``(n_spots,)``.
            rows: The spots to take ``(n_spots,)``; all when not given.
            fill: See the class; of the whole cohort.

        Raises:
            ContractError: When a shape differs.
        """
        for name, array in (("visible", visible), ("values", values)):
            if array.shape != expression.shape:
                msg = f"{name} has shape {array.shape}, the expression {expression.shape}"
                raise ContractError(msg)
        kept = np.ones(expression.n_obs, dtype=bool) if rows is None else np.asarray(rows)
        shown = np.asarray(visible[kept], dtype=bool)
        known = np.array(library_size[kept], dtype=np.float32)
        known[~shown.any(axis=1)] = np.nan
        codes = expression.obs["slide"].astype("category").cat.codes.to_numpy(dtype=np.int32)
        obs = expression.obs
        return cls(
            values=np.where(shown, np.asarray(values[kept], dtype=np.float32), np.float32(0)),
            visible=shown,
            slide=codes[kept],
            array_row=obs["array_row"].to_numpy(dtype=np.int32)[kept],
            array_col=obs["array_col"].to_numpy(dtype=np.int32)[kept],
            lattice=expression.uns["lattice"],
            library_size=known,
            genes=tuple(expression.var_names),
            fill=None if fill is None else np.asarray(fill[kept], dtype=np.float32),
        )

    @property
    def n_spots(self) -> int:
        """Number of spots."""
        return len(self.values)

    @property
    def slides(self) -> NDArray[np.int32]:
        """The codes of the slides, ascending."""
        return np.unique(self.slide)

    @property
    def filled(self) -> NDArray[np.float32]:
        """``values`` with ``fill`` where not visible, if there is any ``(n_spots, n_genes)``."""
        return self.values if self.fill is None else np.where(self.visible, self.values, self.fill)

    def neighbours(self, hops: int) -> NDArray[np.int32]:
        """Return the neighbour table ``(n_spots, k)``, −1 padded, never crossing slides."""
        return neighbour_table(self.array_row, self.array_col, self.slide, self.lattice, hops)

    def rows(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> Visible:
        """Return the spots ``kept``, a mask or indices in the order wanted."""
        return replace(
            self,
            values=self.values[kept],
            visible=self.visible[kept],
            slide=self.slide[kept],
            array_row=self.array_row[kept],
            array_col=self.array_col[kept],
            library_size=self.library_size[kept],
            fill=None if self.fill is None else self.fill[kept],
            image=None if self.image is None else self.image[kept],
        )

    def without(self, hidden: NDArray[np.bool_]) -> Visible:
        """Return what is left when some of the visible entries are withheld too.

        Args:
            hidden: ``(n_spots, n_genes)``; a spot that loses its last entry loses its library size.
        """
        seen = self.visible & ~hidden
        known = seen.any(axis=1)
        return replace(
            self,
            values=np.where(seen, self.values, np.float32(0)),
            visible=seen,
            library_size=np.where(known, self.library_size, np.float32(np.nan)),
        )

    def one_slide(self, code: int) -> Visible:
        """Return the spots of one slide."""
        return self.rows(self.slide == code)

    def digest(self) -> str:
        """Return a digest of all that is visible, by which trainings are told apart."""
        content = hashlib.sha256(repr((self.genes, self.lattice, self.values.shape)).encode())
        places = (self.slide, self.array_row, self.array_col)
        images = [] if self.image is None else [self.image]
        seen = (self.values, self.visible, self.library_size, self.filled)
        for array in (*seen, *places, *images):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:16]

    def _check_shapes(self) -> None:
        shape = (self.slide.shape[0], len(self.genes))
        arrays = {"values": self.values, "visible": self.visible}
        if self.fill is not None:
            arrays["fill"] = self.fill
        for name, array in arrays.items():
            if array.shape != shape:
                msg = f"Visible.{name} has shape {array.shape}; spots and genes are {shape}"
                raise ContractError(msg)
        for name in ("array_row", "array_col", "library_size"):
            if getattr(self, name).shape != shape[:1]:
                found = getattr(self, name).shape
                msg = f"Visible.{name} has shape {found}; there are {shape[0]} spots"
                raise ContractError(msg)
        if self.image is not None and (self.image.ndim, len(self.image)) != (2, shape[0]):
            found = self.image.shape
            msg = f"Visible.image has shape {found}; it needs one row of features per spot"
            raise ContractError(msg)


@dataclass(frozen=True, eq=False)
class Selection:
    """Val slides with entries hidden by masks of their own, to choose what a completer keeps.

    Attributes:
        visible: What the completer sees of the val slides.
        hidden: The entries on which it is judged ``(n_spots, n_genes)``.
        truth: float32 values at the hidden entries, 0 elsewhere ``(n_spots, n_genes)``.

    Raises:
        ContractError: When an entry is both hidden and visible, or shapes differ.
    """

    visible: Visible
    hidden: NDArray[np.bool_]
    truth: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.visible.values.shape
        if self.hidden.shape != shape or self.truth.shape != shape:
            msg = (
                f"Selection: hidden {self.hidden.shape} and truth {self.truth.shape} must have "
                f"the shape of the visible values, {shape}"
            )
            raise ContractError(msg)
        both = int((self.hidden & self.visible.visible).sum())
        if both:
            msg = f"Selection: {both} entries are both hidden and visible; an entry is one"
            raise ContractError(msg)

    @classmethod
    def of(
        cls,
        expression: anndata.AnnData,
        layer: str,
        hidden: NDArray[np.bool_],
        *,
        rows: NDArray[np.bool_],
        fill: NDArray[np.float32] | None = None,
    ) -> Selection:
        """Hide ``hidden`` of the measured entries of the spots ``rows``."""
        measured = np.asarray(expression.layers["measured"], dtype=bool)
        visible = Visible.of(expression, layer, measured & ~hidden, rows=rows, fill=fill)
        kept = (measured & hidden)[rows]
        values = np.asarray(expression.layers[layer], dtype=np.float32)[rows]
        return cls(visible=visible, hidden=kept, truth=np.where(kept, values, np.float32(0)))

    def digest(self) -> str:
        """Return a digest of what is visible, what is judged and its truth."""
        content = hashlib.sha256(self.visible.digest().encode())
        content.update(np.ascontiguousarray(self.hidden).tobytes())
        content.update(np.ascontiguousarray(self.truth).tobytes())
        return content.hexdigest()[:16]
