"""Every detector on the smallest log that shows it, and silence on one that does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from behavio.errors import LogError
from behavio.job import demo_job
from behavio.log import ATTRIBUTES, EventLog, SourceCount
from behavio.simulate import SimulateSettings, simulate
from behavio.sources import findings, read, read_log, readiness, smells
from behavio.sources.clocks import clock_shifts

NOON = datetime(2025, 3, 4, 12, 0, tzinfo=UTC)  # a Tuesday


def events(rows: list[tuple], **more: list) -> pl.DataFrame:
    """(case, activity, time) rows with every attribute; times may be datetimes or seconds after noon."""
    times = [t if isinstance(t, datetime) else NOON + timedelta(seconds=t) for _, _, t in rows]
    frame = pl.DataFrame({"case_id": [r[0] for r in rows], "activity": [r[1] for r in rows]})
    frame = frame.with_columns(
        pl.Series("timestamp", times, dtype=pl.Datetime("us", "UTC")),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("event_index"),
        *(pl.Series(n, more.get(n, [None] * len(rows)), dtype=t) for n, t in ATTRIBUTES.items()),
    )
    return frame.with_columns(pl.col("source").fill_null("s"))


def told(found: list[smells.Finding]) -> list[tuple]:
    return [(f.finding, f.where, f.n, f.of) for f in found]


def test_default_dates():
    rows = [("a", "x", datetime(1900, 1, 1, tzinfo=UTC)), ("b", "x", datetime(1970, 1, 1, 5, tzinfo=UTC))]
    rows += [("c", "x", 0), ("d", "x", datetime(2024, 1, 1, tzinfo=UTC))]
    # one New Year's midnight is chance, three in a log with clock times are not
    assert told(smells.default_dates(events(rows))) == [("default dates", "s", 2, 4)]
    rows += [(c, "x", datetime(2024, 1, 1, tzinfo=UTC)) for c in "ef"]
    assert told(smells.default_dates(events(rows))) == [("default dates", "s", 5, 6)]
    assert smells.default_dates(events([("c", "x", 0)])) == []
    monthly = [(c, "x", datetime(2024, m, 1, tzinfo=UTC)) for c in "abc" for m in range(1, 13)]
    assert smells.default_dates(events(monthly)) == []


def test_years_before_1990_and_after_today():
    rows = [("a", "x", datetime(1985, 5, 5, tzinfo=UTC)), ("a", "x", 0), ("a", "x", 86_400)]
    found = smells.odd_years(events(rows), now=NOON + timedelta(hours=1))
    assert told(found) == [("events before 1990", "s", 1, 3), ("events in the future", "s", 1, 3)]
    assert smells.odd_years(events([("a", "x", 0)])) == []


def test_midnight():
    days = [("a", "x", datetime(2025, 1, d, tzinfo=UTC)) for d in range(1, 23)]
    assert told(smells.midnight_bursts(events(days))) == [("dates without a time", "s", 22, 22)]
    mixed = [*days, *(("b", "x", i * 60) for i in range(50))]
    assert told(smells.midnight_bursts(events(mixed))) == [("burst at midnight", "s", 22, 72)]
    assert smells.midnight_bursts(events([*days[:3], ("a", "x", 0)])) == []


def test_calls_when_nobody_works():
    weekdays = [("a", "call_f2f", 7 * 86_400 * w + 60 * i) for w in range(40) for i in range(10)]
    saturday = [("b", "call_f2f", 4 * 86_400 + i) for i in range(6)]
    at_night = [("c", "call_phone", 12 * 3600 + i) for i in range(5)]  # minutes after midnight, Wednesday
    rows = [*weekdays, *saturday, *at_night]
    who = ["U1"] * 400 + ["U2"] * 6 + ["U3"] * 5
    assert told(smells.odd_hours(events(rows, actor_id=who))) == [
        ("calls at the weekend", "U2", 6, 411),
        ("calls outside the usual hours", "U3", 5, 411),
    ]
    assert smells.odd_hours(events(weekdays)) == []


def test_a_rep_whose_every_reaction_is_positive():
    rows = [("a", "reaction_positive", i) for i in range(40)]
    said = ["positive"] * 20 + ["positive", "negative"] * 10
    who = ["U1"] * 20 + ["U2"] * 20
    found = smells.all_positive(events(rows, reaction=said, actor_id=who))
    assert told(found) == [("all reactions positive", "U1", 20, 40)]  # 0.5 ** 20 is no chance
    assert "others have 50%" in found[0].means
    # nine of nine in a company with 80 % is chance
    few = events(rows[:29], reaction=["positive"] * 25 + ["neutral"] * 4, actor_id=["U1"] * 9 + ["U2"] * 20)
    assert smells.all_positive(few) == []


def test_calls_typed_in_one_go():
    typed = [(c, "call_f2f", i * 10) for i, c in enumerate("abcd")]
    group = [(c, "call_f2f", 3600) for c in "abcd"]  # attendees of one group call share the second
    found = smells.same_minute(events([*typed, *group], actor_id=["U1"] * 8))
    assert told(found) == [("calls logged in the same minute", "U1", 4, 8)]
    assert smells.same_minute(events(group, actor_id=["U1"] * 4)) == []


def test_durations_that_are_all_equal():
    rows = [("a", "call_f2f", i * 3600) for i in range(50)]
    long = [900.0] * 25 + [60.0 * i for i in range(1, 26)]
    who = ["U1"] * 25 + ["U2"] * 25
    found = smells.equal_durations(events(rows, duration_s=long, actor_id=who))
    assert told(found) == [("equal durations", "U1", 25, 50)]
    same = events(rows, duration_s=[900.0] * 50, actor_id=who)
    assert smells.equal_durations(same) == []  # the CRM's preset, no rep's


def test_reactions_that_nobody_wrote_down():
    rows = [("a", "message_shown", i) for i in range(20)] + [("a", "reaction_positive", 99)]
    found = smells.missing_reactions(events(rows, actor_id=["U1"] * 20 + ["U2"]))
    assert told(found) == [("missing reactions", "1 never record one: U1", 20, 21)]
    assert smells.missing_reactions(events([("a", "reaction_positive", 0)])) == []


def test_opens_and_clicks_by_machines():
    rows = [("a", "email_sent", 0), ("a", "email_click", 3), ("b", "email_sent", 0)]
    rows += [("b", "email_click", 600 + i) for i in range(3)]  # the third click within 2 s of the first
    rows += [("c", "email_open", 900), ("c", "email_click", 900), ("c", "email_click", 2000)]
    found = smells.bot_clicks(events(rows))
    assert told(found) == [("bot clicks", "s", 2, 6)]
    found = smells.same_second(events(rows))
    assert told(found) == [("open and click in the same second", "s", 1, 7)]
    assert smells.bot_clicks(events([("a", "email_sent", 0), ("a", "email_click", 60)])) == []


def test_opens_that_are_not_tracked():
    mail = [(c, "email_sent", i) for c in "ab" for i in range(5)] + [("a", "email_open", 99)]
    assert told(smells.untracked_opens(events(mail))) == [("never opened", "s", 1, 2)]
    off = events(mail).with_columns(
        opens_tracked=pl.Series(["Identified_vod"] * 5 + ["Anonymous_vod"] * 5 + [None])
    )
    assert told(smells.untracked_opens(off)) == [("untracked opens", "s", 5, 10)]
    assert smells.untracked_opens(events(mail[:5])) == []  # nobody opens: no comparison


def test_order_of_equal_times():
    rows = [("a", "x", 0), ("a", "y", 0), ("a", "z", 0)]
    assert told(smells.equal_times(events(rows))) == [("order of equal times", "s", 2, 3)]
    assert smells.equal_times(events([("a", "x", 0), ("b", "y", 0)])) == []


def test_sources_that_end_early_and_unknown_people():
    log = EventLog.from_frame(events([("a", "x", 0)]))
    count = SourceCount("calls", "table", "c.csv", 5, 5, 0, 0, behind_days=40.0)
    people = SourceCount("cases", "table", "p.csv", 1, 1, 0, 0, role="cases", unmatched=3)
    log = replace(log, sources=(count, people, replace(count, name="new", behind_days=0.0)))
    assert [(f["finding"], f["where"], f["n"]) for f in findings(log)] == [
        ("ids not in the case table", "cases", 3),
        ("source ends early", "calls", 5),
    ]


def test_rows_that_name_nobody(tmp_path: Path):
    (tmp_path / "log.csv").write_text("case,event,time\n,x,2025-01-01\na,x,2025-01-01 10:00\n,x,2025-01-01\n")
    found = smells.nameless(read(tmp_path / "log.csv"))
    assert told(found) == [("rows that name nobody", "log", 2, 3)]


def test_a_count_that_does_not_add_up_is_an_error():
    with pytest.raises(LogError, match="1 rows of calls are lost"):
        SourceCount("calls", "table", "c.csv", 5, 3, 0, 1)


# clocks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extracts(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clocks")
    simulate(SimulateSettings(n_cases=120, months=6, seed=3), out)
    return out / "extracts"


@pytest.fixture(scope="module")
def log(extracts: Path) -> EventLog:
    return read_log(demo_job(extracts, 7).inputs)


def moved(frame: pl.DataFrame, source: str, hours: int) -> pl.DataFrame:
    later = pl.col("timestamp") + pl.duration(hours=hours)
    return frame.with_columns(
        timestamp=pl.when(pl.col("source") == source).then(later).otherwise("timestamp")
    )


@pytest.mark.parametrize("source", ["calls", "key_messages", "emails", "email_activity", "portal"])
def test_a_shifted_source_is_found_with_its_hours(log: EventLog, source: str):
    for hours in [*range(-12, 0), *range(1, 13)]:
        found = clock_shifts(moved(log.events, source, hours))
        assert [(s.source, s.hours) for s in found] == [(source, hours)], hours


def test_clocks_that_are_right_raise_no_alarm(log: EventLog):
    assert clock_shifts(log.events) == []
    assert clock_shifts(log.events.filter(pl.col("source") == "calls")) == []
    # events are held in the evening and hang together with nothing: their clock cannot be judged
    assert clock_shifts(moved(log.events, "events", 5)) == []


def test_half_the_crm_shifted_together(log: EventLog):
    both = moved(moved(log.events, "calls", 5), "key_messages", 5)
    found = clock_shifts(both)
    assert {(s.source, s.hours, s.by) for s in found} == {("calls", 5, "day"), ("key_messages", 5, "day")}


def test_the_readiness_report_for_people(log: EventLog, extracts: Path, tmp_path: Path):
    facts = readiness(
        replace(log, events=moved(log.events, "portal", -3).sort("case_id", "timestamp", "event_index"))
    )
    shift = next(f for f in facts["findings"] if f["finding"] == "clock shifted by -3 h")
    assert "runs 3 h earlier than email_activity" in shift["means"] and "timezone" in shift["do"]
    (tmp_path / "job.toml").write_text(
        f'[source.calls]\nkind = "veeva.call"\npath = "{extracts}/Call2_vod__c.csv"\n'
        f'[source.messages]\nkind = "veeva.key_message"\npath = "{extracts}/Call2_Key_Message_vod__c.csv"\n'
    )
    command = [sys.executable, "-m", "behavio", "check", str(tmp_path / "job.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in ("how late the data come", "what it means", "missing reactions", "record made"):
        assert words in done.stdout


def test_latency_per_source(tmp_path: Path):
    path = tmp_path / "calls_2025-03-10.csv"
    path.write_text(
        "case,event,time,CreatedDate,SystemModstamp\n"
        "a,x,2025-03-01T10:00:00Z,2025-03-01T12:00:00Z,2025-03-03T10:00:00Z\n"
        "b,x,2025-03-02T10:00:00Z,2025-03-02T11:00:00Z,2025-03-02T10:00:00Z\n"
        "c,x,2025-03-02T10:00:00Z,2025-03-02T11:00:00Z,2025-03-02T10:00:00Z\n"
    )
    count = read(path).sources[0]
    assert count.exported == "2025-03-10" and count.behind_days == 0.0
    assert count.delay == {
        "created_median": 3600.0,
        "created_p90": 7200.0,
        "changed_median": 0.0,
        "changed_p90": 172_800.0,
    }
