"""The log stage of a run for tables that are too large to be held: the stream's codes, told as events again.

What it leaves equals what the careful way leaves: events.parquet is written in row groups from the codes, a
few cases at a time. Findings about the log, and everything that learns from it, use a sample of whole cases
when the log has more events than `[log] sample_events`, as on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio import sources
from behavio.encoding import as_sequences, stream_source, usual_memory
from behavio.encoding.pieces import Unfit
from behavio.encoding.stream import Coded
from behavio.engine.spark_log import sampled
from behavio.files import read_json, whole_file, write_json
from behavio.log import CONSENT_SCHEMA, TIME, EventLog, empty, newest_of
from behavio.sequences import SequenceSet
from behavio.sources import LogInputs
from behavio.sources.inputs import find_inputs
from behavio.sources.patients import refuse_patient_keys

HASHES = 2**32
GROUP = 1 << 18
"""Events of one row group of events.parquet, about."""
PLACE = 40
"""Bits of a record number; the place of its file stands above them."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Coded events told as the careful way tells them.

    places  int64 (n_events,): file << PLACE | record number of each event
    files   names of the files      before  int64: records of all files before each
    lost    int64: places of records that are no events, rising
    """

    sequences: SequenceSet
    places: np.ndarray
    files: tuple[str, ...]
    before: np.ndarray
    lost: np.ndarray
    source: str

    def frame(self, first: int, last: int) -> pl.DataFrame:
        """The events of the cases from first to last - 1."""
        part = self.sequences.cases_from(first, last)
        a, b = int(self.sequences.offsets[first]), int(self.sequences.offsets[last])
        places = np.asarray(self.places[a:b])
        file, record = places >> PLACE, places & ((1 << PLACE) - 1)
        index = self.before[file] + record - 1 - np.searchsorted(self.lost, places)
        names = pl.Series([f"{self.source}/{f}" if len(self.files) > 1 else self.source for f in self.files])
        columns = {
            "case_id": part.case_ids.gather(pl.Series(part.case_of_event)),
            "activity": _named(part.tokens, part.vocabulary.names),
            "timestamp": pl.Series(np.asarray(part.times)).cast(TIME),
            "event_index": pl.Series(index, dtype=pl.Int64),
        }
        columns |= {n: _named(f.codes, f.vocabulary.names) for n, f in part.fields.items()}
        columns["source"] = names.gather(pl.Series(file))
        columns["source_file"] = pl.Series(self.files).gather(pl.Series(file)).cast(pl.Enum(self.files))
        columns["source_row"] = pl.Series(record, dtype=pl.Int64)
        return pl.DataFrame(columns)

    def frames(self) -> Iterator[pl.DataFrame]:
        """All events, about GROUP at a time, in whole cases."""
        offsets, first, n = self.sequences.offsets, 0, self.sequences.n_cases
        while first < n:
            last = int(np.searchsorted(offsets, offsets[first] + GROUP, side="right")) - 1
            last = min(max(last, first + 1), n)
            yield self.frame(first, last)
            first = last


def _named(codes: np.ndarray, names: tuple[str, ...]) -> pl.Series:
    return pl.Series([None, *names[1:]], dtype=pl.String).gather(pl.Series(np.asarray(codes)))


def can_be_streamed(inputs: LogInputs, erased: frozenset[str]) -> bool:
    """Whether a job's log is one plain table, large enough, with nothing beside it."""
    if len(inputs.tables) != 1 or len(inputs.source) != 1 or erased or inputs.log.exclude is not None:
        return False
    settings = next(iter(inputs.source.values()))
    if settings.kind != "table" or settings.url is not None:
        return False
    items = find_inputs(settings.path, inputs.base)
    size = sum(i.path.stat().st_size for i in items if i.path.is_file())
    return size >= inputs.log.stream_above_mb * 1_000_000


def write_streamed(inputs: LogInputs, folder: Path, progress: Callable[[str, float], None]) -> dict[str, Any]:
    """Write the log stage's files into `folder`; returns its facts. Raises Unfit, with the folder as it was,
    where only the careful way gives the right answer."""
    name, settings = next(iter(inputs.source.items()))
    encoded, scratch = folder / "encoded", folder / "places"
    try:
        encoded.mkdir()
        coded = stream_source(
            name, settings, inputs.base, encoded,
            keep=True, keep_text=inputs.log.keep_text, memory=usual_memory(), progress=progress, places=True,
        )  # fmt: skip
        if not inputs.log.patients:
            refuse_patient_keys(coded.columns, f"[source.{name}]")
        if not coded.complete:
            raise Unfit("columns that are not coded")
        sequences = as_sequences(coded, encoded).marked(inputs.log.end, inputs.log.open_within)
        sequences.write_cases(encoded)
        (encoded / "place.npy").rename(scratch)
        events = _events(coded, sequences, np.load(scratch, mmap_mode="r"), name)
        facts = _write(events, coded, inputs.log.sample_events, folder, progress)
    except Unfit:
        _clear(folder)
        raise
    scratch.unlink()
    return facts


