"""Rows of a log on a cluster, read and checked there by the same rules as on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any
from urllib.parse import unquote

import polars as pl

from behavio.engine.spark_log import SparkLog, SparkSource
from behavio.engine.spark_session import guarded, plain_errors
from behavio.errors import LogError

BLANKS = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What Unicode calls white space: the same characters that Polars strips."""
LONGEST = 1_000
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999
SCALES = {"unix_s": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
POSITION = 1e12
FILE, ROW = "__file__", "__row__"

TextTimes = Callable[[pl.Series, str, str], pl.Series]
"""Texts, the zone of those without one, a strptime format or "" → Datetime("us", "UTC"), null if unread."""


def quoted(name: str) -> str:
    """A column's name as Spark takes it: dots and colons belong to the name."""
    return "`" + name.replace("`", "``") + "`"


def open_files(spark: Any, source: SparkSource) -> tuple[Any, list[str]]:
    """The source's rows as they are, nested columns one level down, __file__ and __row__; and its files.

    __file__ is the place of the file among the names in order, __row__ the record's number from 1.
    """
    from pyspark.sql import functions as F

    with plain_errors(source.path):
        frame = spark.read.parquet(source.path)
        names = files_of(frame)
        flat: list[Any] = []
        for cell in frame.schema.fields:
            kind, column = cell.dataType.typeName(), F.col(quoted(cell.name))
            if kind == "struct":
                inner = [f.name for f in cell.dataType.fields]
                flat += [column.getField(n).alias(f"{cell.name}.{n}") for n in inner]
            elif kind not in ("binary", "array", "map", "variant"):
                flat.append(column.alias(cell.name))
        row = (F.col("_metadata.row_index") + 1).cast("long").alias(ROW)
        if len(names) == 1:
            return frame.select(*flat, F.lit(0).alias(FILE), row), names
        numbered = [(name, place) for place, name in enumerate(names)]
        listed = spark.createDataFrame(numbered, "__path__ string, __place__ int")
        frame = frame.select(*flat, F.col("_metadata.file_path").alias("__path__"), row)
        frame = frame.join(F.broadcast(listed), "__path__", "left")
        lost = F.raise_error(F.lit("files came while they were read")).cast("int")
        place = F.when(F.col("__place__").isNull(), lost).otherwise(F.col("__place__")).alias(FILE)
        own = [F.col(quoted(c)) for c in frame.columns if c[:2] != "__"]
        return frame.select(*own, place, ROW), names


def files_of(frame: Any) -> list[str]:
    """Addresses of the files behind a table as its rows name them, in the order of their names."""
    names = list(frame.inputFiles())
    if len(names) > 1:  # the two are escaped differently
        names = [r[0] for r in frame.select("_metadata.file_path").distinct().collect()]
    return sorted(names, key=lambda f: unquote(f).split("/"))


def type_of(frame: Any, column: str) -> str:
    """What kind of cells a column holds: text, whole, number, true, date, naive, instant or other."""
    found = frame.schema[column].dataType.typeName()
    kinds = {
        "string": "text",
        "char": "text",
        "varchar": "text",
        "boolean": "true",
        "date": "date",
        "timestamp": "instant",
        "timestamp_ntz": "naive",
        **dict.fromkeys(("byte", "short", "integer", "long"), "whole"),
        **dict.fromkeys(("float", "double", "decimal"), "number"),
    }
    return kinds.get(found, "other")


def blank(column: Any) -> Any:
    """True where a text is null or holds only white space."""
    return column.isNull() | (trimmed(column) == "")


def trimmed(text: Any) -> Any:
    """A text without white space around it."""
    from pyspark.sql import functions as F

    return F.btrim(text, F.lit(BLANKS))


def as_text(frame: Any, column: str) -> Any:
    """A column as text, null where it is empty; whole floats lose their ".0"."""
    from pyspark.sql import functions as F

    kind, cell = type_of(frame, column), F.col(quoted(column))
    if kind in ("naive", "instant", "other"):
        raise LogError(
            f"the column {column!r} holds times or nested values, no names", hint="name a column of texts"
        )
    if kind != "number":
        return cell if kind == "text" else cell.cast("string")
    number = cell.cast("double")
    whole = (number == F.floor(number)) & (F.abs(number) < 2.0**53)
    found = F.when(F.isnan(number), None).when(whole, number.cast("long").cast("string"))
    return found.otherwise(cell.cast("string"))


def _activity(frame: Any, source: SparkSource) -> Any:
    """The activity's name: one column, or a template filled in; then renamed."""
    from pyspark.sql import functions as F

    pieces = pieces_of(source.activity)
    if len(pieces) > 1:
        parts = []
        for place, piece in enumerate(pieces):
            parts.append(
                F.lit(piece)
                if place % 2 == 0
                else F.when(blank(as_text(frame, piece)), "(none)").otherwise(as_text(frame, piece))
            )
        name = F.concat(*parts)
    else:
        name = as_text(frame, source.activity)
    if not source.renames:
        return name
    first, *more = source.renames
    chain = F.when(name == first[0], first[1])
    for old, new in more:
        chain = chain.when(name == old, new)
    return chain.otherwise(name)


def pieces_of(template: str) -> list[str]:
    """Constant, column, constant, … of a template; a plain column's name is one piece."""
    return re.split(r"\{([^{}]+)\}", template)


def _micros(frame: Any, source: SparkSource) -> Any:
    """The time in µs since 1970-01-01 UTC, null where it cannot be read."""
    from pyspark.sql import functions as F

    if source.timestamp is None:
        place = _number(frame, source)
        return F.when(F.abs(place) <= POSITION, F.round(place * 1e6).cast("long"))
    cell, kind = F.col(quoted(source.timestamp)), type_of(frame, source.timestamp)
    if kind == "instant":
        found = F.unix_micros(cell)
    elif kind in ("naive", "date"):
        utc = F.convert_timezone(F.lit(source.zone), F.lit("UTC"), cell.cast("timestamp_ntz"))
        found = F.unix_micros(utc.cast("timestamp"))
    elif source.clock == "text":
        found = F.col("__micros__")
    elif source.clock == "unix_ns":
        found = _floor(cell.cast("long"))
    elif kind == "whole":
        found = F.try_multiply(cell.cast("long"), F.lit(SCALES[source.clock]).cast("long"))
    else:
        number = F.when(~F.isnan(cell.cast("double")), cell.cast("double"))
        found = F.round(number * SCALES[source.clock]).cast("long")
    return F.when(found.between(EARLIEST, LATEST), found)


def _floor(nanos: Any) -> Any:
    """Nanoseconds to microseconds, downwards, in whole numbers."""
    from pyspark.sql import functions as F

    return F.call_function("div", nanos - F.pmod(nanos, F.lit(1000)), F.lit(1000))


def _number(frame: Any, source: SparkSource) -> Any:
    """The order column as a number, null where it is none."""
    from pyspark.sql import functions as F

    if source.order is None:
        return F.lit(None).cast("double")
    if source.order == "source_row":
        return F.col(ROW).cast("double")
    return as_text(frame, source.order).try_cast("double")


def _with_text_times(frame: Any, source: SparkSource, read: TextTimes) -> Any:
    """Times written as texts are read by the reader's own function, on the workers."""
    from pyspark.sql.types import LongType, StructField, StructType

    schema = StructType([*frame.schema.fields, StructField("__micros__", LongType())])
    work = partial(guarded, work=partial(_read_texts, source=source, read=read))
    with plain_errors(source.path):
        return frame.mapInArrow(work, schema)


def _read_texts(batches: Iterator[Any], source: SparkSource, read: TextTimes) -> Iterator[Any]:
    import pyarrow as pa

    for batch in batches:
        texts = pl.Series(pl.from_arrow(batch.column(source.timestamp)))
        micros = read(texts, source.zone, source.format).dt.epoch("us").to_arrow().cast(pa.int64())
        yield batch.append_column("__micros__", micros)


def case_of(frame: Any, source: SparkSource) -> Any:
    """The case id as text, without white space around it."""
    return trimmed(as_text(frame, source.case_id))


def in_sample(case: Any, limit: int) -> Any:
    """True for cases whose hash, 0 to 2**32 − 1, lies below the limit; `sampled` is the same in Python."""
    from pyspark.sql import functions as F

    return (case != "") & (F.conv(F.substring(F.md5(case), 1, 8), 16, 10).cast("long") < limit)


def checked(
    spark: Any,
    log: SparkLog,
    read: TextTimes | None = None,
    frames: Sequence[Any] = (),
    *,
    raw: bool = False,
) -> Any:
    """Every row of the log: source, __file__, __row__, case, activity, micros, place, rest, reason.

    `reason` is null for an event, else its place in `reasons_of`: the order of the checks on this machine.
    `rest` is a hash of the source's other columns; `raw`, where asked for, the row as JSON.
    `frames` are the opened files, where they are at hand.
    """
    parts = []
    for number, source in enumerate(log.sources):
        frame = frames[number] if frames else open_files(spark, source)[0]
        parts.append(_checked(frame, number, source, read, raw))
    return reduce(lambda a, b: a.unionByName(b), parts)


def _checked(frame: Any, number: int, source: SparkSource, read: TextTimes | None, raw: bool) -> Any:
    from pyspark.sql import functions as F

    own = [c for c in frame.columns if c not in (FILE, ROW)]
    rest = _rest(frame, source, own)
    if source.clock == "text":
        assert read is not None
        frame = _with_text_times(frame, source, read)
    row = F.to_json(F.struct(*(F.col(quoted(c)) for c in own)), {"ignoreNullFields": "false"})
    frame = frame.select(
        F.lit(number).alias("source"),
        FILE,
        ROW,
        case_of(frame, source).alias("case"),
        trimmed(_activity(frame, source)).alias("activity"),
        _micros(frame, source).alias("micros"),
        _number(frame, source).alias("place"),
        _no_time(frame, source).alias("no_time"),
        rest.alias("rest"),
        *([row.alias("raw")] if raw else []),
    )
    return frame.withColumn("reason", _reason(source)).drop("no_time")


def _rest(frame: Any, source: SparkSource, own: Sequence[str]) -> Any:
    """128 bits over all other columns, blank texts as nothing: equal rows have equal hashes."""
    from pyspark.sql import functions as F

    used = {source.case_id, source.activity, source.timestamp}
    cells = []
    for name in own:
        if name not in used and (source.compare is None or name in source.compare):
            cell = F.col(quoted(name))
            cells.append(F.when(~blank(cell), cell) if type_of(frame, name) == "text" else cell)
            cells.append(cell.isNull())
    if not cells:
        return F.lit("")
    return F.concat_ws("-", F.xxhash64(*cells).cast("string"), F.hash(*cells).cast("string"))


def _no_time(frame: Any, source: SparkSource) -> Any:
    """True where nothing is written in the time's column."""
    from pyspark.sql import functions as F

    if source.timestamp is None:
        return F.lit(False)
    cell = F.col(quoted(source.timestamp))
    return blank(cell) if type_of(frame, source.timestamp) == "text" else cell.isNull()


def reasons_of(source: SparkSource) -> list[tuple[str, str, str]]:
    """Column, reason and hint of everything a row may be rejected for, the first that fits wins."""
    activity = " or ".join(pieces_of(source.activity)[1::2][:3]) or source.activity
    found: list[tuple[str, str, str]] = []
    clock = [
        (source.timestamp or "", "the time is empty", "an event needs a time"),
        (
            source.timestamp or "",
            "the time cannot be read",
            "write 2026-01-31 14:05 (with +01:00 for a zone), or set timestamp_format",
        ),
    ]
    place = [(source.order or "", "the position is no number", "number the events of each case")]
    for column, what in ((source.case_id, "case id"), (activity, "activity")):
        keys = [
            (column, f"the {what} is empty", f"fill {column}, or leave such rows out"),
            (
                column,
                f"the {what} is longer than {LONGEST:,} characters",
                "is it free text? choose a column of short names",
            ),
            (column, f"the {what} holds a NUL byte", "the file is damaged here; export it again"),
        ]
        if what == "case id":
            found += [*([] if source.timestamp else place), *keys, *(clock if source.timestamp else [])]
        else:
            found += keys
    return found


def _reason(source: SparkSource) -> Any:
    """Where the reason of a rejected row stands in `reasons_of`, null for an event.

    A number, not a text: Spark works the tests out anew wherever the reason is asked for.
    """
    from pyspark.sql import functions as F

    case, activity, micros = F.col("case"), F.col("activity"), F.col("micros")

    def key(name: Any) -> list[Any]:
        return [name.isNull() | (name == ""), F.length(name) > LONGEST, F.contains(name, F.lit("\x00"))]

    time = [F.col("no_time"), micros.isNull()]
    keys = [*key(case), *time] if source.timestamp else [micros.isNull(), *key(case)]
    first, *others = [*keys, *key(activity)]
    found = F.when(first, 0)
    for place, test in enumerate(others, start=1):
        found = found.when(test, place)
    return found
