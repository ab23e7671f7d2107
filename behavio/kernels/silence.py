"""Exact quantiles of the gaps inside cases, by counting: no sort, no copy of the gaps."""

from __future__ import annotations

import math

import numpy as np

from behavio.kernels.raw import signed
from behavio.kernels.ready import ready

BITS = 16


@ready
def _histogram(times: np.ndarray, offsets: np.ndarray, shift: int, prefix: int, counts: np.ndarray) -> None:
    """Count the gaps whose bits above `shift` + 16 equal `prefix`, by their next 16 bits."""
    for c in range(len(offsets) - 1):
        for i in range(offsets[c] + 1, offsets[c + 1]):
            gap = times[i] - times[i - 1]
            if (gap >> shift) >> BITS == prefix:  # a shift by 64 would be none at all
                counts[(gap >> shift) & ((1 << BITS) - 1)] += 1


@ready
def _longest(times: np.ndarray, offsets: np.ndarray) -> int:
    found = signed(0)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c] + 1, offsets[c + 1]):
            found = max(found, times[i] - times[i - 1])
    return found


def gap_quantile(times: np.ndarray, offsets: np.ndarray, share: float) -> int:
    """The smallest gap (µs) that at least `share` of all gaps inside cases do not exceed; 0 without a gap.

    The k-th smallest value found digit by digit, 16 bits at a time (radix selection).
    """
    n = len(times) - (len(offsets) - 1)
    if n == 0:
        return 0
    left = max(math.ceil(share * n), 1)
    top = _longest(times, offsets)
    shift = 0
    while (top >> shift) >> BITS > 0:
        shift += BITS
    prefix = 0
    while shift >= 0:
        counts = np.zeros(1 << BITS, np.int64)
        _histogram(times, offsets, shift, prefix, counts)
        upto = np.cumsum(counts)
        digit = int(np.searchsorted(upto, left))
        left -= int(upto[digit] - counts[digit])
        prefix = (prefix << BITS) | digit
        shift -= BITS
    return prefix
