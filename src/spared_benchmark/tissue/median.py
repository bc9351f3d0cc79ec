"""The adaptive median filter: the published library's first completion of missing entries.

Most windows need no ordering. In an ordered window of m values zeros stand between negatives and
positives, so its median is zero unless (m + 1) // 2 of the values share a sign; signs are counted
for all entries at once by adding rows of bytes, and a wider window only adds its outer ring. The
windows that remain are gathered place by place, and one network of minima and maxima finds the
medians of thousands of windows together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_GENES_AT_ONCE = 256
# Values of windows, and signs of entries, held at a time: they stay in a core's cache.
_WINDOW_VALUES = 1 << 18
_SIGNS = 1 << 19

_Floats = NDArray[np.float32]
_Mask = NDArray[np.bool_]


def adaptive_median(
    values: NDArray[np.float32],
    absent: NDArray[np.bool_],
    tables: Sequence[NDArray[np.int32]],
    slide: NDArray[np.integer],
) -> NDArray[np.float32]:
    """Fill absent entries with the first median that is not zero in windows that grow.

    For each absent entry and each table in turn: the median of the gene over the spot itself and
    its neighbours, **zeros included** (so a window needs a majority of other values, and a window
    of even size may give half of one). The first that is not zero is taken; else the median of
    the gene's non-zero values on the slide; else 0. Only ``values`` are read, never filled ones.

    Args:
        values: Expression ``(n_spots, n_genes)``, 0 where absent.
        absent: Entries to fill ``(n_spots, n_genes)``.
        tables: Neighbour tables ``(n_spots, k)`` of 1, 2, … hops, −1 padded, each holding the
            neighbours of the one before. Fastest when the first columns of each are those of the
            one before, as in `spared_benchmark.tissue.lattice.neighbour_table`.
        slide: Integer code of each spot's slide ``(n_spots,)``.

    Returns:
        The completed values, float32 ``(n_spots, n_genes)``; other entries are unchanged.
    """
    filled = np.array(values, dtype=np.float32)
    windows: list[_Window] = []
    for table in tables:
        windows.append(_Window(table, windows[-1] if windows else None))
    for start in range(0, values.shape[1], _GENES_AT_ONCE):
        block = slice(start, start + _GENES_AT_ONCE)
        entries = _Entries(values[:, block], absent[:, block])
        for window in windows:
            entries.fill(window)
        entries.fill_by_slide(slide)
        filled[:, block] = entries.result
    return filled


def nonzero_medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each column's non-zero values, 0 for a column without any.

    Args:
        values: ``(n_spots, n_genes)``.
    """
    by_gene = np.ascontiguousarray(values.T)
    ordered = np.where(by_gene == 0, np.float32(np.inf), by_gene)
    ordered.sort(axis=1)
    size = np.count_nonzero(by_gene, axis=1)
    gene = np.arange(size.size)
    low, high = np.maximum(size - 1, 0) // 2, size // 2
    middle = (ordered[gene, low] + ordered[gene, high]) / 2
    return np.where(size > 0, middle, 0).astype(np.float32)


