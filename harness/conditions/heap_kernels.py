"""Compiled best-first queue for branch and bound, shared by the net and the joint certificate.

Importing this module compiles, or loads from the cache.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@numba.njit(cache=True, nogil=True)
def push(keys: Array, slots: Ints, size: int, key: float, slot: int) -> int:
    """Adds (key, slot) to a binary heap with the greatest key first; its new size."""
    child = size
    while child > 0:
        parent = (child - 1) // 2
        if keys[parent] >= key:
            break
        keys[child], slots[child] = keys[parent], slots[parent]
        child = parent
    keys[child], slots[child] = key, slot
    return size + 1


@numba.njit(cache=True, nogil=True)
def pop(keys: Array, slots: Ints, size: int) -> int:
    """Removes the first entry of the heap (read it before); its new size."""
    size -= 1
    key, slot = keys[size], slots[size]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= key:
            break
        keys[parent], slots[parent] = keys[child], slots[child]
        parent = child
    keys[parent], slots[parent] = key, slot
    return size
