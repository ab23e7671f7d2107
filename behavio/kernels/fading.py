"""What a case remembers of each activity as time passes: counts that fade, and how long ago it was."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

FORGOTTEN = 1e-4
"""A fading count below this is 0: most are, and a logarithm is slow."""
SMALLEST = 2.0**-14
"""The smallest number a half float holds with all its digits."""


@njit(cache=True, nogil=True)
def to_halves(row: np.ndarray, halves: np.ndarray) -> None:
    """Write numbers from 0 to 65,000, float32 (n,), as the bits of half floats, uint16 (n,).

    Rounded to the nearest, ties to even (IEEE 754 binary16), as numpy does, which takes many times as long.
    """
    bits = row.view(np.uint32)
    for i in range(len(row)):
        if row[i] < SMALLEST:
            halves[i] = np.uint16(np.rint(row[i] * np.float32(16_777_216.0)))
        else:
            rounded = bits[i] + np.uint32(0xFFF) + ((bits[i] >> np.uint32(13)) & np.uint32(1))
            halves[i] = np.uint16((rounded >> np.uint32(13)) - np.uint32(112 << 10))


@njit(cache=True, nogil=True)
def fill_memories(
    memories: np.ndarray,
    tokens: np.ndarray,
    seconds: np.ndarray,
    offsets: np.ndarray,
    column: np.ndarray,
    fades: np.ndarray,
    size: int,
) -> None:
    """Fill memories, bits of float16 (n_events, size * (n_fades + 2)), with what is known after each event.

    tokens   int32 (n_events,)      seconds  float64 (n_events,), not falling inside a case
    offsets  int64 (n_cases + 1,)   column   int64 (n_vocabulary,): 0 to size - 1, -1 for what is not followed
    fades    float64: seconds in which a count fades to 1/e

    Of each followed activity: log of 1 + its fading count for every fade, 1 if it never came, and a fifth of
    the log of 1 + the hours since it came last.
    """
    n_fades = len(fades)
    width = n_fades + 2
    counts = np.zeros((size, n_fades))
    last = np.zeros(size)
    left = np.zeros(n_fades)
    row = np.empty(size * width, dtype=np.float32)
    for case in range(len(offsets) - 1):
        counts[:] = 0.0
        last[:] = -1.0
        start = seconds[offsets[case]]
        before = start
        for i in range(offsets[case], offsets[case + 1]):
            now = seconds[i]
            for f in range(n_fades):
                left[f] = np.exp((before - now) / fades[f])
            before = now
            for a in range(size):
                for f in range(n_fades):
                    counts[a, f] *= left[f]
            followed = column[tokens[i]]
            if followed >= 0:
                last[followed] = now - start
                for f in range(n_fades):
                    counts[followed, f] += 1.0
            row[:] = 0.0
            for a in range(size):
                for f in range(n_fades):
                    if counts[a, f] > FORGOTTEN:
                        row[a * width + f] = np.log1p(counts[a, f])
                    else:
                        counts[a, f] = 0.0
                if last[a] < 0:
                    row[a * width + n_fades] = 1.0
                else:
                    row[a * width + n_fades + 1] = np.log1p((now - start - last[a]) / 3600.0) / 5.0
            to_halves(row, memories[i])