class _Window:
    """The spots over which one hop's medians are taken: each spot and its neighbours.

    Places without a neighbour are padded alternately below and above every value, so the median
    stays what it is. Where their number is odd, one last place evens it out.

    Attributes:
        members: The spot itself, its neighbours and the last place ``(k + 2, n_spots)``; n_spots
            is padding below, n_spots + 1 above.
        half: Values of one sign that take the median away from zero ``(n_spots,)``.
        odd: Spots that need the last place ``(n_spots,)``.
        known: How many of the first members the window before has too.
    """

    def __init__(self, table: NDArray[np.int32], before: _Window | None) -> None:
        spots, width = table.shape
        self.members = np.empty((width + 2, spots), dtype=np.intp)
        self.members[0] = np.arange(spots)
        self.members[1:-1] = table.T
        self.members[-1] = spots + 1
        missing = table < 0
        pads = np.count_nonzero(missing, axis=1)
        border = np.flatnonzero(pads)
        below = np.cumsum(missing[border], axis=1, dtype=np.int32) % 2
        padded = np.where(missing[border], spots + 1 - below, table[border])
        self.members[1:-1, border] = padded.T
        self.half = ((width + 2 - pads) // 2).astype(np.min_scalar_type(width + 1))
        self.odd: _Mask = pads % 2 == 1
        self.known = 0
        if before is not None and np.array_equal(
            self.members[: len(before.members) - 1], before.members[:-1]
        ):
            self.known = len(before.members) - 1


class _Signs:
    """The entries of one sign, and how many of them each window holds so far."""

    def __init__(self, sign: _Mask) -> None:
        # Two rows of zeros stand for the paddings, which count for no sign.
        self.sign = np.zeros((sign.shape[0] + 2, sign.shape[1]), dtype=np.uint8)
        self.sign[:-2] = sign
        self.count: NDArray[np.integer] = np.zeros(sign.shape, dtype=np.uint8)

    def reached(self, window: _Window) -> _Mask:
        """Return the entries whose window holds half or more of this sign."""
        self.count = self.count.astype(window.half.dtype, copy=False)
        if window.known == 0:
            self.count[:] = 0
        spots, genes = self.count.shape
        for rows in _parts(spots, genes, _SIGNS):
            count = self.count[rows]
            held = np.empty(count.shape, dtype=np.uint8)
            for member in window.members[window.known : -1, rows]:
                np.take(self.sign, member, axis=0, out=held, mode="clip")
                count += held
        reached: _Mask = self.count >= window.half[:, None]
        return reached


class _Entries:
    """A block of genes, and which entries are still open in it.

    Attributes:
        values: What windows read, with a row below and a row above every value at the end
            ``(n_spots + 2, n_genes)``.
        open: Entries without a median yet ``(n_spots, n_genes)``.
        result: The completed values ``(n_spots, n_genes)``.
    """

    def __init__(self, values: _Floats, absent: _Mask) -> None:
        spots, genes = values.shape
        self.values = np.empty((spots + 2, genes), dtype=np.float32)
        self.values[:spots] = values
        self.values[spots:] = [[-np.inf], [np.inf]]
        self.open = absent.copy()
        self.result = self.values[:spots].copy()
        signs = (self.result > 0, self.result < 0)
        self._signs = [_Signs(sign) for sign in signs if sign.any()]

    def fill(self, window: _Window) -> None:
        """Give open entries their window's median where it is not zero, and close them."""
        wanted = np.zeros(self.open.shape, dtype=bool)
        for sign in self._signs:
            wanted |= sign.reached(window)
        wanted &= self.open
        spots = window.members[0]
        # Flat positions of an entry's window are its own plus its spot's steps.
        steps = (window.members - spots) * self.open.shape[1]
        self._fill(wanted & ~window.odd[:, None], steps[:-1])
        self._fill(wanted & window.odd[:, None], steps)

    def _fill(self, wanted: _Mask, steps: NDArray[np.intp]) -> None:
        values, open_, result = (a.reshape(-1) for a in (self.values, self.open, self.result))
        entries = np.flatnonzero(wanted)
        spots = np.repeat(np.arange(len(wanted)), np.count_nonzero(wanted, axis=1))
        for part in _parts(entries.size, len(steps), _WINDOW_VALUES):
            places = np.take(steps, spots[part], axis=1)
            places += entries[part]
            median = _medians(np.take(values, places))
            found = median != 0
            closed = entries[part][found]
            result[closed] = median[found]
            open_[closed] = False

    def fill_by_slide(self, slide: NDArray[np.integer]) -> None:
        """Give open entries the median of the gene's non-zero values on the slide, or 0."""
        for code in np.unique(slide):
            rows = np.flatnonzero(slide == code)
            open_ = self.open[rows]
            genes = np.flatnonzero(open_.any(axis=0))
            medians = np.zeros(open_.shape[1], dtype=np.float32)
            medians[genes] = nonzero_medians(self.values[rows[:, None], genes])
            self.result[rows] = np.where(open_, medians, self.result[rows])


def _parts(length: int, width: int, held: int) -> Iterator[slice]:
    step = max(held // max(width, 1), 1)
    return (slice(start, start + step) for start in range(0, length, step))


def _medians(windows: _Floats) -> _Floats:
    """Return the median of each column ``(k, n_windows)``; the windows are overwritten.

    Of any k // 2 + 2 of k values neither the smallest nor the largest can be in the middle: both
    are dropped, the next value is taken in, and so on until one or two are left.
    """
    planes = list(windows)
    taken = len(planes) // 2 + 2
    hand, rest = planes[:taken], planes[taken:]
    spare = np.empty_like(hand[0])
    while len(hand) > 2:
        spare = _bring_out_ends(hand, spare)
        hand = hand[1:-1] + rest[:1]
        rest = rest[1:]
    middle: _Floats = (hand[0] + hand[-1]) / 2
    return middle


def _bring_out_ends(hand: list[_Floats], spare: _Floats) -> _Floats:
    """Exchange values so that the first plane is the smallest and the last the largest.

    Returns:
        A plane to write into, in place of ``spare``.
    """
    last, middle = len(hand) - 1, len(hand) // 2
    # After the first line the smaller of each pair lie in the first half, the larger in the other.
    exchanges = [(low, last - low) for low in range(middle)]
    exchanges += [(0, low) for low in range(1, last - middle + 1)]
    exchanges += [(high, last) for high in range(middle, last)]
    for low, high in exchanges:
        np.minimum(hand[low], hand[high], out=spare)
        np.maximum(hand[low], hand[high], out=hand[high])
        hand[low], spare = spare, hand[low]
    return spare
