"""What is known of an event beside its activity, as numbers that mean the same in every log."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

PERIODS = 256
"""Periods a tally has room for, a power of two."""


@njit(cache=True, nogil=True)
def steps_of(values: np.ndarray, edges: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 (n_events,): edges at or below each value, plus 1; 0 for the first event of a case."""
    result = np.empty(len(values), dtype=np.int64)
    for i in range(len(values)):
        step = 1
        for edge in edges:
            step += values[i] >= edge
        result[i] = step
    for case in range(len(offsets) - 1):
        result[offsets[case]] = 0
    return result


@njit(cache=True, nogil=True)
def seen_sets(tokens: np.ndarray, offsets: np.ndarray, names: np.ndarray) -> np.ndarray:
    """int64 (n_events,): a number for the set of activities of the case so far; equal sets, equal numbers."""
    result = np.zeros(len(tokens), dtype=np.int64)
    last = np.full(len(names), -1, dtype=np.int64)
    for case in range(len(offsets) - 1):
        h = np.int64(0)
        for i in range(offsets[case], offsets[case + 1]):
            token = tokens[i]
            if last[token] != case:
                last[token] = case
                h = (h + names[token]) & np.int64(0x3FFFFFFFFFFFFFFF)
            result[i] = h
    return result


@njit(cache=True, nogil=True)
def carried(codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int32 (n_events,): the latest known code of the case, 0 before any."""
    result = np.zeros(len(codes), dtype=np.int32)
    for case in range(len(offsets) - 1):
        now = 0
        for i in range(offsets[case], offsets[case + 1]):
            if codes[i] > 0:
                now = codes[i]
            result[i] = now
    return result
