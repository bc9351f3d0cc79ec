"""Slides brought to the device once: every batch is an indexing of these tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spared_benchmark.errors import ContractError, nearest
from spared_benchmark.prediction.images import resized
from spared_benchmark.prediction.tiles import tiles_of
from spared_benchmark.prediction.types import Attached, BlindSlide, Sampling, Slide

_log = logging.getLogger(__name__)
# Pixels may take this share of the device's free memory; the rest is for the network.
_SHARE_FOR_PIXELS = 0.5


@dataclass(frozen=True)
class Resident:
    """All spots of some slides, one tensor per thing known of them, rows in slide order.

    Attributes:
        tile: Section of each spot, numbered through all slides ``(n_spots,)``.
        pixels: uint8 ``(n_spots, side, side, 3)``; on the host when the device has no room.
    """

    sampling: Sampling
    names: tuple[str, ...]
    slide: Tensor
    tile: Tensor
    array_rc: Tensor
    xy_um: Tensor
    place: Tensor
    neighbours: Tensor
    pixels: Tensor | None
    features: Mapping[str, Tensor]
    attached: Mapping[str, Tensor]
    y: Tensor | None
    weight: Tensor | None
    counts: Tensor | None

    @property
    def n_spots(self) -> int:
        """Number of spots of all slides."""
        return len(self.slide)

    @property
    def n_tiles(self) -> int:
        """Number of sections of all slides: the slides, unless they are cut."""
        return int(self.tile.max()) + 1

    @classmethod
    def of(
        cls,
        slides: Sequence[BlindSlide],
        sampling: Sampling,
        device: str = "cpu",
        attached: Sequence[Attached] = (),
    ) -> Resident:
        """Bring ``slides`` to ``device``; labels come along when every slide has them.

        Args:
            slides: All of them labelled, or labels stay behind.
            sampling: What is wanted of them.
            device: Where to.
            attached: What the predictor attached to each slide; nothing when not given.
        """
        labelled = [slide for slide in slides if isinstance(slide, Slide)]
        known = len(labelled) == len(slides)
        codes = np.repeat(np.arange(len(slides)), [slide.n_spots for slide in slides])
        y, weight, counts = _labels(labelled, sampling, device) if known else (None, None, None)
        return cls(
            sampling=sampling,
            names=tuple(slide.slide for slide in slides),
            slide=torch.from_numpy(codes).to(device),
            tile=_tiles(slides, sampling.tiles).to(device),
            array_rc=_joined([slide.array_rc for slide in slides], device),
            xy_um=_joined([slide.xy_um for slide in slides], device),
            place=_joined([scaled_place(slide.array_rc) for slide in slides], device),
            neighbours=_shifted(slides).to(device),
            pixels=_pixels(slides, sampling.image_size, device),
            features={name: _feature(slides, name, device) for name in sampling.features},
            attached=_attached(slides, attached, device),
            y=y,
            weight=weight,
            counts=counts,
        )


def scaled_place(array_rc: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return array rows and columns scaled to [−1, 1] over the slide; 0 where they do not vary."""
    low, high = array_rc.min(axis=0), array_rc.max(axis=0)
    span = np.maximum(high - low, 1)
    scaled = np.where(high > low, 2 * (array_rc - low) / span - 1, 0.0)
    return scaled.astype(np.float32)


def _joined(arrays: Sequence[NDArray[Any]], device: str) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays)).to(device)


def _labels(
    slides: Sequence[Slide], sampling: Sampling, device: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    y = _joined([slide.y for slide in slides], device)
    weight = _joined([slide.weight for slide in slides], device)
    if not sampling.counts:
        return y, weight, None
    counts = [slide.counts for slide in slides if slide.counts is not None]
    if len(counts) < len(slides):
        without = next(slide.slide for slide in slides if slide.counts is None)
        msg = f"slide {without!r} has no counts, and the predictor's loss is of counts"
        raise ContractError(msg)
    return y, weight, _joined(counts, device)


def _tiles(slides: Sequence[BlindSlide], n: int) -> Tensor:
    sections = [tiles_of(slide.xy_um, n) for slide in slides]
    starts = np.cumsum([0, *(int(section.max()) + 1 for section in sections)])
    numbered = [section + start for section, start in zip(sections, starts[:-1], strict=True)]
    return torch.from_numpy(np.concatenate(numbered))


def _shifted(slides: Sequence[BlindSlide]) -> Tensor:
    starts = np.cumsum([0, *(slide.n_spots for slide in slides)])
    tables = [
        np.where(slide.neighbours >= 0, slide.neighbours + start, -1)
        for slide, start in zip(slides, starts[:-1], strict=True)
    ]
    return torch.from_numpy(np.concatenate(tables).astype(np.int32))


def _pixels(slides: Sequence[BlindSlide], side: int | None, device: str) -> Tensor | None:
    if side is None:
        return None
    n_spots = sum(slide.n_spots for slide in slides)
    place = device if _fit(n_spots * side * side * 3, device) else "cpu"
    pixels = torch.empty((n_spots, side, side, 3), dtype=torch.uint8, device=place)
    start = 0
    for slide in slides:
        if slide.patches is None:
            msg = f"slide {slide.slide!r} has no patches, and the predictor works on pixels"
            raise ContractError(msg)
        stop = start + slide.n_spots
        pixels[start:stop] = resized(slide.patches, slide.n_spots, side, device).to(place)
        start = stop
    return pixels if place == device else pixels.pin_memory()


def _fit(needed: int, device: str) -> bool:
    if not device.startswith("cuda"):
        return True
    free = torch.cuda.mem_get_info(device)[0]
    if needed <= _SHARE_FOR_PIXELS * free:
        return True
    _log.info(
        "patches take %.1f GB and %s has %.1f GB free: they stay on the host and are sent batch "
        "by batch",
        needed / 1e9,
        device,
        free / 1e9,
    )
    return False


def _feature(slides: Sequence[BlindSlide], name: str, device: str) -> Tensor:
    for slide in slides:
        if name not in slide.features:
            known = ", ".join(slide.features) or "none"
            msg = (
                f"slide {slide.slide!r} has no features {name!r}{nearest(name, slide.features)}; "
                f"present: {known}; name the encoder under 'encoders' and 'features'"
            )
            raise ContractError(msg)
    return _joined([np.asarray(slide.features[name], dtype=np.float32) for slide in slides], device)


def _attached(
    slides: Sequence[BlindSlide], attached: Sequence[Attached], device: str
) -> dict[str, Tensor]:
    names = list(attached[0]) if attached else []
    for slide, arrays in zip(slides, attached, strict=bool(attached)):
        shapes = {name: np.shape(array) for name, array in arrays.items()}
        if list(shapes) != names or any(s[:1] != (slide.n_spots,) for s in shapes.values()):
            msg = (
                f"slide {slide.slide!r}: attached {shapes}; needed are {names or 'none'} with one "
                f"row for each of its {slide.n_spots} spots"
            )
            raise ContractError(msg)
    return {name: _joined([np.asarray(one[name]) for one in attached], device) for name in names}
