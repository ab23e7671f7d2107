"""behavio: a behavioral sequence mining engine for life-science commercial teams.

Every command of the command line is one call here::

    import behavio

    behavio.graph("visits.csv")              # what follows what, how often, after how long
    behavio.run("pipelines/demo.toml")       # the whole job, into runs/demo

Calls take a path, a run folder, a pandas, Polars or Arrow frame, or an EventLog, and give a frame of the
kind that was handed in. They live in `behavio.api`, which type checkers understand; nothing heavy is
imported before the first call.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

ROOMS = (
    "audience",
    "holdout",
    "journeys",
    "patterns",
    "perceptions",
    "pressure",
    "report",
    "run",
    "segments",
    "simulate",
    "stages",
    "treatment",
    "view",
)
CALLS = (
    *"check compare conform demo deliver drift encode evaluate explore funnel graph lifecycle match".split(),
    *"neighbours predict read readout retention rework rules steps variants waits within".split(),
    *ROOMS,
)


class _Room(ModuleType):
    """A room that shares its name with a command is also that command: behavio.patterns(log)."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from behavio import api

        return getattr(api, self.__name__.rpartition(".")[2])(*args, **options)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        if name in ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in ROOMS:
            return importlib.import_module(f"behavio.{name}")
        if name in CALLS:
            from behavio import api

            return getattr(api, name)
        raise AttributeError(f"module 'behavio' has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *CALLS})


sys.modules[__name__].__class__ = _Package
