"""The order in which the published library leaves genes that are expressed equally widely.

It sorts with pandas' default, ``sort_values(ascending=False)``, which is not stable: genes with
equal fractions come in whatever order numpy's sort leaves them, and where the list is cut among
such genes the choice of genes depends on it. numpy has three such sorts and takes the one the
processor allows, so the library's own choice depends on the machine: of three sections of her2st
it keeps 332 genes by numpy 2 with AVX-512, 333 without, and four others of 332 by numpy 1.26.
The reference results were made by 2.4.6 with AVX-512 (2.0.2 and 2.2.6 order alike). That sort is
carried out here step by step, without the instructions: the order is the same on every machine.
Its steps follow one another by nature; 18,000 genes take less than 0.1 s.

The sort: a quicksort that partitions blocks of 32 (Bramas 2017, IJACSA 8:10), then a bitonic
network over at most 256 (Batcher 1968, AFIPS). Ranges on which the quicksort makes no progress,
hundreds of equal fractions, are left in their order here; numpy has another for them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spared_benchmark.errors import InputError

Positions = NDArray[np.intp]
Floats = NDArray[np.float64]

_LANES = 8
_BLOCK = 4 * _LANES
_NETWORK = 256


def published_order(fraction_min: NDArray[np.floating]) -> Positions:
    """Return the positions of the genes from the most to the least widely expressed.

    Args:
        fraction_min: Smallest expressed fraction over the slides, of the genes that may be
            chosen, in the order of the raw data ``(n_genes,)``.

    Raises:
        InputError: When a fraction is NaN.
    """
    values = np.asarray(fraction_min, dtype=np.float64)
    if np.isnan(values).any():
        msg = (
            f"published order of genes: {int(np.isnan(values).sum())} of {values.size} expressed "
            "fractions are NaN; is there a slide without spots?"
        )
        raise InputError(msg)
    # pandas turns the values round, sorts upwards and turns the result round.
    backwards = np.arange(values.size)[::-1]
    return backwards[unstable_argsort(values[::-1])][::-1]


def unstable_argsort(values: NDArray[np.floating]) -> Positions:
    """Return the positions that sort the values upwards, as numpy's does under AVX-512.

    Args:
        values: Finite ``(n,)``.
    """
    keys = np.ascontiguousarray(values, dtype=np.float64)
    order = np.arange(keys.size)
    if (keys[1:] >= keys[:-1]).all():
        return order
    small: list[slice] = []
    open_ = [(0, keys.size, 2 * int(np.log2(keys.size)))]
    while open_:
        start, stop, rounds = open_.pop()
        if rounds <= 0:
            left = order[start:stop]
            order[start:stop] = left[np.argsort(keys[left], kind="stable")]
        elif stop - start <= _NETWORK:
            small.append(slice(start, stop))
        else:
            span = keys[order[start:stop]]
            pivot = _pivot(span)
            middle = _partition(keys, order, start, stop, pivot)
            if pivot != span.min():
                open_.append((start, middle, rounds - 1))
            if pivot != span.max():
                open_.append((middle, stop, rounds - 1))
    _sort_small(keys, order, small)
    return order


def _pivot(span: Floats) -> np.float64:
    step = (span.size - 1) // _LANES
    sampled = np.sort(span[step * np.arange(1, _LANES + 1)])
    return np.float64(sampled[_LANES // 2])


def _partition(keys: Floats, order: Positions, start: int, stop: int, pivot: np.float64) -> int:
    """Bring what is below the pivot to the front of the range; return where the rest begins.

    Blocks are read from whichever end has less room to write to; what is below the pivot is
    appended at the front, what is not is put before what lies at the back, eight at a time.
    """
    for _ in range((stop - start) % _BLOCK):
        if keys[order[start]] < pivot:
            start += 1
        else:
            stop -= 1
            order[start], order[stop] = order[stop], order[start]
    blocks = order[start:stop].reshape(-1, _BLOCK)
    high = keys[blocks] >= pivot
    reading = _reading_order(high.sum(axis=1).tolist())
    blocks, high = blocks[reading], high[reading]
    front = blocks[~high]
    back = blocks.reshape(-1, _LANES)[::-1][high.reshape(-1, _LANES)[::-1]]
    order[start:stop] = np.concatenate([front, back])
    return start + front.size


def _reading_order(high: list[int]) -> list[int]:
    """Return the order in which blocks are read, given how many of each go to the back."""
    left, right = 1, len(high) - 1
    front = back = 0
    reading = []
    while left < right:
        if (len(high) - right) * _BLOCK - back < left * _BLOCK - front:
            right -= 1
            block = right
        else:
            block = left
            left += 1
        reading.append(block)
        back += high[block]
        front += _BLOCK - high[block]
    return [*reading, 0, len(high) - 1]


def _sort_small(keys: Floats, order: Positions, ranges: list[slice]) -> None:
    """Sort all small ranges at once by one network; infinite keys fill it up and stay behind."""
    shape = len(ranges), _NETWORK
    lanes_keys, lanes = np.full(shape, np.inf), np.zeros(shape, dtype=np.intp)
    for row, part in enumerate(ranges):
        size = part.stop - part.start
        lanes[row, :size] = order[part]
        lanes_keys[row, :size] = keys[order[part]]
    lane = np.arange(_NETWORK)
    for partner in (lane ^ flip for flip in _flips(_NETWORK)):
        low = np.flatnonzero(lane < partner)
        high = partner[low]
        swap = lanes_keys[:, low] > lanes_keys[:, high]
        for array in (lanes_keys, lanes):
            first, second = array[:, low], array[:, high]
            array[:, low] = np.where(swap, second, first)
            array[:, high] = np.where(swap, first, second)
    for row, part in enumerate(ranges):
        order[part] = lanes[row, : part.stop - part.start]


def _flips(size: int) -> list[int]:
    """Return, step by step, the bits in which the two lanes that are compared differ."""
    merges = [2**power for power in range(1, size.bit_length())]
    halves = {
        merge: [2**power for power in range(merge.bit_length() - 3, -1, -1)] for merge in merges
    }
    return [flip for merge in merges for flip in (merge - 1, *halves[merge])]
