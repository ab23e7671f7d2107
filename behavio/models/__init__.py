"""Next step: baselines, counting and neural models behind one protocol.

Only the settings are imported with the package; compiled kernels and torch wait until they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from behavio.models.settings import ModelSettings

if TYPE_CHECKING:
    from behavio.models.base import Prefixes, SequenceModel
    from behavio.models.baselines import FirstOrder, MostPopular, RepeatLast
    from behavio.models.gaps import GapModel
    from behavio.models.ngram import NGram
    from behavio.models.stages import evaluate, predict_next, write_models, write_next

_HOME = {
    "Prefixes": "base",
    "SequenceModel": "base",
    "FirstOrder": "baselines",
    "MostPopular": "baselines",
    "RepeatLast": "baselines",
    "GapModel": "gaps",
    "NGram": "ngram",
    "evaluate": "stages",
    "predict_next": "stages",
    "write_models": "stages",
    "write_next": "stages",
}

__all__ = [
    "FirstOrder",
    "GapModel",
    "ModelSettings",
    "MostPopular",
    "NGram",
    "Prefixes",
    "RepeatLast",
    "SequenceModel",
    "evaluate",
    "predict_next",
    "write_models",
    "write_next",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
