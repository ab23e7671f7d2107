"""The encoded log, made as the log is read: fast, in bounded memory, exactly as the careful path has it.

`encode` takes any log `behavio.read` takes. Plain tables (Parquet, Arrow, CSV, TSV; several files too) are
streamed: texts become codes at once and nothing is held but codes. Whatever the stream does not understand
is read by the careful path as a whole, so the answer is always the same.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from behavio import sources
from behavio.encoding.columnar import Columnar
from behavio.encoding.delimited import Delimited
from behavio.encoding.pages import Pages, open_pages
from behavio.encoding.pieces import Unfit
from behavio.encoding.plan import can_stream, plan_of
from behavio.encoding.stream import Coded, Encoder, Progress
from behavio.errors import LogError, RunError
from behavio.files import read_json, whole_file, write_json
from behavio.log import CONSENT_SCHEMA, TIME, EventLog, SourceCount, empty
from behavio.sequences import Field, SequenceSet, Vocabulary
from behavio.sources import LogSettings, SourceSettings
from behavio.sources.inputs import Input, find_inputs, held_open, recognise

__all__ = [
    "Encoded",
    "Unfit",
    "encode",
    "encode_source",
    "is_encoded",
    "read_counts",
    "read_log",
    "as_sequences",
    "stream_source",
    "usual_memory",
]

MEMORY = 1 << 30
"""Bytes that the streams, and the buffer of one range of cases, may take: at most this each, and at most an
eighth of what the machine has."""
HEAD = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An encoded log with the account of every row.

    streamed  False when the careful path had to read it, `why` says what for
    """

    sequences: SequenceSet
    counts: tuple[SourceCount, ...]
    rejected: pl.DataFrame
    streamed: bool
    why: str = ""


