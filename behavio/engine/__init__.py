"""The one seam to where work runs: a question asked of every shard, and how two answers join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from behavio.sequences import SequenceSet, Vocabulary

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Count(Generic[Answer]):
    """`of` answers for one shard of whole cases, `merge` joins two answers; merging is associative.

    An answer that grows with the log has two more functions, so that a cluster never brings it to one place:

    split   cuts an answer into n parts; part i of one answer only ever meets part i of another
    settle  what is left of a part when every shard is in it (quantiles instead of all waiting times);
            `merge` joins settled parts as well

    exact says that the answer is the same bytes however the log is cut: whole numbers, joined by adding.
    """

    of: Callable[[SequenceSet], Answer]
    merge: Callable[[Answer, Answer], Answer]
    split: Callable[[Answer, int], Sequence[Answer]] | None = None
    settle: Callable[[Answer], Answer] | None = None
    exact: bool = False


class Encoded(Protocol):
    """What a count can be asked of: a SequenceSet in memory or on disk, or a SparkLog on a cluster."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The activity behind each id."""
        ...

    @property
    def timed(self) -> bool:
        """False when times only count positions."""
        ...


class Engine(Protocol):
    """Runs a Count over all of a log."""

    def run(self, count: Count[Answer], log: Encoded) -> Answer:
        """The merged answer."""
        ...
