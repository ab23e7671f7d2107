"""Erasure on a finished run: a person leaves every file of the folder and does not come back.

The log is written anew without the person. Tables of other stages lose the person's rows; what cannot be cut
by rows (a page, a profile that shows the person as typical) and what was learnt (a rare journey can leave a
trace in a model) is deleted, and those stages are made again by the next `behavio run`. That the person
stays out is remembered as a salted hash: nobody can read it, though whoever holds the folder and a list of
ids could test them. The files the run was made from are not touched.
"""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import RunError
from behavio.files import whole_file, write_json
from behavio.log import EventLog, SourceCount
from behavio.manifest import outputs_of
from behavio.run import ERASED_LIST, STAGES, erased_of, locked, read_manifest
from behavio.sequences import SequenceSet
from behavio.sources import findings
from behavio.sources.privacy import ERASED, HIDDEN, salted
from behavio.sources.records import full_ids

LONG = 4
"""Shorter ids are only looked for as whole cells and whole texts: "7" stands in many a number."""
Mask = pl.Series


@dataclass(frozen=True)
class Erasure:
    """People found, ids the run does not know, rows gone per file, files deleted, stages to make again."""

    n_erased: int
    unknown: tuple[str, ...]
    rows: dict[str, int]
    deleted: tuple[str, ...]
    run_again: tuple[str, ...]


def erase(folder: Path, ids: Sequence[str]) -> Erasure:
    """Remove people from a finished run; see the module's text.

    Errors: RunError when the folder is no finished run, when no id is given, when nobody would remain, or
    when a trace is left that could not be removed (the file is named).
    """
    manifest = read_manifest(folder)
    wanted = _wanted(ids)
    with locked(folder):
        log = EventLog.read(folder / "log")
        known = _known(log, wanted)
        if log.events["case_id"].is_in(known).all():
            raise RunError("nobody would remain in the log", hint="delete the whole run folder instead")
        _remember(folder, wanted)
        (folder / "manifest.json").unlink()
        rows = _write_log(folder, log, wanted) if known else {}
        again = (
            tuple(s.name for s in STAGES if s.name != "log" and (folder / s.name).exists()) if known else ()
        )
        deleted = _forget_models(folder) if known else []
        for path in _files(folder):
            name = path.relative_to(folder).as_posix()
            if name.startswith("log/"):
                continue
            n = _cut(path, wanted)
            if n is None:
                path.unlink()
                deleted.append(name)
            elif n:
                rows[name] = n
        left = traces(folder, wanted)
        if left:
            raise RunError(
                f"a trace is left in {left[0]}", hint="delete the run folder and run the job again"
            )
        _finish(folder, manifest, wanted, len(known), again)
    return Erasure(len(known), _unknown(ids, known), rows, tuple(deleted), again)


def traces(folder: Path, ids: Sequence[str]) -> list[str]:
    """Files below `folder` that hold one of these ids, Parquet and arrays decoded: proof of an erasure."""
    find = _finder(ids)
    return [p.relative_to(folder).as_posix() for p in _files(folder) if _holds(p, ids, find)]


def _given(ids: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(i.strip() for i in ids if i.strip()))
    if not found:
        raise RunError("no id was given", hint="name the case ids, or a file of them with --file")
    return found


def _long(id: str) -> str:
    return str(full_ids(pl.Series([id], dtype=pl.String))[0])


def _wanted(ids: Sequence[str]) -> list[str]:
    """The ids, those of 15 characters also in their long form."""
    given = _given(ids)
    return list(dict.fromkeys([*given, *(_long(i) for i in given)]))


def _known(log: EventLog, ids: Sequence[str]) -> list[str]:
    """Those of the ids that any table of the log knows."""
    tables = (log.events, log.cases, log.consents, log.plan, log.affiliations, log.survey)
    there = pl.concat([t["case_id"].cast(pl.String) for t in tables]).unique()
    return sorted(there.filter(there.is_in(list(ids))).to_list())


