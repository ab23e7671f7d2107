"""Given patterns found again in any cases: how many hold them, who, and where they first end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.engine import Count
from behavio.kernels import matching
from behavio.kernels.arrays import readonly
from behavio.patterns.mine import Patterns
from behavio.patterns.rules import Moments, Rules
from behavio.sequences import SequenceSet


@dataclass(frozen=True, slots=True, eq=False)
class Matcher:
    """Patterns ready to be counted in any cases of the same vocabulary."""

    trie: tuple[np.ndarray, np.ndarray, np.ndarray]
    node_of: np.ndarray  # int64 (n_patterns,)
    code: np.ndarray  # int32 (n_activities,): item of the trie behind each activity, -1 for none
    rules: Rules

    @classmethod
    def of(cls, patterns: Patterns, n_activities: int) -> Matcher:
        """Build the trie; patterns must be in lexicographic order, as `frequent` gives them."""
        used = np.unique(patterns.tokens)
        code = np.full(n_activities, -1, dtype=np.int32)
        code[used] = np.arange(len(used), dtype=np.int32)
        tokens = readonly(code[patterns.tokens], np.int32)
        item, depth, after, node_of = matching.build_trie(tokens, readonly(patterns.offsets, np.int64))
        return cls((item, depth, after), node_of, code, patterns.rules)

    @property
    def n_nodes(self) -> int:
        """Size of the trie."""
        return len(self.trie[0])

    @property
    def n_codes(self) -> int:
        """Items of the trie, at least 1."""
        return max(int(self.code.max(initial=-1)) + 1, 1)

    def encode(
        self, sequences: SequenceSet, when: Moments | None = None
    ) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """The log and the windows for the kernels (see `kernels.matching`)."""
        when = when or Moments.of(sequences, self.rules)
        codes = readonly(self.code[sequences.tokens], np.int32)
        of_event, offsets = readonly(when.of_event, np.int64), readonly(sequences.offsets, np.int64)
        reach = tuple(readonly(w, np.int64) for w in (when.first, when.last, when.span))
        return (codes, of_event, offsets, when.starts), reach

    def count(self, sequences: SequenceSet, group: np.ndarray, n_groups: int) -> np.ndarray:
        """Cases of each group that hold each pattern, int64 (n_patterns, n_groups); group -1 is left out."""
        log, reach = self.encode(sequences)
        own = readonly(group, np.int64)
        spanned = self.rules.spanned
        nodes = matching.count_by_group(log, reach, self.trie, self.n_codes, own, n_groups, spanned)
        return nodes[self.node_of]

    def support(self) -> Count[np.ndarray]:
        """Cases that hold each pattern, int64 (n_patterns,), as a question for any engine."""

        def of(shard: SequenceSet) -> np.ndarray:
            return self.count(shard, np.zeros(shard.n_cases), 1)[:, 0]

        return Count(of=of, merge=np.add)

    def holders(self, sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who holds what: pattern numbers, case numbers and the number of the event it first ends with.

        int64 each, by pattern, then by case. The event is the last one of the moment of the end.
        """
        when = Moments.of(sequences, self.rules)
        log, reach = self.encode(sequences, when)
        pattern_of = np.full(self.n_nodes, -1, dtype=np.int64)
        pattern_of[self.node_of] = np.arange(len(self.node_of))
        wanted = pattern_of >= 0
        nodes, cases, ends = matching.first_ends(
            log, reach, self.trie, self.n_codes, wanted, self.rules.spanned
        )
        patterns = pattern_of[nodes]
        order = np.lexsort((cases, patterns))
        last = np.searchsorted(when.of_event, ends, side="right") - 1
        return patterns[order], cases[order], last[order]
