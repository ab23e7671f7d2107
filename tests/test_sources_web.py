"""GA4 exports by hand: sessions, downloads, strangers and bots."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from behavio.errors import JobError
from behavio.sources import LogInputs, SourceSettings, read_log

START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z in µs


def hit(user: str | None, session: int | None, second: float, name: str = "page_view", **more) -> dict:
    params = [] if session is None else [{"key": "ga_session_id", "value": {"int_value": session}}]
    for key, value in more.items():
        if key != "device":
            kind = "int_value" if isinstance(value, int) else "string_value"
            params.append({"key": key, "value": {kind: value}})
    return {
        "event_timestamp": START + int(second * 1e6),
        "event_name": name,
        "event_params": params,
        "user_id": user,
        "user_pseudo_id": "p1",
        "device": {"category": more.get("device", "desktop")},
    }


@pytest.fixture
def portal(tmp_path: Path):
    def run(*hits: dict, parquet: bool = False):
        name = "ga4.parquet" if parquet else "ga4_events.jsonl"
        if parquet:
            pl.DataFrame(list(hits), infer_schema_length=None).write_parquet(tmp_path / name)
        else:
            (tmp_path / name).write_text("\n".join(json.dumps(h) for h in hits))
        log = read_log(LogInputs({"portal": SourceSettings(path=name, kind="ga4")}, tmp_path))
        count = log.sources[0]
        assert count.read == count.accepted + count.rejected + count.merged == len(hits)
        return log

    return run


def short(log) -> list[tuple]:
    seconds = (pl.col("timestamp").dt.epoch("us") - START) / 1e6
    return log.events.select("case_id", "activity", seconds.alias("s"), "content", "duration_s").rows()


HITS = (
    hit("A1", 11, 0, "session_start"),
    hit("A1", 11, 5, page_title="Dosing", engagement_time_msec=4_000),
    hit("A1", 11, 30, "file_download", file_name="guide.pdf", engagement_time_msec=6_000),
    hit("A1", 11, 30, "file_download", file_name="guide.pdf", engagement_time_msec=6_000),
    hit("A1", 12, 900),
    hit("A2", 11, 60, page_title="Home"),
    hit(None, 99, 70),
)


@pytest.mark.parametrize("parquet", [False, True])
def test_one_visit_per_session_and_downloads_apart(portal, parquet):
    # session 11 of A1: a visit at its first row (0 s) about its first page, a download at 30 s (twice).
    # Session 12 a visit; session 11 of A2 is another session; the stranger is rejected. Time spent: 4 + 6 s.
    log = portal(*HITS, parquet=parquet)
    assert short(log) == [
        ("A1", "portal_visit", 0.0, "Dosing", 10.0),
        ("A1", "portal_download", 30.0, "guide.pdf", None),
        ("A1", "portal_visit", 900.0, None, None),
        ("A2", "portal_visit", 60.0, "Home", None),
    ]
    assert log.sources[0].left_out == {
        "the same record exported again: the last copy counts": 1,
        "a further row of a session that counts once": 1,
    }
    assert log.rejected["reason"].to_list() == ["an anonymous visitor"]
    assert log.events.select("channel", "direction").unique().rows() == [("portal", "inbound")]


def test_bots_by_device_and_by_pace(portal):
    # B1 clicks 101 times in 50 s: a bot. C1 clicks 101 times in 101 minutes: a person who stays long.
    bot = [hit("B1", 1, i * 0.5) for i in range(101)]
    keen = [hit("C1", 1, i * 60) for i in range(101)]
    log = portal(*bot, *keen, hit("D1", 1, 0, device="bot"), hit("E1", 1, 0))
    assert sorted(log.events["case_id"].to_list()) == ["C1", "E1"]
    assert log.sources[0].filtered == 102
    assert log.sources[0].left_out["a bot by its device"] == 1
    assert log.sources[0].left_out["a bot: more than 100 rows of one session within 1m"] == 101


def test_a_row_without_session_is_rejected_and_a_lone_download_stays(portal):
    log = portal(hit("A1", None, 0), hit("A1", 5, 1, "file_download", file_name="x.pdf"))
    assert short(log) == [("A1", "portal_download", 1.0, "x.pdf", None)]
    assert log.rejected["reason"].to_list() == ["the row belongs to no session"]
    assert any("1 sessions hold nothing but file_download" in n for n in log.sources[0].notes)


def test_session_activities_are_renamed_not_named(portal, tmp_path):
    portal(*HITS)
    renamed = {"activity": {"portal_visit": "visit"}}
    source = SourceSettings(path="ga4_events.jsonl", kind="ga4", values=renamed)
    log = read_log(LogInputs({"portal": source}, tmp_path))
    assert set(log.events["activity"]) == {"visit", "portal_download"}
    with pytest.raises(JobError, match="cannot name an activity"):
        read_log(
            LogInputs(
                {"p": SourceSettings(path="ga4_events.jsonl", kind="ga4", activity="event_name")}, tmp_path
            )
        )
