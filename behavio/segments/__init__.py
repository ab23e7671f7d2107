"""Groups of cases that behave alike: found by order and timing, named by what sets them apart.

The heavy parts (numba, SciPy) are imported when one of the functions is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from behavio.segments.settings import SegmentSettings

if TYPE_CHECKING:
    from behavio.segments.contract import Segmenter
    from behavio.segments.finding import Found, assign, find, find_segments, write_segments
    from behavio.segments.finding import find_segments as segments
    from behavio.segments.kmeans import ActivityKMeans
    from behavio.segments.segmentation import Segmentation
    from behavio.segments.semi_markov import SemiMarkovMixture

__all__ = [
    "ActivityKMeans",
    "Found",
    "Segmentation",
    "SegmentSettings",
    "Segmenter",
    "SemiMarkovMixture",
    "assign",
    "find",
    "find_segments",
    "segments",
    "write_segments",
]

_WHERE = {
    "ActivityKMeans": ("kmeans", "ActivityKMeans"),
    "Found": ("finding", "Found"),
    "Segmentation": ("segmentation", "Segmentation"),
    "Segmenter": ("contract", "Segmenter"),
    "SemiMarkovMixture": ("semi_markov", "SemiMarkovMixture"),
    "assign": ("finding", "assign"),
    "find": ("finding", "find"),
    "find_segments": ("finding", "find_segments"),
    "segments": ("finding", "find_segments"),
    "write_segments": ("finding", "write_segments"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