def _clear(folder: Path) -> None:
    import shutil

    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _events(coded: Coded, sequences: SequenceSet, places: np.ndarray, name: str) -> Events:
    place = {f: i for i, f in enumerate(coded.files)}
    rejected = coded.rejected
    if len(place) < len(coded.files):
        raise Unfit("files of one name")
    lost = [(place[f] << PLACE) | r for f, r in zip(rejected["file"], rejected["row"], strict=True)]
    before = np.concatenate([[0], np.cumsum(coded.records)[:-1]]).astype(np.int64)
    return Events(sequences, places, coded.files, before, np.sort(np.array(lost, np.int64)), name)


def _write(
    events: Events, coded: Coded, most: int, folder: Path, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Every table of the log stage and readiness.json."""
    import pyarrow.parquet as pq

    n, sequences = events.sequences.n_events, events.sequences
    limit = HASHES if n <= most else max(1, int(most / n * HASHES))
    stays = None if n <= most else sampled(sequences.case_ids, limit)
    some: list[pl.DataFrame] = []
    writer: Any = None
    done = 0
    with whole_file(folder / "events.parquet") as draft:
        for frame in events.frames():
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(draft, table.schema, compression="zstd")
            writer.write_table(table)
            if stays is None:
                some.append(frame)
            else:
                some.append(frame.filter(pl.col("case_id").is_in(sequences.case_ids.filter(stays).implode())))
            done += frame.height
            progress(f"writing, {done:,} events", done / n)
        writer.close()
    (count,) = newest_of([coded.count])
    seen = sequences.case_ids if stays is None else sequences.case_ids.filter(stays)
    log = EventLog(
        events=pl.concat(some),
        cases=seen.to_frame("case_id"),
        consents=empty(CONSENT_SCHEMA),
        rejected=coded.rejected,
        sources=(count,),
    )
    log.write_beside(folder, {"findings": sources.findings(log)})
    facts = {
        "rows_in": count.read,
        "rows_out": n,
        "n_events": n,
        "n_cases": sequences.n_cases,
        "n_known_cases": sequences.n_cases,
        "n_rejected": coded.rejected.height,
        "n_activities": len(sequences.vocabulary.activities),
        "first": str(datetime.fromisoformat(count.first)),
        "last": str(datetime.fromisoformat(count.last)),
    }
    if stays is None:
        return facts
    with whole_file(folder / "cases.parquet") as draft:
        sequences.case_ids.to_frame("case_id").write_parquet(draft, compression="zstd")
    return facts | {"sample": _said(log, sequences, limit, folder)}


def _said(log: EventLog, sequences: SequenceSet, limit: int, folder: Path) -> dict[str, Any]:
    """The sample, noted in readiness.json beside the counts of the whole."""
    n, n_cases = sequences.n_events, sequences.n_cases
    note = (
        f"the log has {n:,} events of {n_cases:,} cases; journeys are counted over all of them, "
        f"everything that learns uses a sample of {log.n_events:,} events of {log.n_cases:,} whole cases, "
        "chosen by a hash of the case id ([log] sample_events)"
    )
    sample = {"n_events": log.n_events, "n_cases": log.n_cases, "share": limit / HASHES, "note": note}
    facts = dict(read_json(folder / "readiness.json")) | {"n_events": n, "n_cases": n_cases}
    write_json(folder / "readiness.json", facts | {"sample": sample, "notes": [note]})
    return sample


def sample_of(folder: Path, sequences: SequenceSet) -> tuple[EventLog, SequenceSet] | None:
    """The sample that everything learns from, None when the log is small enough to be used whole.

    folder   what the log stage of a run left
    """
    told = read_json(folder / "readiness.json")
    if "sample" not in told or told.get("engine") == "spark":
        return None
    stays = sampled(sequences.case_ids, round(told["sample"]["share"] * HASHES))
    ids = sequences.case_ids.filter(stays)
    events = pl.scan_parquet(folder / "events.parquet").filter(pl.col("case_id").is_in(ids.implode()))
    log = EventLog.read(folder, events=events.collect(engine="streaming"))
    log = replace(log, cases=log.cases.filter(pl.col("case_id").is_in(ids.implode())))
    return log, sequences.select(stays.to_numpy())