def _unknown(ids: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Ids the run does not know, each person once: two spellings of one Salesforce id are one."""
    missing = {_long(i): i for i in reversed(_given(ids)) if i not in known and _long(i) not in known}
    return tuple(reversed(missing.values()))


def _remember(folder: Path, ids: Sequence[str]) -> None:
    """Put the people on the run's exclusion list, before anything is removed."""
    salt, hashes = erased_of(folder)
    salt = salt or secrets.token_hex(16)
    more = sorted(hashes | {salted(i, salt) for i in ids})
    write_json(folder / ERASED_LIST, {"salt": salt, "hashes": more})


def _write_log(folder: Path, log: EventLog, ids: Sequence[str]) -> dict[str, int]:
    """The log without these people, encoded anew; rows gone per file."""
    shorter = without(log, ids)
    draft = folder / ".draft-log"
    shutil.rmtree(draft, ignore_errors=True)
    shorter.write(draft, {"findings": findings(shorter)})
    SequenceSet.from_log(shorter).write(draft / "encoded")
    shutil.rmtree(folder / "log")
    draft.rename(folder / "log")
    tables = ("events", "cases", "consents", "plan", "affiliations", "survey")
    gone = {f"log/{t}.parquet": getattr(log, t).height - getattr(shorter, t).height for t in tables}
    return {name: n for name, n in gone.items() if n}


def without(log: EventLog, ids: Sequence[str]) -> EventLog:
    """The log as if these people had never been read: rows, counts, order and rejected text."""
    own = pl.col("case_id").is_in(list(ids))
    events = log.events.filter(~own)
    order = (pl.col("event_index").rank("ordinal") - 1).cast(pl.Int64).alias("event_index")
    texts = [c for c, t in events.schema.items() if t == pl.String and c != "case_id"]
    events = events.with_columns(
        order, *(pl.when(~pl.col(c).is_in(list(ids))).then(c).alias(c) for c in texts)
    )
    find = _finder(ids)
    raw = log.rejected["raw"].fill_null("")
    named = pl.Series([find(text) for text in raw], dtype=pl.Boolean)
    belongs = own | pl.col("account_id").is_in(list(ids))
    gone = log.events.filter(own)
    return replace(
        log,
        events=events,
        cases=log.cases.filter(~own),
        consents=log.consents.filter(~own),
        plan=log.plan.filter(~own),
        affiliations=log.affiliations.filter(~belongs),
        survey=_unnamed(log.survey.filter(~own), ids),
        rejected=log.rejected.with_columns(raw=pl.when(named).then(pl.lit(HIDDEN)).otherwise("raw")),
        sources=tuple(_counted(c, log, events, gone, own) for c in log.sources),
    )


def _unnamed(survey: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """Answers of others, whoever rated them left out."""
    return survey.with_columns(rater=pl.when(~pl.col("rater").is_in(list(ids))).then("rater"))


def _counted(
    c: SourceCount, log: EventLog, events: pl.DataFrame, gone: pl.DataFrame, own: pl.Expr
) -> SourceCount:
    """A source's count with the erased rows moved from accepted to merged."""
    if c.role == "events":
        if "source" not in gone.columns:
            return c
        of_source = pl.col("source").str.extract(r"^([^/]*)") == c.name
        n = gone.filter(of_source).height
        left = events.filter(of_source)["timestamp"]
        if n and log.timed and left.len():
            c = replace(c, first=left.min().isoformat(), last=left.max().isoformat())  # type: ignore[union-attr]
    elif c.role == "cases":
        told = pl.any_horizontal(pl.exclude("case_id").is_not_null()) if log.cases.width > 1 else pl.lit(True)
        n = log.cases.filter(own & told).height
    else:
        table = getattr(log, c.role)
        n = table.filter(own & (pl.col("source") == c.name)).height
    if n == 0:
        return c
    out = {**c.left_out, ERASED: c.left_out.get(ERASED, 0) + n}
    return replace(c, accepted=c.accepted - n, merged=c.merged + n, filtered=c.filtered + n, left_out=out)


def _forget_models(folder: Path) -> list[str]:
    """Delete what was learnt: every folder of a saved model."""
    homes = sorted({p.parent for p in folder.rglob("learned.npz")})
    for home in homes:
        shutil.rmtree(home, ignore_errors=True)
    return [h.relative_to(folder).as_posix() + "/" for h in homes if not any(o in h.parents for o in homes)]


def _files(folder: Path) -> list[Path]:
    kept = {folder / ERASED_LIST, folder / ".stages" / "lock"}
    return sorted(p for p in folder.rglob("*") if p.is_file() and p not in kept)


def _finder(ids: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text is one of the ids or, for ids long enough to be no part of something else, holds one."""
    exact, long = set(ids), [re.escape(i) for i in ids if len(i) >= LONG]
    inside = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(long)})(?![A-Za-z0-9])") if long else None
    return lambda text: text in exact or (inside is not None and inside.search(text) is not None)


def _holds(path: Path, ids: Sequence[str], find: Callable[[str], bool]) -> bool:
    if path.suffix == ".parquet":
        return bool(_rows_with(pl.read_parquet(path), find).any())
    if path.suffix in (".npz", ".npy"):
        return _array_holds(path, ids)
    text = path.read_bytes().decode("utf-8", "replace")
    if path.suffix == ".json":
        return _inside(json.loads(text), find)
    if path.suffix == ".csv":
        return any(find(cell) for row in csv.reader(io.StringIO(text)) for cell in row)
    return find(text) or any(f">{i}<" in text or f'"{i}"' in text for i in ids)


def _array_holds(path: Path, ids: Sequence[str]) -> bool:
    loaded = np.load(path, allow_pickle=False)
    arrays = [loaded] if isinstance(loaded, np.ndarray) else [loaded[n] for n in loaded.files]
    return any(a.dtype.kind in "US" and bool(np.isin(a.astype(str), list(ids)).any()) for a in arrays)


def _rows_with(table: pl.DataFrame, find: Callable[[str], bool]) -> Mask:
    """True for each row with a cell that is or holds one of the ids; lists and structs are looked into."""
    hit = pl.repeat(False, table.height, eager=True, dtype=pl.Boolean)
    for name, kind in table.schema.items():
        column = table[name]
        if isinstance(kind, pl.List | pl.Array | pl.Struct):
            texts = [json.dumps(v, default=str, ensure_ascii=False) for v in column.to_list()]
            found = [_inside(json.loads(t), find) for t in texts]
        elif kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
            distinct = column.cast(pl.String).unique().drop_nulls()
            named = [v for v in distinct.to_list() if find(v)]
            found = column.cast(pl.String).is_in(named).fill_null(False).to_list() if named else []
        else:
            continue
        hit = hit | pl.Series(found, dtype=pl.Boolean) if found else hit
    return hit


def _inside(value: Any, find: Callable[[str], bool]) -> bool:
    """True when any text or key of a JSON value is or holds one of the ids."""
    if isinstance(value, dict):
        return any(find(str(k)) or _inside(v, find) for k, v in value.items())
    if isinstance(value, list):
        return any(_inside(v, find) for v in value)
    return isinstance(value, str) and find(value)


def _cut(path: Path, ids: Sequence[str]) -> int | None:
    """Rows taken out of a table; 0 where there was nothing to do, None when the file has to go as a whole."""
    find = _finder(ids)
    if not _holds(path, ids, find):
        return 0
    if path.suffix == ".parquet":
        table = pl.read_parquet(path)
        out = _rows_with(table, find)
        with whole_file(path) as draft:
            table.filter(~out).write_parquet(draft, compression="zstd")
        return int(out.sum())
    if path.suffix == ".csv":
        return _cut_csv(path, find)
    return None


def _cut_csv(path: Path, find: Callable[[str], bool]) -> int | None:
    """Take rows out of a CSV file whose other bytes stay as they are."""
    text = path.read_bytes().decode("utf-8")
    ends = "\r\n" if "\r\n" in text else "\n"
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if not rows or any(find(cell) for cell in rows[0]):
        return None
    keep = [row for row in rows[1:] if not any(find(cell) for cell in row)]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=ends).writerows([rows[0], *keep])
    with whole_file(path) as draft:
        draft.write_bytes(out.getvalue().encode())
    return len(rows) - 1 - len(keep)


def _finish(folder: Path, manifest: dict[str, Any], ids: Sequence[str], n: int, again: Sequence[str]) -> None:
    """A manifest that tells the erasure and what is to be made again, without saying who; old records go."""
    find = _finder(ids)
    for stage in STAGES:
        (folder / ".stages" / f"{stage.name}.json").unlink(missing_ok=True)
        if stage.name in manifest["stages"]:
            manifest["stages"][stage.name]["outputs"] = outputs_of(folder / stage.name)
    before = manifest.get("erased", {})
    manifest["erased"] = {
        "people": before.get("people", 0) + n,
        "run_again": sorted({*before.get("run_again", ()), *again}),
    }
    write_json(folder / "manifest.json", _blank(manifest, find))


def _blank(value: Any, find: Callable[[str], bool]) -> Any:
    """A JSON value with every text that names one of the people replaced."""
    if isinstance(value, dict):
        return {k: _blank(v, find) for k, v in value.items() if not find(str(k))}
    if isinstance(value, list):
        return [_blank(v, find) for v in value]
    return "(erased)" if isinstance(value, str) and find(value) else value


def erased_table(done: Erasure) -> list[dict[str, Any]]:
    """What was done, file by file, as the rows of a table."""
    cut = [{"file": name, "what": f"{n:,} rows removed"} for name, n in done.rows.items()]
    return [*cut, *({"file": name, "what": "deleted"} for name in done.deleted)]


def read_id_file(path: Path) -> list[str]:
    """Ids of a file: one per line, or the case column of a table."""
    from behavio.sources.privacy import read_ids

    return read_ids(path.name, path.parent)


__all__ = ["Erasure", "erase", "erased_table", "read_id_file", "traces", "without"]
