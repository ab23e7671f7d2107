"""Goals declared up front: met, not met or not measurable; the run before against what happened since."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from small_world import CALLS, write_calls

from behavio.cli import cli
from behavio.errors import JobError, RunError
from behavio.goals import Goal, GoalSettings, goals
from behavio.job import read_job
from behavio.log import EventLog
from behavio.run import run
from behavio.touches import ratio, touches

START = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)


def log_of(rows: list[tuple[str, str, float, str, str]]) -> EventLog:
    """(case, activity, day, direction, channel)."""
    table = [(c, a, START + dt.timedelta(days=d), w, ch) for c, a, d, w, ch in rows]
    return EventLog.from_frame(
        pl.DataFrame(table, ["case_id", "activity", "timestamp", "direction", "channel"], orient="row")
    )


def visits(n: int, answered: int, last: float = 120) -> EventLog:
    """n cases visited on days 0, 50 and 100; `answered` of them answer each visit two days later."""
    rows = [("z", "call_f2f", last, "outbound", "f2f")]
    for i in range(n):
        for day in (0.0, 50.0, 100.0):
            rows.append((f"h{i:03d}", "call_f2f", day, "outbound", "f2f"))
            if i < answered:
                rows.append((f"h{i:03d}", "portal_visit", day + 2, "inbound", "portal"))
    return log_of(rows)


def verdicts(log: EventLog, *wanted: Goal, groups: pl.DataFrame | None = None) -> list[str]:
    return goals(log, groups, GoalSettings(goal=wanted)).goals["verdict"].to_list()


def test_a_contact_is_answered_by_what_comes_within_its_time() -> None:
    log = log_of(
        [
            ("a", "call_f2f", 0, "outbound", "f2f"),
            ("a", "portal_visit", 3, "inbound", "portal"),  # after 3 days: an answer within 7
            ("b", "call_f2f", 0, "outbound", "f2f"),
            ("b", "portal_visit", 8, "inbound", "portal"),  # too late
            ("b", "message_shown", 9, "outbound", "f2f"),  # part of a contact, none of its own
            ("b", "email_sent", 9, "outbound", "email"),  # the log ends first: not settled
        ]
    )
    found = touches(log.events, "7d")
    assert found.select("case_id", "activity", "answered", "settled").rows() == [
        ("a", "call_f2f", True, True),
        ("b", "call_f2f", False, True),
        ("b", "email_sent", False, False),
    ]
    with pytest.raises(JobError, match="is no activity"):
        touches(log.events, "7d", ["portal"])


def test_a_ratio_takes_its_interval_from_the_cases() -> None:
    value, low, high = ratio(np.array([1, 0, 2, 1]), np.array([2, 2, 2, 2]))
    assert value == 0.5 and low < 0.5 < high
    assert ratio(np.zeros(30), np.ones(30))[1:] == pytest.approx((0.0, 0.1135), abs=2e-3)  # Wilson, 0 of 30
    assert np.isnan(ratio(np.zeros(3), np.zeros(3))[0])


def test_a_goal_is_met_missed_or_not_measurable() -> None:
    # 80 of 100 cases answer the visit of day 100: 80 % (about 72 to 88), the visit of day 120 is not settled
    log = visits(100, 80)
    assert verdicts(
        log,
        Goal("a", at_least=0.6),
        Goal("b", at_least=0.95),
        Goal("c", at_least=0.8),
        Goal("d", at_most=0.9),
        Goal("e", at_most=0.5),
    ) == ["met", "not met", "not measurable", "met", "not met"]
    row = goals(log, None, GoalSettings(goal=(Goal("a", at_least=0.6),))).goals.row(0, named=True)
    assert row["value"] == pytest.approx(0.8) and 0.7 < row["low"] < 0.8 < row["high"] < 0.9
    assert row["n_cases"] == 100


def test_every_measure_by_hand() -> None:
    log = visits(100, 80)  # 101 cases: z too
    settings = GoalSettings(
        goal=(
            Goal("reached", "reached", at_least=0.5),
            Goal("active", "active", at_least=0.5),
            Goal("contacts", "contacts", at_least=0.1),
            Goal("outcome", "outcome", at_least=0.5, activity="portal_visit", last="30d"),
            Goal("email", "reached", at_least=0.5, channel="portal"),
        )
    )
    value = goals(log, None, settings).goals["value"].to_list()
    assert value[0] == pytest.approx(1.0)  # all contacted within 90 days, z on day 120
    assert value[1] == pytest.approx(80 / 101)
    assert value[2] == pytest.approx((200 + 1) / 101 / (90 / 28))
    assert value[3] == pytest.approx(80 / 101)
    assert value[4] == 0.0  # nobody is contacted through the portal


def test_what_cannot_be_measured_says_why() -> None:
    log = visits(9, 9)
    groups = pl.DataFrame({"case_id": [f"h{i:03d}" for i in range(9)], "segment": ["Few"] * 9})
    asked = GoalSettings(
        goal=(
            Goal("few", at_least=0.5, group="Few"),
            Goal("nobody", at_least=0.5, group="None"),
            Goal("channel", at_least=0.5, channel="fax"),
            Goal("long", at_least=0.5, last="400d"),
        )
    )
    table = goals(log, groups, asked).goals
    assert table["verdict"].unique().to_list() == ["not measurable"]
    assert table["n_cases"].to_list() == [0, 0, 0, 0]  # k = 10: not even how many
    for reason, part in zip(table["reason"], ["fewer than 10", "Few", "f2f", "shorter"], strict=True):
        assert part in reason


def earlier(folder: Path, n: int, rng: np.random.Generator) -> Path:
    """A run until day 60: half of the cases have a visit suggested for days 61 to 120, two groups."""
    for name in ("log", "suggestions", "segments"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    ids = [f"h{i:03d}" for i in range(n)]
    last = pl.DataFrame({"timestamp": [START + dt.timedelta(days=60)]})
    last.write_parquet(folder / "log/events.parquet")
    chosen = [i for i in ids if rng.random() < 0.5]
    day = START.date()
    pl.DataFrame({"case_id": chosen, "action": ["call_f2f"] * len(chosen)}).with_columns(
        due_from=pl.lit(day + dt.timedelta(days=61)), expires_on=pl.lit(day + dt.timedelta(days=120))
    ).write_parquet(folder / "suggestions/suggestions.parquet")
    pl.DataFrame({"case_id": ids, "segment": ["Mail", "Visit"] * (n // 2)}).write_parquet(
        folder / "segments/segments.parquet"
    )
    return folder


def later(previous: Path, n: int, effect: float, rng: np.random.Generator, turned: bool = False) -> EventLog:
    """Visits before and after day 60, answered in 30 %, those suggested more; Mail gets emails."""
    chosen = set(pl.read_parquet(previous / "suggestions/suggestions.parquet")["case_id"])
    rows = [("h000", "call_f2f", 140.0, "outbound", "f2f")]
    for i in range(n):
        case, mail = f"h{i:03d}", i % 2 == 0
        for day in (5.0, 30.0, 55.0, 70.0, 85.0, 100.0):
            rows.append((case, "call_f2f", day, "outbound", "f2f"))
            more = effect if day > 60 and case in chosen else 0.0
            if rng.random() < 0.3 + more:
                rows.append((case, "portal_visit", day + 1, "inbound", "portal"))
            if (mail != (turned and day > 60)) and rng.random() < 0.8:
                rows.append((case, "email_sent", day + 9, "outbound", "email"))
    return log_of(rows)


def test_suggestions_that_worked_are_seen_and_groups_that_stayed(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    previous = earlier(tmp_path, 300, rng)
    now = pl.read_parquet(previous / "segments/segments.parquet")
    found = goals(later(previous, 300, 0.25, rng), now, GoalSettings(previous="x"), previous)
    row = found.suggested.filter(action="call_f2f").row(0, named=True)
    assert row["verdict"] == "answered more" and row["low"] < 0.25 < row["high"]
    assert row["answered_suggested"] == pytest.approx(0.55, abs=0.07)
    assert found.groups["verdict"].to_list() == ["still differs", "still differs"]
    assert found.groups["activity"].to_list() == ["email_sent", "email_sent"]
    assert found.groups["stayed"].to_list() == [1.0, 1.0]
    assert "what was suggested was chosen, not drawn by lot: an association" in found.notes


def test_groups_that_turned_round_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    previous = earlier(tmp_path, 300, rng)
    log = later(previous, 300, 0.0, rng, turned=True)
    found = goals(log, None, GoalSettings(previous="x"), previous)
    assert found.groups["verdict"].to_list() == ["turned round", "turned round"]


def test_no_effect_gives_intervals_that_hold_zero(tmp_path: Path) -> None:
    """Asked: at least 93 of 100 intervals hold zero where suggestions change nothing."""
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(100):
        previous = earlier(tmp_path, 120, rng)
        log = later(previous, 120, 0.0, rng)
        row = goals(log, None, GoalSettings(previous="x"), previous).suggested.row(0, named=True)
        hits += row["low"] <= 0 <= row["high"]
    assert hits >= 93


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"measure": "joy", "at_least": 0.5}, "does not exist"),
        ({}, "at_least or at_most"),
        ({"at_least": 0.5, "at_most": 0.6}, "at_least or at_most"),
        ({"at_least": 1.5}, "asks for 1.5"),
        ({"measure": "outcome", "at_least": 0.5}, "activity goes with"),
        ({"at_least": 0.5, "activity": "x"}, "activity goes with"),
    ],
)
def test_a_goal_that_means_nothing_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(JobError, match=said):
        Goal("g", **wrong)  # type: ignore[arg-type]
    with pytest.raises(JobError, match="two goals"):
        GoalSettings(goal=(Goal("g", at_least=0.1), Goal("g", at_least=0.2)))
    with pytest.raises(JobError, match="no goal and no previous"):
        GoalSettings()


JOB = CALLS + '[segments]\nkind = "kmeans"\nk = 2\n[report]\n'
GOALS = """
[goals]
responses = ["email_open", "reaction_positive"]
[[goals.goal]]
name = "emails are answered"
channel = "email"
at_least = 0.3
[[goals.goal]]
name = "everybody is reached"
measure = "reached"
at_least = 0.99
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_calls(tmp_path_factory.mktemp("goals"))
    calls = pl.read_csv(folder / "calls.csv")
    channel = (
        pl.when(pl.col("activity").str.starts_with("email")).then(pl.lit("email")).otherwise(pl.lit("f2f"))
    )
    calls.with_columns(channel=channel).write_csv(folder / "calls.csv")
    job = JOB.replace('{ direction = "direction" }', '{ direction = "direction", channel = "channel" }')
    (folder / "plain.toml").write_text(job, encoding="utf-8")
    (folder / "goals.toml").write_text(job + GOALS, encoding="utf-8")
    return folder


