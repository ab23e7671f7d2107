from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from oracles_suggest import START, log_of

from behavio.cli import cli
from behavio.errors import RunError
from behavio.log import EventLog
from behavio.suggest import SuggestSettings, write_suggestions
from behavio.suggest.affinity import channel_affinity, content_affinity
from behavio.suggest.timeline import read_timeline
from behavio.view import story
from behavio.view.page import page

EVENTS: list[tuple[Any, ...]] = [
    ("anna", 0, "call_f2f", {"brand": "one", "message": "<b>52 weeks</b>"}),
    ("anna", 1, "portal_visit"),
    ("anna", 40, "email_sent"),
    ("anna", 41, "email_open"),
    ("anna", 50, "msl_visit", {"actor_id": "msl"}),
    ("ben", 60, "portal_visit"),
]
CASES = pl.DataFrame({"case_id": ["anna", "ben", "clara"], "specialty": ["Cardiology", None, "Oncology"]})


@pytest.fixture
def log() -> EventLog:
    return log_of(EVENTS, CASES)


@pytest.fixture
def run(log: EventLog, tmp_path: Path) -> Path:
    log.write(tmp_path / "log")
    for room in ("suggestions", "segments", "next"):
        (tmp_path / room).mkdir()
    labels = {"case_id": ["anna", "ben"], "segment_id": [0, -1], "segment": ["Readers", "unassigned"]}
    segments = pl.DataFrame(labels).with_columns(strength=0.9)
    segments.write_parquet(tmp_path / "segments" / "segments.parquet")
    steps = pl.DataFrame(
        {"case_id": ["anna"], "rank": [1], "activity": ["portal_visit"], "probability": [0.5]}
    )
    steps.write_parquet(tmp_path / "next" / "next_steps.parquet")
    write_suggestions(log, None, steps, segments, SuggestSettings(), 7, tmp_path / "suggestions")  # type: ignore[arg-type]
    return tmp_path


def test_the_story_of_a_case_from_a_log(log: EventLog) -> None:
    anna = story(log, "anna")
    assert anna.to_frame().height == 5
    assert anna.events["row"].to_list() == ["hand:1", "hand:2", "hand:3", "hand:4", "hand:5"]
    assert anna.events["touchpoint"].to_list()[:2] == ["rep visit", "portal"]
    assert anna.attributes == {"specialty": "Cardiology"}
    assert anna.as_of == START + dt.timedelta(days=60)
    assert anna.contacts_28d == 2  # the email of day 40 and the visit of day 50; day 32 is the border
    assert anna.rows[0] == (
        "6 Jan 2025 00:00",
        "rep visit",
        "f2f",
        "one · <b>52 weeks</b>",
        "sales rep",
        "hand:1",
    )
    assert anna.segment is None
    assert anna.suggestions.height == anna.next_steps.height == 0


def test_the_story_from_a_run_holds_what_the_run_found(run: Path) -> None:
    anna = story(run, "anna")
    assert (anna.segment, anna.strength) == ("Readers", 0.9)
    assert anna.next_steps["activity"].to_list() == ["portal_visit"]
    assert anna.suppressed.height == 3  # two actions of sales and marketing, one of medical
    # the visit of the medical team is not counted; the channel f2f has no answers of its own
    assert anna.affinity.select("channel", "contacts", "counted").rows() == [
        ("email", 1, "same channel"),
        ("f2f", 1, "any response"),
    ]
    assert anna.events.equals(story(log_of(EVENTS, CASES), "anna").events)
    assert ("group", "Readers (strength 90 %)") in anna.facts
    page = anna._repr_html_()
    assert "&lt;b&gt;52 weeks&lt;/b&gt;" in page
    assert "<b>52" not in page


def test_affinity_is_the_same_from_a_run_and_from_its_log(run: Path, log: EventLog) -> None:
    (run / "suggestions" / "affinity.parquet").unlink()
    assert story(run, "anna").affinity.equals(story(log, "anna").affinity)


def test_a_case_without_events_has_a_short_story(run: Path) -> None:
    clara = story(run, "clara")
    assert clara.events.height == 0
    assert clara.attributes == {"specialty": "Oncology"}
    assert clara.rows == []
    assert "clara" in clara._repr_html_()


def test_an_unknown_case_names_the_nearest(run: Path, log: EventLog, tmp_path: Path) -> None:
    for source in (run, log):
        with pytest.raises(RunError, match="no case 'anan'") as problem:
            story(source, "anan")
        assert "anna" in problem.value.hint
    with pytest.raises(RunError) as problem:
        story(log, "")
    assert problem.value.hint
    with pytest.raises(RunError, match="holds no log"):
        story(tmp_path / "nowhere", "anna")


