"""A plain table encoded as it is read: strings are never held, rows never sorted, nothing is lost.

The answer equals `SequenceSet.from_log(behavio.read(table))` to the bit. Whatever this way does not
understand raises Unfit, and the careful path reads the whole source instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.encoding.ahead import ahead
from behavio.encoding.arrange import arrange
from behavio.encoding.columnar import Batch, as_texts
from behavio.encoding.moments import Moments
from behavio.encoding.names import Keys, ids_of
from behavio.encoding.pieces import Unfit
from behavio.encoding.plan import Plan
from behavio.encoding.rejects import Suspects, free_text
from behavio.encoding.spill import Streams
from behavio.encoding.texts import Texts
from behavio.kernels import arrange as kernel
from behavio.kernels.clock import MISSING
from behavio.log import SourceCount
from behavio.sources.mapping import zone_of
from behavio.sources.settings import SourceSettings

Progress = Callable[[str, float], None]
READING = 0.6
"""Share of the work that is reading, for the progress bar."""


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """What a stream became: arrays (None where they lie in files) and everything that was counted.

    files, records   the files and how many records each has      complete  False when columns were not read
    columns  those that were read, or would travel along
    """

    arrays: dict[str, np.ndarray | None]
    offsets: np.ndarray
    case_ids: pl.Series
    vocabularies: dict[str, tuple[str, ...]]
    count: SourceCount
    rejected: pl.DataFrame
    files: tuple[str, ...]
    records: tuple[int, ...]
    complete: bool
    columns: tuple[str, ...]


@dataclass(slots=True)
class Encoder:
    """Takes batches of one source, then arranges them.

    files    the opened files, in the order of reading
    folder   where arrays are written that are to be kept, and what does not fit in memory
    places   whether it is kept where each event came from: place of the file << 40 | record number
    memory   bytes the streams and the buffer of a range may take, each
    """

    name: str
    plan: Plan
    settings: SourceSettings
    files: Sequence[Any]
    folder: Path
    keep: bool
    memory: int
    tell: Progress
    places: bool = False
    moments: Moments = field(init=False)
    cases: Keys = field(init=False)
    activities: Keys = field(init=False)
    fields: dict[str, Texts] = field(init=False)
    suspects: Suspects = field(init=False)
    _records: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        typed = all(f.typed for f in self.files)
        self.moments = Moments(zone_of(self.settings, self.plan.mapping), self.plan.mapping.timestamp_format)
        self.cases = Keys.empty(typed=typed)
        self.activities = Keys.empty(typed=typed, renamed=self.plan.renamed)
        self.fields = {f"field-{a}": Texts() for a in self.plan.fields}
        self.suspects = Suspects(self.files)

    def run(self) -> Coded:
        """Read everything, then arrange it."""
        kinds = {
            "case": np.int32,
            "token": np.int32,
            "time": np.int64,
            **dict.fromkeys(self.fields, np.int32),
            **({"place": np.int64} if self.places else {}),
        }
        with Streams(kinds, self.folder / "scratch", self.memory) as streams:
            self._read(streams)
            streams.join()
            self._settle(streams)
            return self._arrange(streams)

    def _read(self, streams: Streams) -> None:
        sizes = [f.n_bytes() for f in self.files]
        for place, file in enumerate(self.files):
            before = sum(sizes[:place])
            batches = file.batches(self.plan.columns)
            for batch, share in batches if file.at_once else ahead(batches):
                self._take(batch, place, streams)
                done = (before + share * sizes[place]) / max(sum(sizes), 1)
                self.tell(f"reading, {streams.n:,} events", READING * done)
            self._records.append(streams.n + self.suspects.n_wrong - sum(self._records))

    def _take(self, batch: Batch, place: int, streams: Streams) -> None:
        """One batch: codes and times appended, rows that may be rejected remembered."""
        plan, columns, at = self.plan, batch.columns, streams.n
        room = streams.room(len(batch))
        cases = self.cases.texts.codes(as_texts(columns[plan.case_id]), room["case"])
        tokens = self.activities.texts.codes(as_texts(columns[plan.activity]), room["token"])
        self.cases.judge()
        self.activities.judge()
        times = self.moments.read(columns[plan.timestamp], room["time"])
        for attribute, column in plan.fields.items():
            name = f"field-{attribute}"
            self.fields[name].codes(as_texts(columns[column]), room[name])
        if self.places:
            room["place"][:] = batch.numbers(np.arange(len(batch)))
            room["place"] += place << 40
        doubt = self.cases.any_bad or self.activities.any_bad
        if doubt or cases.min() < 0 or tokens.min() < 0 or times.min() == MISSING:
            bad = kernel.unsound(cases, tokens, times, self.cases.bad, self.activities.bad)
            self.suspects.add(place, batch, bad, bad + at)

    def _settle(self, streams: Streams) -> None:
        """Odd times are read now that the whole column has been seen."""
        if streams.n == 0 or not (self.moments.n_naive + self.moments.n_zoned + len(self.moments.odd_texts)):
            raise Unfit("no times")
        rows, micros, notes = self.moments.settle()
        self.suspects.notes = list(notes)
        for first, (times,) in streams.chunks("time") if len(rows) else ():
            a, b = np.searchsorted(rows, [first, first + len(times)])
            if b > a:
                times[rows[a:b] - first] = micros[a:b]
                streams.put("time", first, times)

    def _target(self, streams: Streams, column: str) -> Path | None:
        name = {"token": "tokens", "time": "times"}.get(column, column)
        return self.folder / f"{name}.npy" if self.keep or streams.spilled else None

    def _arrange(self, streams: Streams) -> Coded:
        n_read = streams.n
        notes = self._notes(streams)
        hidden, told = free_text(self.files, self.plan)
        notes += told
        rejected = self.suspects.rejected(self.name, self.plan, self.cases, self.activities, streams, hidden)
        ranks, case_ids, _ = self.cases.ranks()
        self.cases.texts.release()
        per_case = np.zeros(len(case_ids), np.int64)
        per_token = np.zeros(self.activities.texts.n, np.int64)
        known = ~self.activities.bad[: self.activities.texts.n]
        seen = {n: np.zeros(t.n, np.bool_) for n, t in self.fields.items()}
        first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        for at, (cases, tokens, times, *codes) in streams.chunks("case", "token", "time", *self.fields):
            low, high = kernel.tally(cases, tokens, times, ranks, known, per_case, per_token)
            first, last = min(first, low), max(last, high)
            for name, values in zip(self.fields, codes, strict=True):
                kernel.mark(cases, values, seen[name])
            streams.put("case", at, cases)
        n = int(per_case.sum())
        if n == 0:
            raise Unfit("no event")
        if n + rejected.height != n_read + self.suspects.n_wrong:
            raise Unfit(f"{n_read} rows, {n} events, {rejected.height} rejected")
        offsets = np.concatenate([[0], np.cumsum(per_case)]).astype(np.int64)
        vocabularies, ids = {}, {}
        vocabularies["token"], ids["token"] = ids_of(
            self.activities.texts, self.activities.trimmed, per_token > 0
        )
        for name, texts in self.fields.items():
            blank = texts.series().str.strip_chars() == ""
            codes_seen = seen[name] & ~blank.to_numpy()
            if codes_seen.any():
                vocabularies[name], ids[name] = ids_of(texts, {}, codes_seen)
        arranged = arrange(
            streams,
            offsets,
            ids,
            budget=self.memory,
            target=lambda column: self._target(streams, column),
            also=("place",) if self.places else (),
            count_repeats=self.plan.complete,
            progress=lambda share: self.tell("arranging", READING + (1 - READING) * share),
        )
        if not self.plan.complete:
            notes.append("rows that are equal in every column are not looked for: behavio check counts them")
        if (per_case == 0).any():
            kept = per_case > 0
            case_ids, offsets = case_ids.filter(pl.Series(kept)), np.append(offsets[:-1][kept], n)
        count = self._count(n_read, n, rejected.height, arranged.repeats, (first, last), notes)
        names = tuple(f.item.shown for f in self.files)
        records = tuple(self._records)
        found = (arranged.arrays, offsets, case_ids, vocabularies, count, rejected)
        columns = (*self.plan.columns, *self.plan.carried)
        return Coded(*found, names, records, self.plan.complete, columns)

    def _count(
        self, n_read: int, n: int, n_rejected: int, repeats: int, span: tuple[int, int], notes: list[str]
    ) -> SourceCount:
        names = [f.item.shown for f in self.files]
        ends = [_iso(t) for t in span]
        return SourceCount(
            name=self.name,
            kind=self.settings.kind,
            file=names[0] if len(names) == 1 else f"{len(names)} files, {names[0]} first",
            read=n_read + self.suspects.n_wrong,
            accepted=n,
            rejected=n_rejected,
            merged=0,
            repeats=repeats,
            first=ends[0],
            last=ends[1],
            notes=tuple(dict.fromkeys(notes)),
        )

    def _notes(self, streams: Streams) -> list[str]:
        """What the careful path would note: blanks removed, odd names, early and future times."""
        notes = [n for f in self.files for n in f.notes] + self.suspects.notes
        for keys, column, what in ((self.cases, "case", "case id"), (self.activities, "token", "activity")):
            if not (keys.padded or keys.nothing):
                continue
            per_code = np.zeros(keys.texts.n, np.int64)
            for _, (codes, cases, times) in streams.chunks(column, "case", "time"):
                stays = codes >= 0
                if column == "token":  # by then rows without a case or a time are out of play
                    stays &= (cases >= 0) & (times != MISSING) & ~self.cases.bad[np.maximum(cases, 0)]
                per_code += np.bincount(codes[stays], minlength=len(per_code))
            if n := int(per_code[keys.padded].sum()):
                notes.append(f"{n:,} {what}s had blanks around them: removed")
            if n := int(per_code[keys.nothing].sum()):
                notes.append(f"{n:,} rows have a {what} such as nan or None: is it missing there?")
        return notes + self._odd_times(streams)

    def _odd_times(self, streams: Streams) -> list[str]:
        now = int(datetime.now(UTC).timestamp() * 1e6)
        edge = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
        n_early, n_late, low, high = 0, 0, now, edge
        bad = self.cases.bad[: self.cases.texts.n + 1]
        for _, (cases, times) in streams.chunks("case", "time"):
            early, late, first, last = kernel.outside(cases, times, bad, edge, now)
            n_early, n_late, low, high = n_early + early, n_late + late, min(low, first), max(high, last)
        notes = []
        if n_early:
            notes.append(
                f"{n_early:,} events lie before 1990 ({_iso(low)[:10]} is the first): a default date?"
            )
        if n_late:
            notes.append(f"{n_late:,} events lie in the future ({_iso(high)[:10]} is the last)")
        return notes


def _iso(micros: int) -> str:
    return pl.Series([micros]).cast(pl.Datetime("us", "UTC"))[0].isoformat()
