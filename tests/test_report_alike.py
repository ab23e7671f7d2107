"""Bands of like journeys: by hand, and what must always hold."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from behavio.report.alike import bands


def test_two_kinds_of_journeys_fall_into_two_bands() -> None:
    # rows 0, 2, 4 are early, rows 1, 3, 5 late
    early, late = [1, 1, 0, 0], [0, 0, 1, 1]
    found = bands(np.array([early, late] * 3, float), 3, 2)
    assert sorted(sorted(part.tolist()) for part in found) == [[0, 2, 4], [1, 3, 5]]


def test_too_few_rows_make_no_band_and_equal_rows_make_one() -> None:
    assert bands(np.ones((9, 3)), 10, 24) == []
    assert [len(part) for part in bands(np.ones((25, 3)), 10, 24)] == [25]


@settings(max_examples=60, deadline=None)
@given(
    matrix=arrays(
        np.float32, st.tuples(st.integers(0, 60), st.integers(1, 6)), elements=st.sampled_from([0, 0.5, 1])
    ),
    least=st.integers(1, 12),
    most=st.integers(1, 8),
)
def test_every_row_stands_in_one_band_of_enough(matrix: np.ndarray, least: int, most: int) -> None:
    found = bands(matrix, least, most)
    rows = sorted(int(i) for part in found for i in part)
    assert rows == (list(range(len(matrix))) if len(matrix) >= least else [])
    assert all(len(part) >= least for part in found) and len(found) <= most
    assert [p.tolist() for p in bands(matrix, least, most)] == [p.tolist() for p in found]
