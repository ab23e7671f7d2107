"""Counts on this machine: threads over shards of whole cases (the kernels release the GIL)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce

from behavio.engine import Answer, Count, Encoded
from behavio.errors import LogError
from behavio.sequences import SequenceSet


@dataclass(frozen=True)
class LocalEngine:
    """`n_shards` fixes how the log is cut, so answers do not depend on the number of threads.

    Exact answers never do: for them the log is cut once per thread.
    """

    n_shards: int = 8
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)

    def run(self, count: Count[Answer], log: Encoded) -> Answer:
        """Ask every shard, join the answers in shard order."""
        if not isinstance(log, SequenceSet):
            raise LogError(
                f"a {type(log).__name__} is not on this machine", hint="give the engine it lives on"
            )
        parts = min(self.threads, self.n_shards) if count.exact else self.n_shards
        shards = log.shards(parts if log.n_events > 100_000 else 1)
        if len(shards) == 1:
            return count.of(shards[0])
        with ThreadPoolExecutor(min(self.threads, len(shards))) as pool:
            return reduce(count.merge, pool.map(count.of, shards))
