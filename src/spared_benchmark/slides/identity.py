"""What tells one slide from another: digests of its files, counts and pixels, and a look.

Digests find exact copies. The look finds the same picture after it was scaled, compressed, turned
or mirrored: it is a perceptual hash, the signs of the lowest frequencies of a discrete cosine
transform (the DCT hash of Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010, with 16 x 16 frequencies where usually 8 x 8 are taken, because neighbouring
sections of one block agree in nearly all of the lowest).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse
from scipy.fft import dctn

from spared_benchmark.slides.raw import RawSlide

# Of 255. On 17 public sections, copies (scaled, JPEG, turned, 10 % brighter with its whites
# clipped) differ from their originals in at most 31 bits, two sections in at least 72, two equal
# discs cut out of them in at least 64. Correlating small grey images as well would not help: such
# discs agree to 0.99, the brighter copies to 0.96.
SAME_IMAGE = 48
BITS = 255

_FREQUENCIES = 16
_SIDE = 64


def identify(raw: RawSlide) -> dict[str, str]:
    """Return ``source_digest``, ``counts_digest``, ``image_digest`` and ``image_hash`` of a slide.

    The last two are empty when the slide has no image.
    """
    return {
        "source_digest": str(raw.adata.uns["slide"]["source_digest"]),
        "counts_digest": counts_digest(raw.adata.X),
        "image_digest": "" if raw.image is None else image_digest(raw.image),
        "image_hash": "" if raw.image is None else image_hash(raw.image),
    }


def counts_digest(counts: sparse.csr_matrix) -> str:
    """Return a digest of the totals of spots and of genes, in ascending order, zeros left out.

    It does not depend on the file format, on the order or names of spots and genes, nor on whether
    empty spots and unseen genes are listed. Another choice of spots or genes is another digest.

    Args:
        counts: Molecules ``(n_spots, n_genes)``.
    """
    digest = hashlib.sha256()
    for axis in (1, 0):
        totals = np.asarray(counts.sum(axis=axis), dtype="<i8").ravel()
        seen = np.sort(totals[totals > 0])
        digest.update(f"{len(seen)}:".encode() + seen.tobytes())
    return digest.hexdigest()[:16]


def image_digest(image: NDArray[np.uint8]) -> str:
    """Return a digest of the pixels of an image ``(height, width, 3)``."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:16]


def image_hash(image: NDArray[np.uint8]) -> str:
    """Return the look of an image ``(height, width, 3)`` as 64 hexadecimal digits.

    The image is made grey and, by averaging areas, 64 x 64 px; of the cosine transform the signs
    of the 16 x 16 lowest frequencies are kept. Brightness and contrast have no part in them.
    """
    small = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    frequencies = dctn(np.asarray(small, dtype=np.float64))[:_FREQUENCIES, :_FREQUENCIES]
    return np.packbits(frequencies > 0).tobytes().hex()


def image_distances(hashes: Sequence[str]) -> NDArray[np.float64]:
    """Return in how many of 255 bits images differ, each pair in its best orientation.

    Turning by 90° and mirroring exchange rows and columns of the transform and change the sign of
    its odd ones, so the eight orientations need no second hash.

    Args:
        hashes: What `image_hash` returns; empty for a slide without image.

    Returns:
        ``(n_images, n_images)``, symmetric; NaN for pairs with an empty hash.
    """
    known = np.array([bool(one) for one in hashes], dtype=bool)
    digits = "".join(one or "0" * (_FREQUENCIES**2 // 4) for one in hashes)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))
    signs = np.where(bits, 1.0, -1.0).reshape(len(hashes), _FREQUENCIES, _FREQUENCIES)
    signs[:, 0, 0] = 0  # the mean brightness
    flat = signs.reshape(len(hashes), _FREQUENCIES**2)
    agreement = np.maximum.reduce(
        [flat @ turned.reshape(flat.shape).T for turned in _orientations(signs)]
    )
    return np.where(known[:, None] & known, (BITS - agreement) / 2, np.nan)


def _orientations(signs: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield the signs of the eight turned and mirrored images."""
    plain = np.ones(_FREQUENCIES)
    mirrored = np.where(np.arange(_FREQUENCIES) % 2, -1.0, 1.0)
    for one in (signs, signs.transpose(0, 2, 1)):
        for rows in (plain, mirrored):
            for columns in (plain, mirrored):
                yield one * rows[:, None] * columns
