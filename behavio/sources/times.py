"""Times as people write them, read as UTC microseconds: ISO, day.month.year, month/day/year, epochs.

Everything written is first turned into ISO text by its shape, then parsed once, so there is one truth for
every format. Which of day and month comes first is decided on the whole column; where nothing decides,
the reader asks instead of guessing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce

import polars as pl

from behavio.errors import JobError, LogError
from behavio.log import TIME
from behavio.sources.settings import nearest

CLOCK = r"(?:[T ,]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*([AaPp])?(?:\.?[Mm]\.?)?)?"
ZONE = r"\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?"
ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?)?$"
ISO_ZONED = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)? ?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"
UNIFORM = re.compile(r"\d{4}-\d{2}-\d{2}([T ])\d{2}:\d{2}:\d{2}(?:\.0+)?Z?$")
YEAR_FIRST = r"^(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})" + CLOCK + ZONE + "$"
TWO_FIRST = r"^(?P<a>\d{1,2})[-/](?P<b>\d{1,2})[-/](?P<y>\d{4}|\d{2})" + CLOCK + ZONE + "$"
DOTTED = r"^(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4}|\d{2})" + CLOCK + ZONE + "$"
COMPACT = (
    r"^(?P<y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})(?:[T ]?(\d{2})(\d{2})(?:(\d{2})(?:\.(\d+))?)?)?"
    + ZONE
    + "$"
)
DAY_NAMED = (
    r"^(?:[A-Za-z]{3,9},? )?(?P<d>\d{1,2})[- ](?P<name>[A-Za-z]{3})[a-z]*\.?,?[- ](?P<y>\d{4})"
    + CLOCK
    + ZONE
    + "$"
)
NAMED_DAY = (
    r"^(?:[A-Za-z]{3,9},? )?(?P<name>[A-Za-z]{3})[a-z]*\.? (?P<d>\d{1,2}),? (?P<y>\d{4})" + CLOCK + ZONE + "$"
)
SHAPES = (
    (YEAR_FIRST, "year/month/day"),
    (COMPACT, "digits (yyyymmdd)"),
    (DAY_NAMED, "dates with the month's name"),
    (NAMED_DAY, "dates with the month's name"),
    (DOTTED, "day.month.year"),
    (TWO_FIRST, ""),
)
ORDERS = {"month/day/year": {"a": "m", "b": "d"}, "day/month/year": {"a": "d", "b": "m"}}
NUMBER = r"^-?\d{1,20}(\.\d+)?$"
MONTH_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
UNITS = {"unix_s": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
SPOKEN = {"unix_s": "seconds", "unix_ms": "milliseconds", "unix_us": "microseconds", "unix_ns": "nanoseconds"}
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """utc: Datetime("us", "UTC"), null where the value is no time; notes: what was decided and found."""

    utc: pl.Series
    notes: tuple[str, ...] = ()


def read_times(column: pl.Series, zone: str = "UTC", format: str | None = None) -> Times:
    """Read a column of times.

    `zone` places the times that carry none; `format` is a strptime format, unix_s, unix_ms, unix_us,
    unix_ns, excel, or "month/day/year" or "day/month/year" for times that are recognised but for that
    order. Raises JobError for an unknown zone or format, LogError when day and month cannot be told apart.
    """
    check_zone(zone)
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        times = _typed(column, zone)
    elif kind == pl.Date:
        times = _placed(column.cast(pl.Datetime("us")), zone)
    elif kind.is_numeric():
        times = _numbers(column, zone, format)
    else:
        times = _texts(column.cast(pl.String), zone, format)
    micros = times.utc.to_physical()
    if micros.len() == micros.null_count() or (micros.min() >= EARLIEST and micros.max() <= LATEST):  # type: ignore[operator]
        return Times(times.utc.alias(column.name), times.notes)
    sane = micros.is_between(EARLIEST, LATEST)
    return Times(times.utc.set(~sane, None).alias(column.name), times.notes)


def check_zone(zone: str) -> None:
    """Raise JobError unless `zone` is a zone of the IANA list."""
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        import zoneinfo

        near = nearest(zone, sorted(zoneinfo.available_timezones()))
        hint = f"did you mean {near!r}?" if near else "write a zone such as Europe/Zurich or Etc/GMT+6"
        raise JobError(f"timezone {zone!r} is not known", hint=hint) from None


def _typed(column: pl.Series, zone: str) -> Times:
    kind = column.dtype
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return Times(column.dt.convert_time_zone("UTC").cast(TIME))
    return _placed(column.cast(pl.Datetime("us")), zone)


def _placed(local: pl.Series, zone: str) -> Times:
    """Wall-clock times in `zone`: an hour lived twice is the first, one that never was moves on."""
    if zone == "UTC":
        some = local.null_count() < local.len()
        notes = ["times without a zone are taken as UTC"] if some else []
        return Times(local.dt.replace_time_zone("UTC"), tuple(notes))
    first = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    second = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    before = local.dt.offset_by("-1h").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    lost = first.is_null() & local.is_not_null()
    notes = [f"times without a zone are taken as {zone}"] if local.null_count() < local.len() else []
    if lost.any():
        notes.append(
            f"{lost.sum():,} times fall in the hour that {zone} skips in spring: moved on by that hour"
        )
    if twice := int((first != second).sum()):
        notes.append(
            f"{twice:,} times fall in the hour that {zone} lives twice in autumn: taken as the first"
        )
    utc = pl.select(
        pl.when(lost)
        .then(before.dt.convert_time_zone("UTC").dt.offset_by("1h"))
        .otherwise(first.dt.convert_time_zone("UTC"))
    ).to_series()
    return Times(utc, tuple(notes))


def _numbers(column: pl.Series, zone: str, format: str | None) -> Times:
    """Epoch numbers; without a format the size of the largest tells the unit."""
    if format == "excel":
        days = column.cast(pl.Float64, strict=False) - 25_569  # Excel's day 25,569 is 1970-01-01
        return _placed((days * 86_400e6).round().cast(pl.Int64, strict=False).cast(pl.Datetime("us")), zone)
    if format is not None and format not in SPOKEN and format not in ORDERS:
        return _texts(column.cast(pl.String), zone, format)
    whole = column if column.dtype.is_integer() else column.cast(pl.Float64)
    if not column.dtype.is_integer():
        whole = whole.set(~whole.is_finite(), None)
    top = max(abs(float(whole.max() or 0)), abs(float(whole.min() or 0)))  # type: ignore[arg-type]
    if format is None and top < 1e8:
        if column.dtype.is_integer() and column.is_between(19_000_101, 21_001_231).all():
            return _texts(column.cast(pl.String), zone, None)
        note = "the numbers are too small to be times; a position belongs in `order`"
        return Times(pl.Series(column.name, [None] * column.len(), dtype=TIME), (note,))
    unit = format or (
        "unix_s" if top < 1e11 else "unix_ms" if top < 1e14 else "unix_us" if top < 1e17 else "unix_ns"
    )
    return Times(_epoch(whole, unit), (f"times read as {SPOKEN[unit]} since 1970-01-01 UTC",))


def _epoch(numbers: pl.Series, unit: str) -> pl.Series:
    if unit == "unix_ns":
        micros = numbers.cast(pl.Int64, strict=False) // 1_000
    elif numbers.dtype.is_integer():
        scale, limit = UNITS[unit], 2**63 // UNITS[unit] - 1
        micros = numbers.set(~numbers.is_between(-limit, limit), None).cast(pl.Int64, strict=False) * scale
    else:
        micros = (numbers * UNITS[unit]).round().cast(pl.Int64, strict=False)
    return micros.cast(TIME)


def _texts(text: pl.Series, zone: str, format: str | None) -> Times:
    if format is not None:
        text = text.str.strip_chars()
    if format in SPOKEN or format == "excel":
        return _numbers(text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False), zone, format)
    if format is not None and format not in ORDERS:
        return _named(text, zone, format)
    if format is None and (alike := _uniform(text, zone)) is not None:
        return alike
    text = text.str.strip_chars()
    iso = text.str.contains(ISO)
    zoned = text.str.contains(ISO_ZONED)
    rest = (~(iso | zoned) & (text != "")).fill_null(False)
    if not rest.any():
        return _iso(text, iso, zoned, zone)
    text, numbers, shapes = _by_shape(text, rest, zone, format)
    times = _iso(text, text.str.contains(ISO), text.str.contains(ISO_ZONED), zone)
    utc = times.utc.zip_with(times.utc.is_not_null(), numbers)
    n_read = utc.len() - utc.null_count()
    notes = []
    for rows, what in shapes:
        n = int((rows & utc.is_not_null()).sum())
        if n:
            notes.append(
                f"times read as {what}" if n == n_read else f"{n:,} of {n_read:,} times read as {what}"
            )
    return Times(utc, (*notes, *times.notes))


def _uniform(text: pl.Series, zone: str) -> Times | None:
    """ISO times to the second, all written alike ("…T10:00:00.000Z"); None for anything else."""
    sample = str(text.first(ignore_nulls=True))
    if not (written := UNIFORM.match(sample)):
        return None
    tail, length = sample[19:], text.str.len_bytes()
    if length.min() != length.max():
        return None
    shape = f"%Y-%m-%d{written[1]}%H:%M:%S{tail}"
    local = text.str.to_datetime(shape, strict=False, time_unit="us", cache=False)
    if local.null_count() != text.null_count():
        return None
    return Times(local.dt.replace_time_zone("UTC")) if tail.endswith("Z") else _placed(local, zone)


def _named(text: pl.Series, zone: str, format: str) -> Times:
    try:
        read = text.str.to_datetime(format, strict=False, time_unit="us")
    except pl.exceptions.PolarsError as problem:
        hint = 'write it like "%d.%m.%Y %H:%M", or unix_s, unix_ms, unix_us, excel'
        raise JobError(
            f"timestamp_format {format!r} cannot be used: {str(problem).splitlines()[0]}", hint=hint
        ) from None
    return _typed(read, zone)


def _iso(text: pl.Series, iso: pl.Series, zoned: pl.Series, zone: str) -> Times:
    """Parse ISO text: the naive ones are placed in `zone`, the zoned ones keep theirs."""
    plain = text.str.replace(",", ".", literal=True)
    placed = None
    if iso.any():
        naive = plain.set(~iso.fill_null(False), None).str.replace(" ", "T", literal=True)
        placed = _placed(_first_of(naive, ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")), zone)
        if not zoned.any():
            return placed
    aware = plain.set(~zoned.fill_null(False), None)
    aware = aware.str.replace(r"^(.{10}) ", "${1}T").str.replace(" ", "", literal=True)
    aware = aware.str.replace(r"(UTC|GMT|Z)$", "+00:00").str.replace(r"T(\d{2}:\d{2})([+-])", "T$1:00$2")
    utc = aware.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us").cast(TIME)
    if placed is None:
        return Times(utc)
    n_zoned, n_naive = (s.len() - s.null_count() for s in (utc, placed.utc))
    both = utc.zip_with(zoned.fill_null(False), placed.utc)
    if n_naive == 0 or n_zoned == 0:
        return Times(both, placed.notes if n_zoned == 0 else ())
    note = f"{n_zoned:,} times carry a zone and keep it, {n_naive:,} carry none and are taken as {zone}"
    kept = tuple(n for n in placed.notes if not n.startswith("times without"))
    return Times(both, (note, *kept))


def _first_of(text: pl.Series, formats: tuple[str, ...]) -> pl.Series:
    read = pl.Series(text.name, [None] * text.len(), dtype=pl.Datetime("us")) if text.len() == 0 else None
    for format in formats:
        left = text if read is None else text.set(read.is_not_null(), None)
        if read is not None and left.null_count() == left.len():
            break
        more = left.str.to_datetime(format, strict=False, time_unit="us")
        read = more if read is None else read.zip_with(read.is_not_null(), more)
    assert read is not None
    return read


def _by_shape(
    text: pl.Series, rest: pl.Series, zone: str, order: str | None = None
) -> tuple[pl.Series, pl.Series, list[tuple[pl.Series, str]]]:
    """Rewrite every other shape as ISO text; epoch numbers come back as times of their own.

    The last part says which rows were read as what.
    """
    read: list[tuple[pl.Series, str]] = []
    numbers = pl.Series(text.name, [None] * text.len(), dtype=TIME)
    for shape, what in SHAPES:
        found = (rest & text.str.contains(shape)).fill_null(False)
        if not found.any():
            continue
        parts = text.set(~found, None).str.extract_groups(shape).struct.unnest()
        if shape == TWO_FIRST:
            try:
                if order is not None:
                    parts, what = parts.rename(ORDERS[order]), order
                else:
                    parts, what = _day_and_month(parts)
            except LogError:
                if 2 * found.sum() >= (text != "").sum():
                    raise
                continue  # a few odd rows in a column that is otherwise clear: unreadable, not guessed
        elif "name" in parts.columns:
            month = (
                parts["name"].str.to_lowercase().replace_strict(MONTHS, default=None, return_dtype=pl.Int64)
            )
            parts = parts.with_columns(month.cast(pl.String).alias("m"))
        text = text.zip_with(~found, _as_iso(parts))
        rest = rest & ~found
        read.append((found, what))
    digits = (rest & text.str.contains(NUMBER)).fill_null(False)
    if digits.any():
        values = text.set(~digits, None)
        whole = not values.str.contains(".", literal=True).any()
        times = _numbers(values.cast(pl.Int64 if whole else pl.Float64, strict=False), zone, None)
        numbers = times.utc
        read += [(digits, n.removeprefix("times read as ")) for n in times.notes]
    return text, numbers, read


def _day_and_month(parts: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Which of the two numbers is the day: any number above 12 in the whole column says so."""
    a, b = (parts[c].cast(pl.Int64, strict=False) for c in "ab")
    n_day_first, n_month_first = int(((a > 12) & (b <= 12)).sum()), int(((b > 12) & (a <= 12)).sum())
    if n_day_first == n_month_first and (n_day_first > 0 or (a != b).any()):
        example = (
            parts.filter((a != b).fill_null(False))
            .select(pl.concat_str("a", pl.lit("/"), "b", pl.lit("/"), "y"))
            .item(0, 0)
        )
        raise LogError(
            f"day and month cannot be told apart in times such as {example}",
            hint='set timestamp_format, for example "%d/%m/%Y" or "%m/%d/%Y %H:%M"',
        )
    day_first = n_day_first >= n_month_first
    n = n_day_first if day_first else n_month_first
    order, place = ("day/month/year", "first") if day_first else ("month/day/year", "second")
    names = {"a": "d", "b": "m"} if day_first else {"a": "m", "b": "d"}
    why = f"in {n:,} rows the {place} number is above 12" if n else "both are the same in every row"
    return parts.rename(names), f"{order}: {why}"