def test_a_run_with_goals_says_so_and_without_is_as_before(world: Path) -> None:
    plain = run(read_job(world / "plain.toml"), world / "plain")
    with_goals = run(read_job(world / "goals.toml"), world / "goals")
    for stage in ("log", "segments"):
        before, after = (r.manifest["stages"][stage]["outputs"] for r in (plain, with_goals))
        assert before == after
    (world / "run.toml").write_text((world / "plain.toml").read_text())
    assert not (plain.folder / "goals").exists()
    again = run(read_job(world / "plain.toml"), world / "goals")  # switched off: as if it had never been
    assert not (again.folder / "goals").exists()
    for stage, made in plain.manifest["stages"].items():
        assert again.manifest["stages"][stage]["outputs"] == made["outputs"], stage
    run(read_job(world / "goals.toml"), world / "goals")
    shown = CliRunner().invoke(cli, ["goals", str(world / "goals")])
    assert shown.exit_code == 0 and "emails are answered (email)" in shown.output
    rows = json.loads(CliRunner().invoke(cli, ["goals", str(world / "goals"), "--json"]).output)
    assert [r["measure"] for r in rows] == ["answered", "reached"]
    page = (world / "goals/report/report.html").read_text(encoding="utf-8")
    assert " goals are met" in page
    assert "emails are answered" in page


def test_a_run_that_is_not_there_is_refused(world: Path) -> None:
    job = world / "lost.toml"
    job.write_text((world / "plain.toml").read_text() + '[goals]\nprevious = "nowhere"\n')
    with pytest.raises(RunError, match="is not there"):
        run(read_job(job), world / "lost")