def test_a_log_without_a_clock_has_a_story_too() -> None:
    order = log_of([("a", 0, "x"), ("a", 1, "y")], timed=False)
    assert [row[1] for row in story(order, "a").rows] == ["x", "y"]
    assert story(order, "a").affinity.height == 0


def test_affinity_by_hand() -> None:
    # email: a answers 4 of 4, b 0 of 4 (her portal visits are on another channel), usual 4 of 8;
    # the fifth email of a is 5 days old: its window is not over
    events: list[tuple[Any, ...]] = []
    for i in range(4):
        events += [("a", 20 * i, "email_sent"), ("a", 20 * i + 1, "email_open")]
        events += [("b", 20 * i, "email_sent"), ("b", 20 * i + 1, "portal_visit")]
    events += [("a", 85, "email_sent"), ("b", 90, "portal_visit")]
    settings = SuggestSettings()
    table = channel_affinity(read_timeline(log_of(events), settings), settings)
    assert table.select("case_id", "contacts", "responses", "usual", "counted").rows() == [
        ("a", 4, 4, 0.5, "same channel"),
        ("b", 4, 0, 0.5, "same channel"),
    ]
    a, b = table["affinity"].to_list()
    assert 0.5 < a < 1
    assert a == pytest.approx(1 - b)
    assert table.select(
        ((pl.col("low") < pl.col("affinity")) & (pl.col("affinity") < pl.col("high"))).all()
    ).item()


def test_content_affinity_by_hand() -> None:
    # Safety: a likes 3 of 3, b none of 3, usual 3 of 6; a hears of Dosing once; medical talk does not count
    rows: list[tuple[Any, ...]] = []
    for i in range(3):
        liked, refused = {"reaction": "positive"}, {"reaction": "negative"}
        rows += [("a", i, "reaction_positive", {"content": "Safety", **liked})]
        rows += [("b", i, "reaction_negative", {"content": "Safety", **refused})]
    rows += [("a", 5, "reaction_positive", {"content": "Dosing", "reaction": "positive"})]
    rows += [("a", 6, "msl_question", {"content": "Safety", "reaction": "negative", "team": "medical"})]
    table = content_affinity(log_of(rows).events, SuggestSettings())
    assert table.select("case_id", "content", "reactions", "positive", "usual").rows() == [
        ("a", "Dosing", 1, 1, 1.0),
        ("a", "Safety", 3, 3, 0.5),
        ("b", "Safety", 3, 0, 0.5),
    ]
    safety = table.filter(content="Safety")
    assert safety["affinity"][0] == pytest.approx(1 - safety["affinity"][1])
    assert content_affinity(log_of(rows).events.drop("reaction"), SuggestSettings()).height == 0


def test_the_page_shows_stage_pressure_neighbours_and_what_is_suggested(run: Path) -> None:
    (run / "stages").mkdir()
    (run / "pressure").mkdir()
    (run / "models").mkdir()
    since = START + dt.timedelta(days=3)
    standing = {"case_id": "anna", "stage": "trial", "probability": 0.8, "since": since}
    pl.DataFrame([{**standing, "evidence": "portal"}]).write_parquet(run / "stages" / "stages.parquet")
    band = {"case_id": "anna", "contacts": 4, "low": 1.0, "high": 3.0, "verdict": "over"}
    pl.DataFrame([band]).write_parquet(run / "pressure" / "cases.parquet")
    # ben points the same way as anna, clara across: cosine 1 and 0
    vectors = {"case_id": ["anna", "ben", "clara"], "vector": [[1.0, 1.0], [2.0, 2.0], [1.0, -1.0]]}
    pl.DataFrame(vectors).write_parquet(run / "models" / "embeddings.parquet")
    anna = story(run, "anna")
    assert anna.alike.select("case_id", "likeness").rows() == [("ben", 1.0), ("clara", 0.0)]
    facts = dict(anna.facts)
    assert facts["stage"] == "trial (80 % sure) since 9 Jan 2025, after portal"
    assert facts["contact pressure"] == "over: 4 contacts, the group answers best at 1.0–3.0"
    assert anna.ages == {"hand": None} or "data of hand" in facts
    whole = page(anna)
    for words in ("Most alike", "ben", "What comes next", "over: 4 contacts", "Held back", "hand:1"):
        assert words in whole
    assert whole.startswith("<!doctype html>") and "http" not in whole


def test_the_command_prints_html_and_json(run: Path) -> None:
    (run / "manifest.json").write_text("{}")
    found = CliRunner().invoke(cli, ["view", str(run), "anna", "--html"])
    assert found.exit_code == 0 and found.output.startswith("<!doctype html>")
    told = json.loads(CliRunner().invoke(cli, ["view", str(run), "anna", "--json"]).output)
    assert told["case_id"] == "anna" and told["alike"] == [] and told["stage"] is None
