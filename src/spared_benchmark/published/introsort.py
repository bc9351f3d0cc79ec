"""The sort of the GNU C++ library (Musser 1997, Software: Practice and Experience 27:983).

Quicksort with the median of three, heapsort where that goes too deep, and insertion at the end.
What matters here is the order in which equal keys are left, so every step is the original's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHORT = 16


def introsort(keys: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return ``order`` sorted by ``keys[order]``, equal keys as the original leaves them.

    Args:
        keys: ``(n_keys,)``.
        order: Positions in ``keys`` ``(n,)``.
    """
    sorter = _Sorter(keys[order].tolist(), order.tolist())
    sorter.run()
    return np.array(sorter.items, dtype=np.intp)


class _Sorter:
    """Keys and items that are moved together."""

    def __init__(self, keys: list[float], items: list[int]) -> None:
        self.keys = keys
        self.items = items

    def run(self) -> None:
        size = len(self.keys)
        open_ = [(0, size, 2 * (size.bit_length() - 1))]
        while open_:
            start, stop, depth = open_.pop()
            while stop - start > _SHORT:
                if depth == 0:
                    self._heapsort(start, stop)
                    break
                depth -= 1
                middle = self._partition(start, stop)
                open_.append((middle, stop, depth))
                stop = middle
        self._insert(1, min(size, _SHORT), guarded=True)
        self._insert(_SHORT, size, guarded=False)

    def _swap(self, one: int, other: int) -> None:
        keys, items = self.keys, self.items
        keys[one], keys[other] = keys[other], keys[one]
        items[one], items[other] = items[other], items[one]

    def _partition(self, start: int, stop: int) -> int:
        keys = self.keys
        candidates = start + 1, start + (stop - start) // 2, stop - 1
        self._swap(start, self._median(*candidates))
        pivot = keys[start]
        low, high = start + 1, stop
        while True:
            while keys[low] < pivot:
                low += 1
            high -= 1
            while pivot < keys[high]:
                high -= 1
            if low >= high:
                return low
            self._swap(low, high)
            low += 1

    def _median(self, one: int, two: int, three: int) -> int:
        first, second, third = self.keys[one], self.keys[two], self.keys[three]
        if first < second:
            return two if second < third else three if first < third else one
        return one if first < third else three if second < third else two

    def _insert(self, start: int, stop: int, *, guarded: bool) -> None:
        keys, items = self.keys, self.items
        for place in range(start, stop):
            key, item, hole = keys[place], items[place], place
            if guarded and key < keys[0]:
                hole = 0
            else:
                while key < keys[hole - 1]:
                    hole -= 1
            keys[hole + 1 : place + 1] = keys[hole:place]
            items[hole + 1 : place + 1] = items[hole:place]
            keys[hole], items[hole] = key, item

    def _heapsort(self, start: int, stop: int) -> None:
        size = stop - start
        for parent in range((size - 2) // 2, -1, -1):
            self._sift(start, parent, size, self.keys[start + parent], self.items[start + parent])
        for last in range(size - 1, 0, -1):
            key, item = self.keys[start + last], self.items[start + last]
            self._move(start, last, 0)
            self._sift(start, 0, last, key, item)

    def _move(self, start: int, hole: int, source: int) -> None:
        self.keys[start + hole] = self.keys[start + source]
        self.items[start + hole] = self.items[start + source]

    def _sift(self, start: int, hole: int, size: int, key: float, item: int) -> None:
        """Sink the hole to a leaf along the larger children, then let the key rise from there."""
        keys, top = self.keys, hole
        child = 2 * hole + 2
        while child < size:
            if keys[start + child] < keys[start + child - 1]:
                child -= 1
            self._move(start, hole, child)
            hole, child = child, 2 * child + 2
        if child == size:
            self._move(start, hole, child - 1)
            hole = child - 1
        while hole > top and keys[start + (hole - 1) // 2] < key:
            self._move(start, hole, (hole - 1) // 2)
            hole = (hole - 1) // 2
        keys[start + hole], self.items[start + hole] = key, item