def _as_iso(parts: pl.DataFrame) -> pl.Series:
    """ISO text from the groups y, m, d and the clock groups behind them; impossible clocks become null."""
    clock = [c for c in parts.columns if c.isdigit()]
    half = clock[4] if len(clock) > 5 else None  # AM or PM stands between fraction and zone
    hour, minute, second, part = (pl.col(c) for c in clock[:4])
    h = hour.cast(pl.Int64).fill_null(0)
    if half is not None:
        pm = pl.col(half).str.to_lowercase() == "p"
        h = (
            pl.when(pl.col(half).is_null())
            .then(h)
            .when(h > 12)
            .then(99)
            .otherwise(h % 12 + pm.cast(pl.Int64) * 12)
        )
    year = (
        pl.when(pl.col("y").str.len_bytes() == 2)
        .then(
            pl.when(pl.col("y").cast(pl.Int64) < 70)
            .then(pl.lit("20") + pl.col("y"))
            .otherwise(pl.lit("19") + pl.col("y"))
        )
        .otherwise(pl.col("y"))
    )

    def two(e: pl.Expr) -> pl.Expr:
        return e.cast(pl.String).str.zfill(2)

    pieces = [
        year,
        pl.lit("-"),
        two(pl.col("m")),
        pl.lit("-"),
        two(pl.col("d")),
        pl.lit("T"),
        two(h),
        pl.lit(":"),
        two(minute.fill_null("0")),
        pl.lit(":"),
        two(second.fill_null("0")),
        pl.lit("."),
        part.fill_null("0"),
        pl.col(clock[-1]).fill_null(""),
    ]
    return parts.select(reduce(lambda x, y: x + y, pieces).alias("iso")).to_series()
