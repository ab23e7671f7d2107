"""Visits cut by a gap, topics by rules, views, and the traps of each kind of web export by name."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio.errors import JobError, LogError
from behavio.job import job_from
from behavio.manifest import key_of
from behavio.sources import IdentitySettings, LogInputs, SourceSettings, read_log
from behavio.sources.feed import feed_lines
from behavio.sources.sessions import session_numbers
from behavio.sources.topics import Rules, page_path


def read_one(folder: Path, name: str, **settings):
    log = read_log(LogInputs({"portal": SourceSettings(path=name, **settings)}, folder))
    count = log.sources[0]
    assert count.read == count.accepted + count.rejected + count.merged
    return log


@pytest.fixture
def web(tmp_path: Path):
    def run(rows: str, head: str = "user_id,time,url", **settings):
        (tmp_path / "log.csv").write_text(f"{head}\n{rows}")
        return read_one(tmp_path, "log.csv", kind="web", **settings)

    return run


def short(log) -> list[tuple]:
    clock = pl.col("timestamp").dt.strftime("%H:%M")
    return log.events.select("case_id", "activity", clock, "content").rows()


# cutting -------------------------------------------------------------------------------------------


def slow_sessions(rows: list[tuple[str, int]], gap: int) -> list[int]:
    """Session number of each row within its case: a row belongs to the one before it in time."""
    numbers = [0] * len(rows)
    for case in {c for c, _ in rows}:
        own = sorted((t, i) for i, (c, t) in enumerate(rows) if c == case)
        number = 0
        for (before, _), (now, place) in pairwise(own):
            number += now - before > gap
            numbers[place] = number
    return numbers


@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20)), min_size=1, max_size=12),
    gap=st.integers(1, 5),
)
def test_sessions_are_cut_as_by_hand(rows, gap):
    table = pl.DataFrame(rows, schema=["case", "s"], orient="row")
    time = (table["s"] * 1_000_000).cast(pl.Datetime("us", "UTC"))
    assert session_numbers(table["case"], time, gap).to_list() == slow_sessions(rows, gap)


def test_the_gap_of_the_job_wins_over_the_mappings(web):
    # pauses of 20 and 40 minutes: 30m cuts once, 15m twice, 1h never
    rows = "A1,2026-01-01 08:00,/a\nA1,2026-01-01 08:20,/b\nA1,2026-01-01 09:00,/c\n"
    assert [r[2] for r in short(web(rows))] == ["08:00", "09:00"]
    assert [r[2] for r in short(web(rows, session_gap="15m"))] == ["08:00", "08:20", "09:00"]
    log = web(rows, session_gap="1h")
    assert [r[2] for r in short(log)] == ["08:00"]
    assert "1 session cut where nothing happened for more than 1h" in log.sources[0].notes
    with pytest.raises(JobError, match="30"):
        web(rows, session_gap="30")


def test_session_numbers_of_the_export_win_and_only_rows_without_one_are_cut(web):
    rows = "A1,2026-01-01 08:00,/a,s1\nA1,2026-01-01 11:00,/b,s1\n"
    rows += "A1,2026-01-01 12:00,/c,\nA1,2026-01-01 13:00,/d,\n"
    log = web(rows, "user_id,time,url,Session ID")
    assert short(log) == [
        ("A1", "portal_visit", "08:00", "/a"),  # three hours apart, but the export says one session
        ("A1", "portal_visit", "12:00", "/c"),
        ("A1", "portal_visit", "13:00", "/d"),
    ]
    assert "2 sessions cut where nothing happened for more than 30m" in log.sources[0].notes


def test_ga4_without_session_numbers_is_cut_only_when_the_job_says_so(tmp_path):
    hits = [
        {"event_timestamp": 1_767_225_600_000_000 + m * 60_000_000, "event_name": "page_view",
         "user_id": "A1", "event_params": [{"key": "page_title", "value": {"string_value": "Home"}}]}
        for m in (0, 10, 60)
    ]  # fmt: skip
    (tmp_path / "ga4.jsonl").write_text("\n".join(map(json.dumps, hits)))
    with pytest.raises(LogError) as caught:
        read_one(tmp_path, "ga4.jsonl", kind="ga4")
    assert 'session_gap = "30m"' in caught.value.hint
    assert [r[2] for r in short(read_one(tmp_path, "ga4.jsonl", kind="ga4", session_gap="30m"))] == [
        "00:00",
        "01:00",
    ]


# topics --------------------------------------------------------------------------------------------

PAGES = """A1,2026-01-01 08:00,https://portal.example/
A1,2026-01-01 08:01,https://portal.example/products/x/efficacy-52?utm=mail
A1,2026-01-01 08:02,https://portal.example/products/x/DOSING
A1,2026-01-01 08:03,https://portal.example/products/x/efficacy-52
A1,2026-01-01 08:04,https://portal.example/contact
A2,2026-01-01 08:05,https://portal.example/contact
"""
TOPICS = {
    "/products/*/efficacy*": "efficacy",
    "/products/*": "product",
    "regex:^/(studies|papers)": "science",
}


def test_pages_become_topics_by_the_first_rule_and_the_rest_is_listed(web):
    # the home page has no rule: the visit is about the first page that has one; A2 saw nothing with a rule
    log = web(PAGES, topics=TOPICS)
    assert short(log) == [("A1", "portal_visit", "08:00", "efficacy"), ("A2", "portal_visit", "08:05", None)]
    assert "3 rows fit no rule for topics: /contact (2), / (1)" in log.sources[0].notes


def test_without_rules_the_content_is_the_first_page(web):
    assert [r[3] for r in short(web(PAGES))] == ["/", "/contact"]


def test_each_topic_of_a_visit_counts_once_with_views(web):
    log = web(PAGES, topics=TOPICS, views=True)
    assert short(log) == [
        ("A1", "portal_visit", "08:00", "efficacy"),
        ("A1", "portal_view", "08:02", "product"),
        ("A2", "portal_visit", "08:05", None),
    ]
    assert log.sources[0].left_out == {"a further row of a session that counts once": 3}


def test_the_order_of_rules_decides_and_counts_for_the_key_of_a_stage(web):
    turned = dict(reversed(TOPICS.items()))
    assert [r[3] for r in short(web(PAGES, topics=turned))] == ["product", None]
    jobs = [
        job_from({"source": {"p": {"path": "x.csv", "kind": "web", "topics": t}}}, name="j", base=Path())
        for t in (TOPICS, turned)
    ]
    assert key_of(jobs[0].source) != key_of(jobs[1].source)


@pytest.mark.parametrize(
    ("rules", "message"),
    [({"regex:(": "x"}, "is no regular expression"), ({"/a": " "}, "is empty"), ({"": "x"}, "is empty")],
)
def test_wrong_rules_are_refused_with_the_job(rules, message):
    with pytest.raises(JobError, match=message):
        SourceSettings(path="x", topics=rules)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("https://portal.example/a/b?x=1#y", "/a/b"),
        ("//portal.example/a", "/a"),
        ("portal.example/a/b#top", "/a/b"),  # as Matomo stores it
        ("https://portal.example", "/"),
        ("https://portal.example?x=1", "/"),
        ("/a?x=1", "/a"),
        ("hcp:home", "hcp:home"),  # a page name
        ("What is new? Dosing", "What is new? Dosing"),  # a title
        ("guide.pdf", "guide.pdf"),
        ("", ""),
    ],
)
def test_addresses_are_compared_by_their_path(text, path):
    assert pl.DataFrame({"t": [text]}).select(page_path(pl.col("t"))).item() == path


def test_a_star_crosses_slashes_and_case_is_ignored():
    rules = Rules((("/a/*/c", "x"), ("regex:b$", "y")))
    assert [rules.name_of(t) for t in ("/A/1/2/C", "/zzB", "/a/c", None)] == ["x", "y", None, None]


def test_mails_have_topics_and_brands_too(tmp_path):
    (tmp_path / "_Job.csv").write_text(
        "JobID,EmailName,EmailSubject\n501,cardiovia_efficacy_01,Results\n502,newsletter,News\n"
    )
    (tmp_path / "_Sent.csv").write_text(
        "JobID,ListID,BatchID,SubscriberID,SubscriberKey,EventDate\n"
        "501,1,1,1,K-1,1/5/2026 9:00:00 AM\n502,1,1,1,K-1,1/6/2026 9:00:00 AM\n"
    )
    rules = {"topics": {"*efficacy*": "efficacy"}, "brands": {"cardiovia*": "Cardiovia"}}
    log = read_one(tmp_path, "_Sent.csv", kind="sfmc.sent", **rules)
    assert log.events.select("content", "brand", "message").rows() == [
        ("efficacy", "Cardiovia", "Results"),
        (None, None, "News"),
    ]
    assert "1 row fits no rule for topics: newsletter (1)" in log.sources[0].notes


# the traps of each export --------------------------------------------------------------------------


def ga4_hit(user: str, minute: int, index: int | None, **more) -> dict:
    hit = {
        "event_timestamp": 1_767_225_600_000_000 + minute * 60_000_000,
        "event_name": more.get("name", "page_view"),
        "event_params": [
            {"key": "ga_session_id", "value": {"string_value": None, "int_value": more.get("session", 1)}},
            {"key": "page_title", "value": {"string_value": more.get("title", "Home"), "int_value": None}},
        ],
        "user_id": user,
        "user_pseudo_id": f"p-{user}",
    }
    batch = {
        "event_bundle_sequence_id": 1,
        "batch_page_id": 1,
        "batch_ordering_id": 1,
        "batch_event_index": index,
    }
    return hit | batch if index is not None else hit


def test_a_daily_table_exported_again_replaces_its_hits_and_adds_the_late_ones(tmp_path):
    # the first export of the day holds two hits; the second both, one with a new title, and a late one
    first = [ga4_hit("A1", 0, 1), ga4_hit("A2", 5, 1, session=2)]
    again = [
        ga4_hit("A1", 0, 1, title="Dosing"),
        ga4_hit("A2", 5, 1, session=2),
        ga4_hit("A3", 7, 1, session=3),
    ]
    for name, hits in (("events_20260101.jsonl", first), ("events_20260101_v2.jsonl", again)):
        (tmp_path / name).write_text("\n".join(map(json.dumps, hits)))
    log = read_one(tmp_path, "events_*.jsonl", kind="ga4")
    assert [(c, t) for c, _, _, t in short(log)] == [("A1", "Dosing"), ("A2", "Home"), ("A3", "Home")]
    assert log.sources[0].left_out == {"the same record exported again: the last copy counts": 2}
    alone = read_one(tmp_path, "events_20260101_v2.jsonl", kind="ga4")
    assert short(log) == short(alone)


def test_without_batch_columns_two_pages_of_one_microsecond_stay_two_hits(tmp_path):
    hits = [ga4_hit("A1", 0, None), ga4_hit("A1", 0, None, title="Dosing"), ga4_hit("A1", 0, None)]
    (tmp_path / "ga4.jsonl").write_text("\n".join(map(json.dumps, hits)))
    log = read_one(tmp_path, "ga4.jsonl", kind="ga4", views=True)
    assert sorted(c for _, _, _, c in short(log)) == ["Dosing", "Home"]
    assert log.sources[0].left_out == {"the same record exported again: the last copy counts": 1}


def test_parquet_nested_as_bigquery_writes_it(tmp_path):
    hits = [ga4_hit("A1", 0, 1), ga4_hit("A1", 9, 2, title="Dosing")]
    plain = pl.DataFrame(hits, infer_schema_length=None)
    wrapped = [{**h, "event_params": {"list": [{"element": p} for p in h["event_params"]]}} for h in hits]
    plain.write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(wrapped, infer_schema_length=None).write_parquet(tmp_path / "b.parquet")
    both = [short(read_one(tmp_path, f, kind="ga4", views=True)) for f in ("a.parquet", "b.parquet")]
    assert both[0] == both[1]
    assert both[0] == [("A1", "portal_visit", "00:00", "Home"), ("A1", "portal_view", "00:09", "Dosing")]


NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("data", "cells"),
    [
        (b"1\t2\t3\n", [("1", "2", "3")]),
        (b"1\tx\\\ty\t3\n", [("1", "x\ty", "3")]),  # an escaped tab is no border
        (b"1\tx\\\ny\t3\n", [("1", "x\ny", "3")]),  # nor is an escaped line break
        (b"1\tc:\\\\temp\t3\n", [("1", "c:\\temp", "3")]),
        (b"1\tx\\\\\t3\n", [("1", "x\\", "3")]),  # an escaped backslash, then a border
        (b"1\tx\\ty\t3\n", [("1", "x\ty", "3")]),  # the letter, as some tools unpack it
        (b'1\t"\t3\n', [("1", '"', "3")]),  # nothing is quoted
        (b"1\t\t\r\n", [("1", None, None)]),
    ],
)
def test_adobe_escapes(data, cells):
    assert feed_lines(data, NAMES).frame.rows() == cells


def test_adobe_rows_of_another_width_are_wrong_rows():
    lines = feed_lines(b"1\t2\t3\n1\t2\n\n1\t2\t3\t4\n5\t6\t7\n", NAMES)
    assert lines.frame.rows() == [("1", "2", "3"), ("5", "6", "7")]
    assert lines.rows.to_list() == [1, 4]
    assert [(r, why) for r, why, _, _ in lines.wrong] == [
        (2, "the row has 2 cells, the header has 3"),
        (3, "the row has 4 cells, the header has 3"),
    ]


@given(
    st.lists(st.tuples(*[st.text(st.sampled_from("ab\\\t\n\"'"), max_size=4)] * 3), min_size=1, max_size=4)
)
def test_every_value_survives_adobes_escapes(rows):
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace("\t", "\\\t").replace("\n", "\\\n")

    rows = [("x" + a, b, c + "x") for a, b, c in rows]  # no blank line, no value that is only a border
    data = "\n".join("\t".join(map(escaped, row)) for row in rows) + "\n"
    found = feed_lines(data.encode(), NAMES).frame.fill_null("").rows()
    assert found == rows


def adobe(folder: Path, *rows: str, header: bool = True) -> Path:
    names = "hitid_high\thitid_low\thit_time_gmt\tpost_evar7\tpost_visid_high\tpost_visid_low\tvisit_num"
    names += "\tpost_pagename\tpost_event_list\texclude_hit\tip"
    if header:
        (folder / "column_headers.tsv").write_text(names + "\n")
    (folder / "hit_data.tsv").write_text("".join(r + "\n" for r in rows))
    return folder


def test_adobes_hcp_id_stands_in_the_variable_the_job_names(tmp_path):
    adobe(tmp_path, "1\t1\t1767225600\tu1\t5\t9\t1\thome\t\t0\t203.0.113.7")
    (tmp_path / "map.csv").write_text("case_id,user_id\nA1,u1\n")
    source = SourceSettings(path="hit_data.tsv", kind="adobe.hits", case_id="post_evar7", identity="user_id")
    log = read_log(LogInputs({"portal": source}, tmp_path, identities=IdentitySettings(path="map.csv")))
    assert short(log) == [("A1", "portal_visit", "00:00", "home")]
    with pytest.raises(LogError, match="no column 'post_evar1'"):
        read_one(tmp_path, "hit_data.tsv", kind="adobe.hits")


def test_adobes_custom_event_is_a_download_by_its_name(tmp_path):
    adobe(tmp_path, "1\t1\t1767225600\tA1\t5\t9\t1\tguide\t100,205=3\t0\tx")
    (tmp_path / "event.tsv").write_text("205\tPDF Download\n")
    from behavio.sources import built_in

    own = built_in()["adobe.hits"].replace('# "PDF Download"', '"PDF Download"')
    (tmp_path / "mine.toml").write_text(own)
    log = read_one(tmp_path, "hit_data.tsv", kind="adobe.hits", mapping="mine.toml", case_id="post_evar7")
    assert log.events["activity"].to_list() == ["portal_download"]


def test_a_feed_without_its_header_is_refused(tmp_path):
    adobe(tmp_path, "1\t2\t3", header=False)
    with pytest.raises(LogError, match=r"column_headers\.tsv is not beside") as caught:
        read_one(tmp_path, "hit_data.tsv", kind="adobe.hits")
    assert "joins.header" in caught.value.hint
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "headers.tsv").write_text("a\tb\n")
    with pytest.raises(LogError, match="has the 2 cells that its header names"):
        read_one(tmp_path, "hit_data.tsv", kind="adobe.hits", joins={"header": "names/headers.tsv"})


def test_matomos_binary_visitor_is_an_id_in_hex(tmp_path):
    pl.DataFrame(
        {"idlink_va": [1], "idvisit": [31], "server_time": ["2026-01-01 08:00:00"], "idaction_url": [101]}
    ).write_parquet(tmp_path / "log_link_visit_action.parquet")
    pl.DataFrame({"idvisit": [31], "idvisitor": [bytes.fromhex("0f1e2d3c4b5a6978")]}).write_parquet(
        tmp_path / "log_visit.parquet"
    )
    (tmp_path / "log_action.csv").write_text("idaction,name,type\n101,portal.example/dosing,1\n")
    source = SourceSettings(
        path="log_link_visit_action.parquet", kind="matomo.visits", case_id="visit.idvisitor"
    )
    log = read_log(LogInputs({"portal": source}, tmp_path))
    assert short(log) == [("0f1e2d3c4b5a6978", "portal_visit", "08:00", "/dosing")]


CLICKS = (
    "SendID,SubscriberKey,SubscriberID,ListID,BatchID,EventDate,URL\n501,K-1,11,9,1,1/5/2026 9:21:00 AM,x\n"
)


def zipped(folder: Path, **files: str) -> None:
    with zipfile.ZipFile(folder / "extract.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(f"out/{name}.csv", text)


def test_the_clicks_of_a_zipped_tracking_extract(tmp_path):
    zipped(tmp_path, Clicks=CLICKS, Opens=CLICKS)
    log = read_one(tmp_path, "extract.zip", kind="sfmc.click")
    assert log.events.select("case_id", "activity").rows() == [("K-1", "email_click")]
    assert log.sources[0].file == "extract.zip/out/Clicks.csv"


def test_a_zip_that_does_not_tell_which_file_is_refused(tmp_path):
    zipped(tmp_path, a=CLICKS, b=CLICKS)
    with pytest.raises(LogError, match=r"holds 2 files that could be meant: out/a\.csv, out/b\.csv"):
        read_one(tmp_path, "extract.zip", kind="sfmc.click")
    (tmp_path / "extract.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(LogError, match="no zip archive, or a damaged one"):
        read_one(tmp_path, "extract.zip", kind="sfmc.click")


def test_a_folder_of_tracking_extracts_gives_the_file_of_the_kind(tmp_path):
    for name in ("Clicks", "Opens", "Unsubs"):
        (tmp_path / f"{name}.csv").write_text(CLICKS)
    log = read_one(tmp_path, ".", kind="sfmc.click")
    assert log.sources[0].read == 1


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("1/5/2026 9:00:00 AM", "2026-01-05 15:00"),  # winter: six hours
        ("7/5/2026 9:00:00 AM", "2026-07-05 15:00"),  # summer: still six hours, the view knows no summer
        ("3/8/2026 2:30:00 AM", "2026-03-08 08:30"),  # an hour that Chicago skips
        ("11/1/2026 1:30:00 AM", "2026-11-01 07:30"),  # an hour that Chicago lives twice
        ("2026-07-05 09:00:00", "2026-07-05 15:00"),  # as databases export the view
        ("2026-07-05T09:00:00-06:00", "2026-07-05 15:00"),  # a zone that is written wins
    ],
)
def test_marketing_cloud_times_are_six_hours_behind_all_year(tmp_path, written, utc):
    row = CLICKS.splitlines()[0] + f"\n501,K-1,11,9,1,{written},x\n"
    (tmp_path / "_Click.csv").write_text(row)
    log = read_one(tmp_path, "_Click.csv", kind="sfmc.click")
    assert log.events["timestamp"].dt.strftime("%Y-%m-%d %H:%M").to_list() == [utc]


def test_a_zone_that_the_job_names_wins_over_the_mappings(tmp_path):
    (tmp_path / "_Click.csv").write_text(CLICKS)
    log = read_one(tmp_path, "_Click.csv", kind="sfmc.click", timezone="UTC")
    assert log.events["timestamp"].dt.strftime("%H:%M").to_list() == ["09:21"]


def test_an_extract_that_overlaps_the_last_one_counts_once(tmp_path):
    later = CLICKS + "501,K-1,11,9,1,2/5/2026 9:21:00 AM,x\n"
    (tmp_path / "clicks_1.csv").write_text(CLICKS)
    (tmp_path / "clicks_2.csv").write_text(later)
    log = read_one(tmp_path, "clicks_*.csv", kind="sfmc.click")
    assert log.events.height == 2
    assert log.sources[0].left_out == {"the same record exported again: the last copy counts": 1}


def test_case_ids_that_are_addresses_are_told(tmp_path):
    (tmp_path / "_Click.csv").write_text(CLICKS.replace("K-1", "ann@clinic.example"))
    log = read_one(tmp_path, "_Click.csv", kind="sfmc.click")
    assert any("1 of 1 case ids are e-mail addresses" in n for n in log.sources[0].notes)


def test_opens_without_any_click_say_that_evidence_says_nothing(tmp_path):
    (tmp_path / "_Open.csv").write_text(CLICKS)
    log = read_one(tmp_path, "_Open.csv", kind="sfmc.open")
    assert any("no open has a click" in n for n in log.sources[0].notes)