def usual_memory() -> int:
    """Bytes of working memory when nobody says how many."""
    return min(MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


def is_encoded(folder: Path) -> bool:
    """True for a folder that holds an encoded log."""
    return (folder / "vocabulary.json").is_file() and (folder / "tokens.npy").is_file()


def encode(
    data: Any,
    out: Path | None = None,
    *,
    log: LogSettings | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    keep_text: bool = False,
    **settings: Any,
) -> Encoded:
    """Encode a log, into the folder `out` or, without one, for this process only.

    `settings` are those of `behavio.read`; `log` says what closes a case; `memory` bounds the streams
    and, once more, the buffer in bytes (the log's case ids come on top). Raises what `behavio.read`
    raises; RunError when `out` holds something else.
    """
    rule = log or LogSettings(keep_text=keep_text)
    if out is not None:
        _free(out)
    if isinstance(data, str | Path) and is_encoded(Path(data)):
        raise LogError(f"{data} is an encoded log already", hint="every command takes it as its LOG")
    why = "not a plain table"
    if isinstance(data, str | Path) and not _is_log(Path(data)):
        name, own = sources.settings_of(data, **settings)
        try:
            return encode_source(name, own, Path(), out, log=rule, memory=memory, progress=progress)
        except Unfit as reason:
            why = str(reason)
    log_read = sources.read(data, keep_text=rule.keep_text, **settings)
    return _carefully(log_read, out, rule, why)


def encode_source(
    name: str,
    settings: SourceSettings,
    base: Path,
    out: Path | None,
    *,
    log: LogSettings,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Stream one source into `out` (None: for this process only). Raises Unfit where only the careful path
    gives the right answer."""
    tell = progress or (lambda _what, _share: None)
    draft = _draft(out)
    try:
        if log.exclude is not None:
            raise Unfit("people to exclude")
        coded = stream_source(
            name, settings, base, draft,
            keep=out is not None, keep_text=log.keep_text, memory=memory or usual_memory(), progress=tell,
        )  # fmt: skip
        tell("cases", 0.99)
        sequences = as_sequences(coded, draft).marked(log.end, log.open_within)
        if out is not None:
            sequences.write_cases(draft)
            write_counts(draft, (coded.count,), coded.rejected)
            _publish(draft, out)
            sequences = SequenceSet.read(out)
        return Encoded(sequences, (coded.count,), coded.rejected, streamed=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def stream_source(
    name: str,
    settings: SourceSettings,
    base: Path,
    folder: Path,
    *,
    keep: bool,
    keep_text: bool,
    memory: int,
    progress: Progress,
    places: bool = False,
) -> Coded:
    """Code one source; arrays lie in `folder` when `keep`, or when they do not fit in `memory`.

    `places` also writes place.npy: the file and the record of every event.
    """
    if not can_stream(settings):
        raise Unfit("settings of the careful path")
    files = [_opened(item, settings) for item in find_inputs(settings.path, base)]
    if len({type(f) for f in files}) > 1:
        files = [f.plain() if isinstance(f, Pages) else f for f in files]
    first = files[0]
    if any(f.columns != first.columns or f.typed != first.typed for f in files):
        raise Unfit("files of different shape")
    plan = plan_of(first.columns, first.item.shown, settings, keep_text=keep_text)
    if any(f.types(plan.columns) != first.types(plan.columns) for f in files[1:]):
        raise Unfit("files of different types")
    notes = [list(f.notes) for f in files]
    if len(files) > 1:
        for file, own in zip(files, notes, strict=True):
            file.notes = [f"{file.item.shown}: {n}" for n in own]
    coded = Encoder(name, plan, settings, files, folder, keep, memory, progress, places).run()
    for file in files:
        file.same()
    return coded


def _opened(item: Input, settings: SourceSettings) -> Any:
    """A file as a stream of batches; Unfit for formats only the careful path reads."""
    if not item.path.is_file():
        raise Unfit("not a regular file")
    try:
        with item.path.open("rb") as file:
            if held_open(file.fileno()):
                raise Unfit("a file that is being written")
            head = file.read(HEAD)
    except OSError as problem:
        raise Unfit(str(problem)) from None
    if not head:
        raise Unfit("an empty file")
    if head[:4] == b"PK\x03\x04":
        raise Unfit("a workbook")
    kind, more = recognise(head, item, settings.format)
    notes = [*item.notes, *more]
    if kind == "parquet" and (pages := open_pages(item, notes)) is not None:
        return pages
    if kind in ("parquet", "arrow"):
        return Columnar(item, kind, notes)
    if kind in ("csv", "tsv"):
        return Delimited(item, settings.delimiter, notes, tabs=kind == "tsv")
    raise Unfit(f"format {kind}")


def as_sequences(coded: Coded, folder: Path) -> SequenceSet:
    """The sequences of a stream, their arrays in memory or memory-mapped."""
    import numpy as np

    def array(column: str, file: str) -> np.ndarray:
        found = coded.arrays[column]
        return np.load(folder / f"{file}.npy", mmap_mode="r") if found is None else found

    fields = {
        n.removeprefix("field-"): Field(array(n, n), Vocabulary(v))
        for n, v in coded.vocabularies.items()
        if n != "token"
    }
    return SequenceSet(
        tokens=array("token", "tokens"),
        offsets=coded.offsets,
        times=array("time", "times"),
        case_ids=coded.case_ids.alias("case_id"),
        vocabulary=Vocabulary(coded.vocabularies["token"]),
        fields=fields,
    )


def _carefully(log: EventLog, out: Path | None, rule: LogSettings, why: str) -> Encoded:
    """Encode what the careful path read."""
    sequences = SequenceSet.from_log(log).marked(rule.end, rule.open_within)
    if out is not None:
        draft = _draft(out)
        try:
            sequences.write(draft)
            write_counts(draft, log.sources, log.rejected)
            _publish(draft, out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        sequences = SequenceSet.read(out)
    return Encoded(sequences, log.sources, log.rejected, streamed=False, why=why)


def _is_log(path: Path) -> bool:
    """True for a folder that a run or `EventLog.write` left."""
    return any((f / "readiness.json").is_file() for f in (path, path / "log"))


def _free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not is_encoded(out))):
        raise RunError(f"{out} holds other files", hint="give an empty or new folder with --out")


def _draft(out: Path | None) -> Path:
    """A hidden folder beside `out`, or a temporary one."""
    if out is None:
        return Path(tempfile.mkdtemp(prefix="behavio-"))
    out.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))


def _publish(draft: Path, out: Path) -> None:
    """Let the finished draft take the place of an older encoded log."""
    shutil.rmtree(draft / "scratch", ignore_errors=True)
    draft.chmod(0o755)
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        out.rename(old)
    draft.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def read_log(folder: Path) -> EventLog:
    """An encoded log as an event log again: what was coded, the counts and the rejected rows."""
    sequences = SequenceSet.read(folder)
    counts, rejected = read_counts(folder)
    columns = {
        "case_id": sequences.case_ids.gather(pl.Series(sequences.case_of_event)),
        "activity": _named(sequences.tokens, sequences.vocabulary),
        "timestamp": pl.Series(sequences.times).cast(TIME),
        "event_index": pl.int_range(sequences.n_events, eager=True, dtype=pl.Int64),
    }
    columns |= {n: _named(f.codes, f.vocabulary) for n, f in sequences.fields.items()}
    return EventLog(
        events=pl.DataFrame(columns),
        cases=sequences.case_ids.to_frame(),
        consents=empty(CONSENT_SCHEMA),
        rejected=rejected,
        sources=counts,
        timed=sequences.timed,
    )


def _named(codes: Any, vocabulary: Vocabulary) -> pl.Series:
    names = pl.Series([None, *vocabulary.names[1:]], dtype=pl.String)
    return names.gather(pl.Series(codes))


def write_counts(folder: Path, counts: Sequence[SourceCount], rejected: pl.DataFrame) -> None:
    """Write counts.json and rejected.parquet beside the arrays."""
    with whole_file(folder / "rejected.parquet") as draft:
        rejected.write_parquet(draft, compression="zstd")
    write_json(folder / "counts.json", {"sources": [asdict(c) for c in counts]})


def read_counts(folder: Path) -> tuple[tuple[SourceCount, ...], pl.DataFrame]:
    """Counts and rejected rows of an encoded log."""
    facts: Mapping[str, Any] = read_json(folder / "counts.json")
    counts = tuple(SourceCount(**(s | {"notes": tuple(s["notes"])})) for s in facts["sources"])
    return counts, pl.read_parquet(folder / "rejected.parquet")
