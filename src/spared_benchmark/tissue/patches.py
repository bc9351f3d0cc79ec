"""Patches: the square of tissue around each spot, cut once and kept beside the AnnData."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.atomic import atomic_path, write_json
from spared_benchmark.errors import ConfigurationError, ContractError, InputError
from spared_benchmark.slides.identity import image_digest
from spared_benchmark.slides.raw import RawSlide
from spared_benchmark.slides.stored_patches import StoredPatches

LARGEST_SIDE = 224

_VERSION = 1
_WINDOW = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>d|um)")
_ALLOWED_OUTSIDE = 0.01
_BYTES_AT_ONCE = 2_000_000  # so that the floats of one step stay in the cache


@dataclass(frozen=True)
class PatchStore:
    """The patches of one slide.

    Attributes:
        array: RGB uint8 ``(n_spots, side, side, 3)``; memory-mapped when loaded.
        names: The slide's ``obs_names``, in order.
        um_per_px: Side of a patch pixel, µm.
        window: As asked for, such as ``1d`` or ``112um``.
        image_digest: Of the pixels of the image that they were cut from, or of their own when they
            came with the slide.
    """

    array: NDArray[np.uint8]
    names: tuple[str, ...]
    um_per_px: float
    window: str
    image_digest: str

    def __post_init__(self) -> None:
        shape = self.array.shape
        square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
        if not square or self.array.dtype != np.uint8 or shape[0] != len(self.names):
            msg = (
                f"patches: found {self.array.dtype} {shape} for {len(self.names)} spots; "
                "uint8 (n_spots, side, side, 3) is needed, one patch per spot"
            )
            raise ContractError(msg)

    @property
    def side(self) -> int:
        """Pixels along one side of a patch."""
        return int(self.array.shape[1])

    def save(self, path: Path) -> None:
        """Write a folder with ``patches.npy`` and ``card.json``, atomically."""
        card = {
            "version": _VERSION,
            "names": list(self.names),
            "um_per_px": self.um_per_px,
            "window": self.window,
            "image_digest": self.image_digest,
        }
        with atomic_path(path) as folder:
            folder.mkdir(parents=True)
            np.save(folder / "patches.npy", self.array, allow_pickle=False)
            write_json(folder / "card.json", card)

    @classmethod
    def load(cls, path: Path) -> PatchStore:
        """Open a folder that `save` wrote; the patches stay on disk until used.

        Raises:
            ContractError: When the folder is incomplete or of another version.
        """
        try:
            card = json.loads((path / "card.json").read_text(encoding="utf-8"))
            array = np.load(path / "patches.npy", mmap_mode="r", allow_pickle=False)
            version = card["version"]
            if version != _VERSION:
                msg = f"{path}: patches of version {version}; this release reads {_VERSION}"
                raise ContractError(msg)
            names, size = tuple(card["names"]), float(card["um_per_px"])
            return cls(array, names, size, card["window"], card["image_digest"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"{path}: no whole set of patches ({error}); run ingestion again to cut them"
            raise ContractError(msg) from error


def window_side(raw: RawSlide, window: str) -> int:
    """Return the side of a window in pixels of the image, rounded up to an even number.

    Args:
        raw: Slide with image.
        window: ``1d`` is one spot diameter, ``112um`` is 112 µm.

    Raises:
        ConfigurationError: When ``window`` is something else, or less than two pixels.
    """
    return _side(raw, window, raw.image_scale)


def cut_patches(raw: RawSlide, window: str) -> PatchStore:
    """Cut the window around every spot; where it leaves the image, the image is reflected.

    A window of more than 224 px is brought to 224 px by averaging areas; a smaller one stays as
    it is. Patches of this window that came with the slide are taken as they are.

    Args:
        raw: Slide with image.
        window: See `window_side`.

    Raises:
        ConfigurationError: When the window makes no sense.
        InputError: When there is no image, or more than 1 % of the centres lie outside it.
    """
    came = _came_with(raw, window)
    if came is not None:
        return _as_they_came(raw, came, window)
    image = _image(raw)
    _check_inside(raw, image)
    side = window_side(raw, window)
    stored = min(side, LARGEST_SIDE)
    corner = np.rint(raw.centres() - side / 2).astype(np.int64)
    patches = np.empty((len(corner), stored, stored, 3), dtype=np.uint8)
    chunk = max(1, _BYTES_AT_ONCE // (side * side * 3))
    for start in range(0, len(corner), chunk):
        cut = _windows(image, corner[start : start + chunk], side)
        patches[start : start + chunk] = cut if stored == side else _shrunk(cut, stored)
    facts = raw.adata.uns["slide"]
    return PatchStore(
        array=patches,
        names=tuple(raw.adata.obs_names),
        um_per_px=float(facts["um_per_px"]) / raw.image_scale * side / stored,
        window=window,
        image_digest=image_digest(image),
    )


def ingestion_row(raw: RawSlide, patches: PatchStore | None) -> dict[str, Any]:
    """Return what the report says of one slide, one value per column.

    Args:
        raw: The slide.
        patches: Its patches; None when it has no image.
    """
    facts = raw.adata.uns["slide"]
    row: dict[str, Any] = {
        "cohort": facts["cohort"],
        "slide": facts["slide"],
        "subject": facts["subject"],
        "spots": raw.adata.n_obs,
        "genes": int((raw.adata.X.getnnz(axis=0) > 0).sum()),
        "median_counts": float(np.median(np.asarray(raw.adata.X.sum(axis=1)))),
        "image": _source_of_patches(raw, patches),
        "image_side_px": 0 if raw.image is None else max(raw.image.shape[:2]),
        "patch_side_px": 0,
        "um_per_patch_px": float("nan"),
        "patches_outside": float("nan"),
        "source_digest": facts["source_digest"],
    }
    if patches is not None:
        row["patch_side_px"], row["um_per_patch_px"] = patches.side, patches.um_per_px
        row["patches_outside"] = _share_leaving(raw, patches.window)
    return row


def _side(raw: RawSlide, window: str, scale: float) -> int:
    """Return the side of a window, an even number of pixels of which ``scale`` make one."""
    match = _WINDOW.fullmatch(window)
    if match is None:
        msg = (
            f"window: found {window!r}; needed is a number with 'd' (spot diameters) or 'um' (µm), "
            "such as '1d', '1.5d' or '112um'"
        )
        raise ConfigurationError(msg)
    facts, number = raw.adata.uns["slide"], float(match["number"])
    diameter, um_per_px = float(facts["spot_diameter_px"]), float(facts["um_per_px"])
    native = number * diameter if match["unit"] == "d" else number / um_per_px
    side = int(native * scale + 1e-6)
    if side < 2:
        msg = (
            f"window: {window!r} is {native * scale:.2f} px in the image of slide "
            f"{facts['slide']}; at least 2 are needed: take a larger window"
        )
        raise ConfigurationError(msg)
    return side + side % 2


def _came_with(raw: RawSlide, window: str) -> StoredPatches | None:
    """Return the patches that the slide came with, if they are of this very window."""
    came = raw.patches
    return came if came is not None and _side(raw, window, 1.0) == came.window_px else None


def _as_they_came(raw: RawSlide, came: StoredPatches, window: str) -> PatchStore:
    array = came.read()
    return PatchStore(
        array=array,
        names=tuple(raw.adata.obs_names),
        um_per_px=float(raw.adata.uns["slide"]["um_per_px"]) * came.window_px / came.side,
        window=window,
        image_digest=image_digest(array),
    )


def _source_of_patches(raw: RawSlide, patches: PatchStore | None) -> str:
    if patches is not None and _came_with(raw, patches.window) is not None:
        return "yes: patches as they came"
    return "no: completion only" if raw.image is None else "yes"


def _share_leaving(raw: RawSlide, window: str) -> float:
    """Return the share of windows that leave the image, NaN without one."""
    if raw.image is None:
        return float("nan")
    # Patches that came with the slide were cut from another image, of full resolution.
    scale = 1.0 if _came_with(raw, window) is not None else raw.image_scale
    half = _side(raw, window, scale) / 2 / scale * raw.image_scale
    height, width = raw.image.shape[:2]
    low, high = raw.centres() - half, raw.centres() + half
    leaves = (low < 0).any(axis=1) | (high > [width, height]).any(axis=1)
    return float(leaves.mean())


def _image(raw: RawSlide) -> NDArray[np.uint8]:
    if raw.image is None:
        msg = (
            f"slide {raw.adata.uns['slide']['slide']}: has no image, so no patches of this window "
            "can be cut; name its image in the cohort, or let it take part in completion only"
        )
        raise InputError(msg)
    return raw.image


def _check_inside(raw: RawSlide, image: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    centres = raw.centres()
    inside = (centres >= 0).all(axis=1) & (centres < [width, height]).all(axis=1)
    outside = 1 - float(inside.mean())
    if outside > _ALLOWED_OUTSIDE:
        msg = (
            f"slide {raw.adata.uns['slide']['slide']}: {outside:.1%} of the spot centres lie "
            f"outside the image ({width} x {height} px); at most {_ALLOWED_OUTSIDE:.0%} may. "
            "Check the image and image_scale"
        )
        raise InputError(msg)


def _windows(image: NDArray[np.uint8], corner: NDArray[np.int64], side: int) -> NDArray[np.uint8]:
    """Return squares ``(n, side, side, 3)`` whose upper left pixels are ``corner`` (x, y)."""
    step = np.arange(side)
    rows = _reflected(corner[:, 1, None] + step, image.shape[0])
    columns = _reflected(corner[:, 0, None] + step, image.shape[1])
    return image[rows[:, :, None], columns[:, None, :]]


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return indices within ``size``; beyond the border they run back (the border not twice)."""
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * (size - 1))
    return np.minimum(index, 2 * (size - 1) - index)


def _shrunk(patches: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return patches of ``side`` px, each pixel the mean of the area that it covers."""
    n, size = patches.shape[:2]
    weights = _area_weights(size, side)
    rows = np.matmul(weights, patches.reshape(n, size, -1).astype(np.float32))
    means = np.matmul(weights, rows.reshape(n, side, size, 3))
    shrunk: NDArray[np.uint8] = np.rint(means).astype(np.uint8)
    return shrunk


def _area_weights(size: int, side: int) -> NDArray[np.float32]:
    """Return the share of every old pixel in every new one, ``(side, size)``, rows summing to 1."""
    border = np.arange(side + 1) * (size / side)
    pixel = np.arange(size)
    overlap = np.minimum(border[1:, None], pixel + 1) - np.maximum(border[:-1, None], pixel)
    weights: NDArray[np.float32] = (np.clip(overlap, 0, None) * (side / size)).astype(np.float32)
    return weights
