"""Which touch is answered, and after how long."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def first_responses(
    answering: np.ndarray, touching: np.ndarray, offsets: np.ndarray, times: np.ndarray, within: int
) -> np.ndarray:
    """The first answer to each touch: index of that event, int64 (n_events,); −1: none, or no touch.

    answering, touching  bool (n_events,)
    within               µs an answer may take; −1: any time
    An answer belongs to the newest touch before it, once: touches of the same moment share nothing, the last
    of them gets it.
    """
    answer = np.full(len(times), -1, np.int64)
    for c in range(len(offsets) - 1):
        last = np.int64(-1)
        for i in range(offsets[c], offsets[c + 1]):
            if answering[i] and last >= 0 and (within < 0 or times[i] - times[last] <= within):
                answer[last] = i
                last = np.int64(-1)
            if touching[i]:
                last = np.int64(i)
    return answer
