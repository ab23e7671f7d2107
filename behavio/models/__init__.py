"""Next step: baselines, counting and neural models behind one protocol.

Only the settings are imported with the package; compiled kernels and torch wait until they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from behavio.models.settings import ModelSettings, Protocol

if TYPE_CHECKING:
    from behavio.models.activity2vec import Activity2Vec
    from behavio.models.alike import Alike, find_alike
    from behavio.models.base import Prefixes, SequenceModel
    from behavio.models.baselines import FirstOrder, MostPopular, RepeatLast
    from behavio.models.benchmark import benchmark_log
    from behavio.models.counting import Counting
    from behavio.models.fields import fields_asked, with_cases
    from behavio.models.gaps import GapModel
    from behavio.models.horizons import Horizons
    from behavio.models.neighbours import Neighbours
    from behavio.models.neural import CNN, GRU, Transformer
    from behavio.models.ngram import NGram
    from behavio.models.pool import Pool
    from behavio.models.stages import (
        evaluate,
        predict_next,
        predict_saved,
        predict_within,
        write_models,
        write_next,
    )

_HOME = {
    "Activity2Vec": "activity2vec",
    "Counting": "counting",
    "CNN": "neural",
    "GRU": "neural",
    "Horizons": "horizons",
    "Transformer": "neural",
    "Pool": "pool",
    "Prefixes": "base",
    "SequenceModel": "base",
    "find_alike": "alike",
    "Alike": "alike",
    "Neighbours": "neighbours",
    "benchmark_log": "benchmark",
    "FirstOrder": "baselines",
    "MostPopular": "baselines",
    "RepeatLast": "baselines",
    "GapModel": "gaps",
    "NGram": "ngram",
    "evaluate": "stages",
    "fields_asked": "fields",
    "predict_next": "stages",
    "predict_saved": "stages",
    "predict_within": "stages",
    "write_models": "stages",
    "with_cases": "fields",
    "write_next": "stages",
}

__all__ = [
    "CNN",
    "Activity2Vec",
    "Counting",
    "GRU",
    "FirstOrder",
    "GapModel",
    "Horizons",
    "ModelSettings",
    "MostPopular",
    "NGram",
    "Pool",
    "Prefixes",
    "Protocol",
    "RepeatLast",
    "SequenceModel",
    "Alike",
    "Neighbours",
    "Transformer",
    "find_alike",
    "benchmark_log",
    "evaluate",
    "fields_asked",
    "predict_next",
    "predict_saved",
    "predict_within",
    "with_cases",
    "write_models",
    "write_next",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
