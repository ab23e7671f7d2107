"""Groups of cases that behave alike: found by order and timing, named by what sets them apart.

The heavy parts (numba, SciPy) are imported when one of the functions is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio.segments.settings import SegmentSettings

if TYPE_CHECKING:
    from behavio.segments.contract import Segmenter
    from behavio.segments.finding import Found, Whole, find, find_segments
    from behavio.segments.finding import find_segments as segments
    from behavio.segments.kmeans import ActivityKMeans
    from behavio.segments.segmentation import Segmentation
    from behavio.segments.semi_markov import SemiMarkovMixture
    from behavio.segments.writing import assign, placed, write_segments

__all__ = [
    "ActivityKMeans",
    "Found",
    "Segmentation",
    "SegmentSettings",
    "Segmenter",
    "SemiMarkovMixture",
    "Whole",
    "assign",
    "files_of",
    "find",
    "find_segments",
    "placed",
    "segments",
    "write_segments",
]

_WHERE = {
    "ActivityKMeans": ("kmeans", "ActivityKMeans"),
    "Found": ("finding", "Found"),
    "Segmentation": ("segmentation", "Segmentation"),
    "Segmenter": ("contract", "Segmenter"),
    "SemiMarkovMixture": ("semi_markov", "SemiMarkovMixture"),
    "Whole": ("finding", "Whole"),
    "assign": ("writing", "assign"),
    "find": ("finding", "find"),
    "find_segments": ("finding", "find_segments"),
    "placed": ("writing", "placed"),
    "segments": ("finding", "find_segments"),
    "write_segments": ("writing", "write_segments"),
}


def files_of(settings: SegmentSettings, base: Path) -> list[tuple[str, Path]]:
    """Files outside the log that segments rest on: the previous run's segments and model, overrides, an
    existing segmentation."""
    found = []
    if settings.previous is not None:
        folder = base / settings.previous
        inner = folder / "segments" if (folder / "segments").is_dir() else folder
        names: tuple[str, ...] = (
            "segments.parquet",
            "model/learned.npz",
            "model/model.json",
            "model/labels.json",
        )
        names += ("model/encoder/learned.npz",)
        found = [(f"{settings.previous}/{n}", inner / n) for n in names]
        found.append((settings.previous, folder))
    for other in (settings.overrides, settings.challenge):
        if other is not None:
            found.append((other, base / other))
    return [(name, path) for name, path in found if path.is_file()]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
