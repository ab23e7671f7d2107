"""Adobe Analytics data feeds: tab-separated hits without a header, the names in column_headers.tsv.

A backslash escapes what follows it: a tab, a line break or a backslash that was part of a value. Nothing is
quoted. Events are numbers that event.tsv names. Source: Adobe's data feed reference ("Special characters in
data feeds", "Data column reference", "Use data feeds to calculate common metrics").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from behavio.errors import LogError
from behavio.sources.beside import file_beside
from behavio.sources.inputs import Input, decode, find_inputs, load
from behavio.sources.records import as_text
from behavio.sources.tabular import RawTable, as_raw
from behavio.sources.text import Lines

MARKS = {b"\\": "\x01", b"\t": "\x02", b"t": "\x02", b"\n": "\x03", b"n": "\x03", b"\r": "\x03"}
BACK = {"\x01": "\\", "\x02": "\t", "\x03": "\n"}
EVENTS = "hit_events"


def read_feed(inputs: Sequence[Input], header: str, named: str | None, base: Path) -> RawTable:
    """All files of a feed as one raw table, with `hit_events` where event.tsv lies beside the header.

    `header` is the usual name of the file with the column names, `named` the one the job gives.
    Raises LogError when there is none, or when the names do not fit the rows.
    """
    place = _header_of(inputs[0], header, named, base)
    names = _names(place)
    parts = [_read_one(item, number, names) for number, item in enumerate(inputs)]
    frame = pl.concat([p.frame for p in parts])
    rejected = pl.concat([p.rejected for p in parts])
    notes = tuple(dict.fromkeys(n for p in parts for n in p.notes))
    frame, more = _with_events(frame, place.parent)
    return RawTable(frame, tuple(p.files[0] for p in parts), rejected, (*notes, *more))


def feed_files(first: Input, header: str, named: str | None, base: Path) -> list[Input]:
    """The header and the lookup that the feed of this file is read with."""
    place = _header_of(first, header, named, base)
    events = file_beside(place.parent, "event.tsv")
    return [Input(p, p.name) for p in (place, events) if p is not None]


def _header_of(first: Input, header: str, named: str | None, base: Path) -> Path:
    if named is not None:
        return find_inputs(named, base, header)[0].path
    found = file_beside(first.path.parent, header)
    if found is None:
        raise LogError(
            f"{header} is not beside {first.shown}: the feed's columns have no names",
            hint=f'put it there, or name it: joins.header = "…/{header}"',
        )
    return found


def _names(place: Path) -> list[str]:
    item = Input(place, place.name)
    text, _, _ = decode(load(item), item, None)
    names = [n.strip() for n in text.decode("utf-8").splitlines()[0].split("\t")]
    if len(names) < 2 or len(set(names)) < len(names):
        raise LogError(
            f"{place.name} holds no row of different column names", hint="fetch it again from the feed"
        )
    return names


def _read_one(item: Input, place: int, names: list[str]) -> RawTable:
    text, notes, _ = decode(load(item), item, None)
    lines = feed_lines(text, names)
    if lines.frame.height == 0 and lines.wrong:
        raise LogError(
            f"no row of {item.shown} has the {len(names):,} cells that its header names",
            hint="take the column_headers.tsv that was delivered with this file",
        )
    return as_raw(lines, item.shown, place, tuple(notes), typed=False)


def feed_lines(data: bytes, names: list[str]) -> Lines:
    """Rows of UTF-8 text as String columns; rows with another number of cells are wrong rows."""
    escaped = b"\\" in data
    if escaped:
        data = re.sub(rb"\\(\r\n|[\s\S])", _mark, data)
    data = data.replace(b"\r\n", b"\n").strip(b"\n")
    width, wrong = len(names), []
    n_lines = data.count(b"\n") + 1 if data else 0
    if data.count(b"\t") == n_lines * (width - 1) and b"\n\n" not in data:
        rows = pl.int_range(1, n_lines + 1, eager=True)
    else:
        kept, places = [], []
        for row, line in enumerate((x for x in data.split(b"\n") if x), start=1):
            cells = line.count(b"\t") + 1
            if cells == width:
                kept.append(line)
                places.append(row)
            else:
                why = f"the row has {cells:,} cells, the header has {width:,}"
                hint = "a file cut off while it was written, or the header of another delivery"
                wrong.append((row, why, hint, line.decode("utf-8")))
        data, rows = b"\n".join(kept), pl.Series(places, dtype=pl.Int64)
    frame = _table(data, names, rows.len())
    if escaped:
        odd = [c for c in frame.columns if frame[c].str.contains(r"[\x01-\x03]").any()]
        frame = frame.with_columns(pl.col(c).str.replace_many(BACK) for c in odd)
    return Lines(frame, rows, wrong)


def _mark(found: re.Match[bytes]) -> bytes:
    what = found[1]
    known = MARKS.get(what[:1])
    return known.encode() if known is not None else found[0]


def _table(data: bytes, names: list[str], height: int) -> pl.DataFrame:
    if height == 0:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    frame = pl.read_csv(
        data + b"\n", separator="\t", has_header=False, new_columns=names, infer_schema=False, quote_char=None
    )
    if frame.height != height or frame.width != len(names):
        raise LogError(
            "the rows of the feed do not have the cells of its header",
            hint="take the column_headers.tsv that was delivered with this file",
        )
    return frame


def _with_events(frame: pl.DataFrame, beside: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`hit_events`: what kind of hit it is (post_page_event) and the names of its events, with commas."""
    kind = next((c for c in ("post_page_event", "page_event") if c in frame.columns), None)
    listed = next((c for c in ("post_event_list", "event_list") if c in frame.columns), None)
    parts = [as_text(frame, kind)] if kind else []
    notes: tuple[str, ...] = ()
    if listed is not None:
        events = as_text(frame, listed).str.split(",").list.eval(pl.element().str.replace(r"=.*$", ""))
        names, notes = _event_names(beside)
        if names:
            old, new = pl.Series(list(names)), pl.Series([n.replace(",", " ") for n in names.values()])
            events = events.list.eval(pl.element().replace(old, new))
        parts.append(events.list.join(","))
    if not parts:
        return frame, notes
    return frame.with_columns(pl.concat_str(parts, separator=",", ignore_nulls=True).alias(EVENTS)), notes


def _event_names(beside: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    found = file_beside(beside, "event.tsv")
    if found is None:
        return {}, ("event.tsv is not beside the header: events keep their numbers",)
    item = Input(found, found.name)
    text, _, _ = decode(load(item), item, None)
    rows = (line.split("\t", 1) for line in text.decode("utf-8").splitlines() if "\t" in line)
    return {number.strip(): name.strip() for number, name in rows}, ()
