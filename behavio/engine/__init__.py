"""The one seam to where work runs: a question asked of every shard, and how two answers join."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from behavio.sequences import SequenceSet

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Count(Generic[Answer]):
    """`of` answers for one shard of whole cases, `merge` joins two answers; merging is associative."""

    of: Callable[[SequenceSet], Answer]
    merge: Callable[[Answer, Answer], Answer]


class Engine(Protocol):
    """Runs a Count over all of a log."""

    def run(self, count: Count[Answer], sequences: SequenceSet) -> Answer:
        """The merged answer."""
        ...
