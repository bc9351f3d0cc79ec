"""Images of tissue as RGB uint8, whatever they were stored as."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spared_benchmark.errors import InputError
from spared_benchmark.slides.files import need_file

PIXEL_CAP = 2_000_000_000
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})

_ORIENTATION = 0x0112
_logger = logging.getLogger(__name__)


def read_image(path: Path, pixel_cap: int = PIXEL_CAP) -> NDArray[np.uint8]:
    """Read an image as RGB uint8 ``(height, width, 3)``.

    Grey, palette, CMYK and 16-bit images are converted; transparency is laid on white; of several
    pages the first is taken. An EXIF orientation is not applied, because spot positions refer to
    the pixels as stored; a warning is logged.

    Args:
        path: Of the image.
        pixel_cap: Larger images are refused before they are unpacked.

    Raises:
        InputError: When the image is missing, too large, unreadable or blank.
    """
    need_file(path, "the image")
    try:
        with _pixels_up_to(pixel_cap), Image.open(path) as image:
            if image.getexif().get(_ORIENTATION, 1) != 1:
                _logger.warning(
                    "%s: EXIF orientation is not applied: positions refer to stored pixels", path
                )
            pixels = to_rgb(image, path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"{path}: the image has more pixels than the {pixel_cap:,} allowed ({error})"
        raise InputError(msg) from error
    except UnidentifiedImageError as error:
        msg = (
            f"{path}: is no image that can be read (found {_start(path)!r}); "
            "PNG, JPEG and plain TIFF can: convert it, or download it again"
        )
        raise InputError(msg) from error
    except (OSError, SyntaxError) as error:
        msg = f"{path}: the image is truncated or damaged ({error}); copy or download it again"
        raise InputError(msg) from error
    if (pixels[::7, ::7] == pixels[0, 0]).all():
        found = tuple(pixels[0, 0].tolist())
        msg = f"{path}: the image is blank: every pixel is {found}; take the image of the tissue"
        raise InputError(msg)
    return pixels


def to_rgb(image: Image.Image, where: object) -> NDArray[np.uint8]:
    """Return any 8- or 16-bit image as RGB uint8 ``(height, width, 3)``.

    Raises:
        InputError: For pixels of another kind.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            msg = f"{where}: pixel values {values.min()} to {values.max()}; 8 or 16 bit are read"
            raise InputError(msg)
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        msg = f"{where}: pixels are floating point numbers; convert the image to 8 bit"
        raise InputError(msg)
    if "transparency" in image.info or image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))


@contextmanager
def _pixels_up_to(cap: int) -> Iterator[None]:
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = cap
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(12)
