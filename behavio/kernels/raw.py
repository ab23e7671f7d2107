"""Eight bytes at a time: unaligned words of a byte array, and what is built on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from behavio.kernels.ready import intrinsic, njit

MIX = np.uint64(0x9E3779B97F4A7C15)


signed: Any = np.int64
"""Turns a number into a signed one of 64 bits."""


@intrinsic
def _word_at(typing: Any, address: Any) -> Any:
    """The eight bytes at an address, wherever it lies, as one little-endian number."""
    from llvmlite import ir
    from numba import types

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = builder.inttoptr(given[0], ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.intp), build


@intrinsic
def load(typing: Any, address: Any) -> Any:
    """The eight bytes at an address as one little-endian number; the caller knows that they are there."""
    from llvmlite import ir
    from numba import types

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(builder.inttoptr(given[0], ir.IntType(64).as_pointer()), align=1)

    return types.uint64(types.int64), build


@intrinsic
def store(typing: Any, address: Any, value: Any) -> Any:
    """Write a number as eight little-endian bytes at an address; the caller knows that there is room."""
    from llvmlite import ir
    from numba import types

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(given[1], builder.inttoptr(given[0], ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), build


@njit(cache=True, nogil=True, inline="always")
def word(data: np.ndarray, at: int, length: int) -> np.uint64:
    """The first `length` (1 to 8) bytes from `at`, zeros above; never reads past the end of `data`."""
    if at + 8 <= len(data):
        found = _word_at(data.ctypes.data + at)
        return found if length >= 8 else found & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))
    found = np.uint64(0)
    for i in range(min(length, 8)):
        found |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return found


@njit(cache=True, nogil=True, inline="always")
def equal(a: np.ndarray, at: int, b: np.ndarray, bt: int, length: int) -> bool:
    """True when a[at:at + length] and b[bt:bt + length] hold the same bytes."""
    done = 0
    while done < length:
        if word(a, at + done, length - done) != word(b, bt + done, length - done):
            return False
        done += 8
    return True


@njit(cache=True, nogil=True, inline="always")
def hashed(data: np.ndarray, at: int, length: int) -> np.uint64:
    """A 64-bit hash: every word multiplied in and the high bits folded back (as in Murmur, 2008)."""
    mixed = np.uint64(length) * MIX
    done = 0
    while done < length:
        mixed = (mixed ^ word(data, at + done, length - done)) * MIX
        mixed ^= mixed >> np.uint64(32)
        done += 8
    return mixed


@njit(cache=True, nogil=True)
def comes_before(data: np.ndarray, bounds: np.ndarray, a: int, b: int, skip: int) -> bool:
    """True when text a is smaller than text b as bytes; the first `skip` bytes are known to be equal."""
    at, bt = bounds[a] + skip, bounds[b] + skip
    length_a, length_b = bounds[a + 1] - at, bounds[b + 1] - bt
    for i in range(min(length_a, length_b)):
        if data[at + i] != data[bt + i]:
            return bool(data[at + i] < data[bt + i])
    return bool(length_a < length_b)
