from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio.errors import JobError, LogError
from behavio.sources.times import read_times

NOON = datetime(2024, 2, 1, 12, 30, tzinfo=UTC)


def read(values, **settings):
    times = read_times(pl.Series("t", values, strict=False), **settings)
    return times.utc.to_list(), times.notes


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-01T12:30:00Z",
        "2024-02-01 12:30:00",
        "2024-02-01 12:30",
        "2024-02-01T13:30:00+01:00",
        "2024-02-01 13:30:00.000 +0100",
        "2024-02-01T07:30-05",
        "2024/02/01 12:30",
        "20240201T123000",
        "20240201123000",
        "01.02.2024 12:30",
        "1.2.24 12:30:00",
        "1 February 2024 12:30",
        "01-Feb-2024 12:30:00",
        "Feb 1, 2024 12:30 PM",
        "Thu, 01 Feb 2024 12:30:00 +0000",
        "1706790600",
        "1706790600000",
        "1706790600000000",
        "1706790600.0",
    ],
)
def test_one_moment_in_many_shapes(text):
    assert read([text])[0] == [NOON]


def test_any_number_above_twelve_decides_for_the_whole_column():
    # 13/02 can only be day first, so 01/02 is the first of February; 02/13 the other way round
    assert read(["01/02/2024", "13/02/2024"])[0][0] == datetime(2024, 2, 1, tzinfo=UTC)
    times, notes = read(["01/02/2024", "02/13/2024"])
    assert times[0] == datetime(2024, 1, 2, tzinfo=UTC)
    assert notes[0] == "times read as month/day/year: in 1 rows the second number is above 12"


def test_where_nothing_decides_the_reader_asks():
    with pytest.raises(
        LogError, match="day and month cannot be told apart in times such as 01/02/2024"
    ) as caught:
        read(["01/02/2024", "03/04/2024"])
    assert "timestamp_format" in caught.value.hint
    assert read(["01/02/2024"], format="%d/%m/%Y")[0] == [datetime(2024, 2, 1, tzinfo=UTC)]
    assert read(["01/02/2024"], format="%m/%d/%Y")[0] == [datetime(2024, 1, 2, tzinfo=UTC)]
    assert read(["02/02/2024"])[0] == [datetime(2024, 2, 2, tzinfo=UTC)]


def test_one_unclear_row_in_a_clear_column_is_unreadable_not_fatal():
    assert read(["2024-02-01 12:30", "2024-02-01 12:30", "01/02/2024"])[0] == [NOON, NOON, None]


def test_naive_and_aware_together_are_told():
    times, notes = read(["2024-02-01T12:30:00Z", "2024-02-01T13:30:00"], zone="Europe/Zurich")
    assert times == [NOON, NOON]
    assert notes == ("1 times carry a zone and keep it, 1 carry none and are taken as Europe/Zurich",)


def test_hours_that_never_were_and_hours_lived_twice():
    # Zurich 2024: 02:30 on 31 March does not exist (→ 03:30 summer time = 01:30 UTC);
    # 02:30 on 27 October exists twice, the first is summer time = 00:30 UTC
    times, notes = read(["2024-03-31 02:30:00", "2024-10-27 02:30:00"], zone="Europe/Zurich")
    assert times == [datetime(2024, 3, 31, 1, 30, tzinfo=UTC), datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]
    assert any("skips in spring" in n for n in notes) and any("lives twice" in n for n in notes)


@pytest.mark.parametrize(
    "text", ["", "soon", "2024-02-30", "2024-13-01", "25:61", "2024-02-01T25:00", "12", "-"]
)
def test_no_time_is_null_never_an_error(text):
    assert read([text, "2024-02-01 12:30", "2024-02-01 12:30"])[0] == [None, NOON, NOON]


def test_typed_columns():
    naive = datetime(2024, 2, 1, 12, 30)
    zoned = naive.replace(tzinfo=timezone(timedelta(hours=1)))
    assert read_times(pl.Series([naive]), "Etc/GMT+6").utc[0] == NOON + timedelta(hours=6)
    assert read_times(pl.Series([zoned])).utc[0] == NOON - timedelta(hours=1)
    assert read_times(pl.Series([naive.date()])).utc[0] == datetime(2024, 2, 1, tzinfo=UTC)
    assert read_times(pl.Series([1706790600.25, float("nan"), None])).utc.to_list() == [
        NOON + timedelta(seconds=0.25),
        None,
        None,
    ]
    assert read_times(pl.Series([45323.520833333336]), format="excel").utc[0] == NOON


def test_small_numbers_are_positions_not_times():
    times, notes = read([1, 2, 3])
    assert times == [None] * 3 and "order" in notes[0]


def test_unknown_zone_and_format_are_named():
    with pytest.raises(JobError) as caught:
        read(["2024-02-01"], zone="Europe/Zurch")
    assert "Europe/Zurich" in caught.value.hint
    with pytest.raises(JobError, match="timestamp_format"):
        read(["02.01.2024 17"], format="%d.%m.%Y %H")


@given(st.lists(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), min_size=1, max_size=30), st.data())
def test_what_is_written_is_read(times, data):
    """Python's own ISO text, with and without zones, gives back the same moments."""
    zones = st.sampled_from(
        [None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))]
    )
    written = [t.replace(tzinfo=data.draw(zones)) for t in times]
    expected = [t.replace(tzinfo=UTC) if t.tzinfo is None else t.astimezone(UTC) for t in written]
    assert read([t.isoformat() for t in written])[0] == expected


@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1)), min_size=1, max_size=30))
def test_day_first_columns_are_read_right_or_refused(times):
    rounded = [t.replace(second=0, microsecond=0) for t in times]
    texts = [t.strftime("%d/%m/%Y %H:%M") for t in rounded]
    if any(t.day > 12 for t in rounded) or all(t.day == t.month for t in rounded):
        assert read(texts)[0] == [t.replace(tzinfo=UTC) for t in rounded]
    else:
        with pytest.raises(LogError):
            read(texts)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=20))
def test_any_text_is_a_time_or_null(texts):
    try:
        found = read(texts)[0]
    except LogError:
        return
    assert len(found) == len(texts)


def test_dotted_dates_do_not_follow_what_slashes_decide():
    # slashes say month first (12/31), a date with dots is day.month all the same: 1 February
    times = read_times(pl.Series("t", ["12/31/2025", "01.02.2025", "01/02/2025"]))
    assert times.utc.dt.strftime("%Y-%m-%d").to_list() == ["2025-12-31", "2025-02-01", "2025-01-02"]
    times = read_times(pl.Series("t", ["03.04.2025 10:00", "31/12/2025"]))
    assert times.utc.dt.strftime("%Y-%m-%d").to_list() == ["2025-04-03", "2025-12-31"]


@pytest.mark.parametrize("tail", ["", "Z", ".000Z", ".0"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich"])
def test_times_written_alike_are_what_they_are_among_others(tail, zone):
    texts = [f"2025-03-30{s}0{h}:30:59{tail}" for s in "T" for h in range(6)] + [None]
    alike = read_times(pl.Series("t", texts), zone)
    among = read_times(pl.Series("t", [*texts, "2025-03-30"]), zone)
    assert alike.utc.to_list() == among.utc.to_list()[:-1] and alike.utc.null_count() == 1
    odd = read_times(pl.Series("t", [*texts[:3], f"2025-13-30T00:00:00{tail}"]), zone)
    assert odd.utc.is_null().to_list() == [False, False, False, True]
