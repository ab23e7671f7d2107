"""Sequences as flat arrays: the log encoded once, then answered at memory speed.

Trace i is `tokens[offsets[i]:offsets[i + 1]]`. The arrays lie on disk as plain .npy files and are
memory-mapped back, so a log need not fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import LogError
from behavio.files import read_json, whole_file, write_json
from behavio.log import EventLog

PAD, UNKNOWN = 0, 1
FIELDS = ("channel", "direction", "brand", "message", "reaction", "content", "actor_id", "team")
"""Attributes that are coded beside the activity where the log has them."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The name behind each id: 0 pads, 1 is unknown, then names in alphabetical order."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.names[:2] != ("", "(unknown)") or len(set(self.names)) != len(self.names):
            raise LogError("a vocabulary starts with padding and unknown and has no name twice")

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """Vocabulary of these names, sorted, each once."""
        return cls(("", "(unknown)", *sorted(set(names) - {"", "(unknown)"})))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def activities(self) -> tuple[str, ...]:
        """The names without padding and unknown."""
        return self.names[2:]

    def id(self, name: str) -> int:
        """Id of one name, 1 when it is unknown."""
        try:
            return self.names.index(name)
        except ValueError:
            return UNKNOWN

    def encode(self, names: pl.Series) -> np.ndarray:
        """int32 ids of a column of names; null becomes 0, a name not listed 1."""
        if len(self) == 3 and names.null_count() == 0 and (names == self.names[2]).all():
            return np.full(names.len(), 2, np.int32)
        places = names.cast(pl.String).cast(pl.Enum(self.names[2:]), strict=False).to_physical()
        ids = places.cast(pl.Int32) + 2
        if ids.null_count():
            rest = pl.select(pl.when(names.is_null()).then(PAD).otherwise(UNKNOWN)).to_series()
            ids = ids.zip_with(ids.is_not_null(), rest.cast(pl.Int32))
        return ids.to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One coded attribute: codes int32 (n_events,), 0 where it is missing."""

    codes: np.ndarray
    vocabulary: Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """Identical sequences known once.

    of_case  int64 (n_cases,)     which distinct sequence each case follows, numbered in order of appearance
    first    int64 (n_distinct,)  the first case that follows it: its tokens are the sequence
    weight   int64 (n_distinct,)  how many cases follow it
    """

    of_case: np.ndarray
    first: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class OpenCases:
    """Cases that are still running at the newest event of the log, and the rule that says so.

    open      bool (n_cases,)
    end       activities that close a case when they are its last
    within_s  a case silent for longer than this (seconds) up to the newest event is closed too
    """

    open: np.ndarray
    end: tuple[str, ...]
    within_s: float


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single ==
class SequenceSet:
    """Many traces in flat arrays.

    tokens      int32 (n_events,)     activity ids; 0 pads, 1 is unknown
    offsets     int64 (n_cases + 1,)  from 0 to n_events, strictly rising: no case is empty
    times       int64 (n_events,)     µs since 1970-01-01 UTC, never falling inside a case
    case_ids    strings (n_cases,)
    vocabulary  the activity behind each id
    fields      further coded attributes, aligned with tokens
    timed       False when times only count positions
    known       identical sequences, where they have been looked for: see `distinct`
    running     open cases, where they have been marked: see `open_cases`
    ahead       what a model that learns from here will be asked about: later "events" of these and other
                cases, later "cases", or other cases of "any" time; models choose their settings accordingly
    """

    tokens: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    case_ids: pl.Series
    vocabulary: Vocabulary
    fields: Mapping[str, Field] = field(default_factory=dict)
    timed: bool = True
    known: Distinct | None = None
    running: OpenCases | None = None
    ahead: str = "events"

    def __post_init__(self) -> None:
        whole = len(self.offsets) > 1 and self.offsets[0] == 0 and self.offsets[-1] == len(self.tokens)
        if not whole or (np.diff(self.offsets) < 1).any() or len(self.times) != len(self.tokens):
            raise LogError(
                f"offsets do not cut {len(self.tokens)} tokens into {max(len(self.offsets) - 1, 0)} traces",
                hint="build it with SequenceSet.from_log(log)",
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.tokens[a:b] for a, b in pairwise(self.offsets))

    @property
    def n_cases(self) -> int:
        """Number of traces."""
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.tokens)

    @property
    def lengths(self) -> np.ndarray:
        """int64 (n_cases,): events per case."""
        return np.diff(self.offsets)

    @property
    def case_of_event(self) -> np.ndarray:
        """int64 (n_events,): which trace each event belongs to."""
        return np.repeat(np.arange(self.n_cases), self.lengths)

    @property
    def gaps_s(self) -> np.ndarray:
        """float64 (n_events,): seconds since the case's event before; 0 for its first."""
        gaps = np.diff(self.times, prepend=self.times[:1]) / 1e6
        gaps[self.offsets[:-1]] = 0.0
        return gaps

    def distinct(self) -> Distinct:
        """Identical sequences with their weights; compared token by token, a hash only proposes."""
        if self.known is not None:
            return self.known
        from behavio.kernels.arrays import readonly
        from behavio.kernels.traces import distinct_traces

        first, of_case = distinct_traces(readonly(self.tokens, np.int32), readonly(self.offsets, np.int64))
        return Distinct(of_case, first, np.bincount(of_case, minlength=len(first)).astype(np.int64))

    def open_cases(self, end: Sequence[str] | None = None, open_within: str | None = None) -> OpenCases:
        """Which cases still run; without arguments as the log was marked, or by the default rule.

        A case is closed when its last activity is one of `end`, or when its silence up to the newest event of
        the log is longer than `open_within` ("90d"; default: the 99 % quantile of the gaps inside cases).
        Without a clock silence cannot be told: only `end` closes.
        """
        if self.running is not None and end is None and open_within is None:
            return self.running
        last = self.offsets[1:] - 1
        ends = tuple(end or ())
        known = np.array([self.vocabulary.id(name) for name in ends], dtype=np.int32)
        still = ~np.isin(np.asarray(self.tokens[last]), known[known > UNKNOWN])
        within = 0
        if self.timed:
            from behavio.kernels.arrays import readonly
            from behavio.kernels.silence import gap_quantile

            if open_within is not None:
                within = int(seconds(open_within) * 1e6)
            else:
                times, offsets = readonly(self.times, np.int64), readonly(self.offsets, np.int64)
                within = int(gap_quantile(times, offsets, 0.99))
            newest = np.asarray(self.times[last])
            still &= newest.max() - newest <= within
        return OpenCases(still, ends, within / 1e6)

    def marked(self, end: Sequence[str] = (), open_within: str | None = None) -> SequenceSet:
        """The same sequences with their open cases marked by this rule."""
        return replace(self, running=self.open_cases(end, open_within))

    @classmethod
    def from_log(cls, log: EventLog, fields: Sequence[str] = FIELDS) -> Self:
        """Encode a log: one pass over its sorted events."""
        events = log.events
        case = events["case_id"]
        starts = (case != case.shift()).fill_null(True).arg_true()
        vocabulary = Vocabulary.of(events["activity"].unique().to_list())
        coded = {}
        for name in fields:
            if name in events.columns and events[name].null_count() < events.height:
                values = events[name].cast(pl.String)
                known = Vocabulary.of(values.drop_nulls().unique().to_list())
                coded[name] = Field(known.encode(values), known)
        return cls(
            tokens=vocabulary.encode(events["activity"]),
            offsets=np.append(starts.to_numpy(), log.n_events).astype(np.int64),
            times=events["timestamp"].to_physical().to_numpy(),
            case_ids=case.gather(starts),
            vocabulary=vocabulary,
            fields=coded,
            timed=log.timed,
        )

    @classmethod
    def from_traces(
        cls, traces: Sequence[Sequence[str]], times: Sequence[Sequence[int]] | None = None
    ) -> Self:
        """Small logs by hand: lists of activities, and of seconds (default: one day apart)."""
        if times is None:
            times = [[86_400 * i for i in range(len(t))] for t in traces]
        vocabulary = Vocabulary.of([a for t in traces for a in t])
        width = len(str(len(traces)))
        return cls(
            tokens=vocabulary.encode(pl.Series([a for t in traces for a in t], dtype=pl.String)),
            offsets=np.cumsum([0, *(len(t) for t in traces)], dtype=np.int64),
            times=np.array([s for t in times for s in t], dtype=np.int64) * 1_000_000,
            case_ids=pl.Series("case_id", [f"c{i:0{width}d}" for i in range(len(traces))]),
            vocabulary=vocabulary,
        )

    def select(self, cases: np.ndarray) -> SequenceSet:
        """The traces at these indices (int) or where this mask (bool) is true, in the given order."""
        index = np.flatnonzero(cases) if cases.dtype == bool else cases
        lengths = self.lengths[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        events = np.repeat(self.offsets[:-1][index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        taken = self._take(events, offsets, self.case_ids.gather(pl.Series(index)))
        return replace(taken, running=self._running(index))

    def until(self, time: int) -> SequenceSet:
        """What was known at `time` (µs): events strictly before it, cases without any left out."""
        return self.keep(self.times < time)

    def keep(self, events: np.ndarray) -> SequenceSet:
        """Only the events where this mask bool (n_events,) is true; cases without any are left out."""
        lengths = np.add.reduceat(events, self.offsets[:-1], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
        return self._take(np.flatnonzero(events), offsets, self.case_ids.filter(pl.Series(lengths > 0)))

    def _take(self, events: np.ndarray, offsets: np.ndarray, case_ids: pl.Series) -> SequenceSet:
        return replace(
            self,
            tokens=self.tokens[events],
            offsets=offsets,
            times=self.times[events],
            case_ids=case_ids,
            fields={n: Field(f.codes[events], f.vocabulary) for n, f in self.fields.items()},
            known=None,
            running=None,
        )

    def recode(self, vocabulary: Vocabulary) -> SequenceSet:
        """The same traces under another vocabulary; activities it does not list become unknown."""
        ids = {name: i for i, name in enumerate(vocabulary.names)}
        table = np.array(
            [PAD, UNKNOWN, *(ids.get(n, UNKNOWN) for n in self.vocabulary.activities)], dtype=np.int32
        )
        return replace(self, tokens=table[self.tokens], vocabulary=vocabulary, known=None)

    def own_vocabulary(self) -> Vocabulary:
        """The vocabulary of the activities that really occur here."""
        return Vocabulary.of([self.vocabulary.names[i] for i in np.unique(self.tokens) if i > UNKNOWN])

    def shards(self, n: int) -> list[SequenceSet]:
        """At most n runs of whole cases with about as many events each, as views without a copy."""
        if n == 1:
            return [self]
        wanted = np.linspace(0, self.n_events, min(n, self.n_cases) + 1)
        cuts = np.unique(np.searchsorted(self.offsets, wanted))
        return [self.cases_from(int(a), int(b)) for a, b in pairwise(cuts)]

    def cases_from(self, first: int, last: int) -> SequenceSet:
        """The cases from first to last - 1, as views without a copy."""
        a, b = self.offsets[first], self.offsets[last]
        return replace(
            self,
            tokens=self.tokens[a:b],
            offsets=self.offsets[first : last + 1] - a,
            times=self.times[a:b],
            case_ids=self.case_ids[first:last],
            fields={n: Field(f.codes[a:b], f.vocabulary) for n, f in self.fields.items()},
            known=None,
            running=self._running(slice(first, last)),
        )

    def _running(self, cases: np.ndarray | slice) -> OpenCases | None:
        """The marks of some cases: whether a case runs is a question to the whole log."""
        return None if self.running is None else replace(self.running, open=self.running.open[cases])

    def write(self, folder: Path) -> None:
        """Write the arrays as .npy, the case ids as Parquet, the vocabularies as vocabulary.json (last)."""
        arrays = {"tokens": self.tokens, "times": self.times}
        arrays |= {f"field-{n}": f.codes for n, f in self.fields.items()}
        for name, array in arrays.items():
            write_array(folder / f"{name}.npy", array)
        self.write_cases(folder)

    def write_cases(self, folder: Path) -> None:
        """Write everything but the arrays of events: cases, identical sequences, open cases, vocabularies."""
        distinct, running = self.distinct(), self.open_cases()
        arrays = {"offsets": self.offsets, "open": running.open, "variant": distinct.of_case}
        arrays |= {"variant-first": distinct.first, "variant-weight": distinct.weight}
        for name, array in arrays.items():
            write_array(folder / f"{name}.npy", array)
        with whole_file(folder / "case_ids.parquet") as draft:
            self.case_ids.to_frame("case_id").write_parquet(draft, compression="zstd")
        names = {n: list(f.vocabulary.names) for n, f in self.fields.items()}
        facts = {"activity": list(self.vocabulary.names), "fields": names, "timed": self.timed}
        facts["open"] = {"end": list(running.end), "within_s": running.within_s}
        write_json(folder / "vocabulary.json", facts)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Memory-map what `write` left; nothing is loaded until it is touched."""
        facts = read_json(folder / "vocabulary.json")

        def array(name: str) -> np.ndarray:
            return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

        known = running = None
        if "open" in facts:
            known = Distinct(array("variant"), array("variant-first"), array("variant-weight"))
            rule = facts["open"]
            running = OpenCases(array("open"), tuple(rule["end"]), rule["within_s"])
        fields = {n: Field(array(f"field-{n}"), Vocabulary(tuple(v))) for n, v in facts["fields"].items()}
        return cls(
            tokens=array("tokens"),
            offsets=array("offsets"),
            times=array("times"),
            case_ids=pl.read_parquet(folder / "case_ids.parquet")["case_id"],
            vocabulary=Vocabulary(tuple(facts["activity"])),
            fields=fields,
            timed=facts["timed"],
            known=known,
            running=running,
        )


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as .npy, whole or not at all."""
    with whole_file(path) as draft, draft.open("wb") as out:
        np.save(out, array, allow_pickle=False)


def time_cut(sequences: SequenceSet, share: float) -> int:
    """The moment (µs) before which `share` of all events lie: one global cut, later events held out."""
    return int(np.quantile(sequences.times, share, method="higher"))
