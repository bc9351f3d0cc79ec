"""One slide in memory: counts with positions, and the image they were taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from spared_benchmark.errors import ContractError
from spared_benchmark.slides.stored_patches import StoredPatches


@dataclass(frozen=True)
class RawSlide:
    """A tissue section as read.

    Attributes:
        adata: Raw counts after the schema ``slide`` (see `spared_benchmark.slides.schema`).
        image: RGB uint8 ``(height, width, 3)``; None for a slide without image.
        image_scale: Image pixels per full-resolution pixel; positions in the image are
            ``obsm["spatial"] * image_scale``.
        patches: Patches that came with the slide, where its source has cut them already.
    """

    adata: AnnData
    image: NDArray[np.uint8] | None
    image_scale: float = 1.0
    patches: StoredPatches | None = None

    def __post_init__(self) -> None:
        if self.image is None:
            return
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            msg = (
                "RawSlide.image: needs RGB uint8 (height, width, 3); "
                f"found {self.image.dtype} {self.image.shape}"
            )
            raise ContractError(msg)
        if not self.image_scale > 0:
            msg = f"RawSlide.image_scale: needs a number above 0; found {self.image_scale}"
            raise ContractError(msg)

    def centres(self) -> NDArray[np.float64]:
        """Return the spot centres (x, y) in pixels of the image, ``(n_spots, 2)``."""
        return np.asarray(self.adata.obsm["spatial"], dtype=np.float64) * self.image_scale
