"""Contacts planned against contacts made, attainment beside response, a cycle plan on simulated extracts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio import api, sources
from behavio.conformance import Conformance, ConformanceSettings, Frequency, Plan, conform, read_plan
from behavio.conformance.choose import Chooser
from behavio.conformance.contacts import contacts
from behavio.errors import JobError
from behavio.job import job_from
from behavio.log import PLAN_SCHEMA
from behavio.sequences import SequenceSet
from behavio.simulate import SimulateSettings, simulate

CHANNEL = {"call_f2f": "f2f", "email_sent": "email", "portal_visit": "portal", "message_shown": "f2f"}
INBOUND = ("portal_visit",)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def log_of(rows: list[tuple[str, str, str]], brand: str | None = None) -> SequenceSet:
    frame = pl.DataFrame(
        {
            "case_id": [r[0] for r in rows],
            "activity": [r[1] for r in rows],
            "timestamp": [r[2] for r in rows],
            "channel": [CHANNEL[r[1]] for r in rows],
            "direction": ["inbound" if r[1] in INBOUND else "outbound" for r in rows],
            "brand": [brand or "X"] * len(rows),
        }
    )
    return SequenceSet.from_log(api.read(frame))


def goals(rows: list[tuple[str, str, float, str, str | None]], brand: str | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "case_id": [r[0] for r in rows],
            "channel": [r[1] for r in rows],
            "brand": pl.Series([brand] * len(rows), dtype=pl.String),
            "goal": [float(r[2]) for r in rows],
            "start": pl.Series([day(r[3]) for r in rows], dtype=pl.Datetime("us", "UTC")),
            "end": pl.Series(
                [None if r[4] is None else day(r[4]) for r in rows], dtype=pl.Datetime("us", "UTC")
            ),
            "source": ["plan"] * len(rows),
            "source_row": list(range(len(rows))),
        },
        schema=PLAN_SCHEMA,
    )


def held(log: SequenceSet, plan: pl.DataFrame, **settings: object) -> Conformance:
    return conform(log, Plan(goals=plan), ConformanceSettings(**settings))  # type: ignore[arg-type]


def test_under_over_met_and_never_contacted() -> None:
    # January to March, two visits planned for each; the newest event lies in May, so the cycle is over
    log = log_of(
        [
            ("met", "call_f2f", "2026-01-05"),
            ("met", "call_f2f", "2026-03-31 17:00"),  # the last day of the cycle counts
            ("met", "message_shown", "2026-01-05"),  # belongs to the visit
            ("met", "email_sent", "2026-02-01"),  # another channel
            ("over", "call_f2f", "2026-01-05"),
            ("over", "call_f2f", "2026-01-06"),
            ("over", "call_f2f", "2026-01-07"),
            ("under", "call_f2f", "2026-01-05"),
            ("under", "call_f2f", "2026-04-01"),  # after the cycle
            ("none", "portal_visit", "2026-05-01"),
        ]
    )
    plan = goals(
        [(c, "f2f", 2, "2026-01-01", "2026-03-31") for c in ("met", "over", "under", "none", "ghost")]
    )
    found = held(log, plan)
    cases = {r["case_id"]: r for r in found.cases.to_dicts()}
    assert {c: r["state"] for c, r in cases.items()} == {
        "met": "conforms", "over": "deviates", "under": "deviates", "none": "deviates", "ghost": "deviates",
    }  # fmt: skip
    assert [cases[c]["attainment"] for c in ("met", "over", "under", "none", "ghost")] == [1, 1.5, 0.5, 0, 0]
    rows = {r["case_id"]: r for r in found.deviations.to_dicts()}
    assert (
        rows["over"]["kind"] == "over" and rows["over"]["event"] == 2 and rows["over"]["timestamp"].day == 7
    )
    assert rows["under"]["kind"] == "under" and rows["under"]["due"] == day("2026-04-01")
    assert rows["none"]["kind"] == rows["ghost"]["kind"] == "skipped"
    (step,) = found.steps.to_dicts()
    assert step["step"] == "f2f · 2026-01-01 to 2026-03-31"
    assert (step["cases"], step["conforming"], step["deviating"], step["open"]) == (5, 1, 4, 0)
    # capped: 2 + 2 + 1 + 0 + 0 of 10; uncapped done 6
    assert step["attainment"] == 0.5 and step["done"] == 6 and step["attainment_low"] < 0.5
    assert "1 planned cases have no event at all" in found.notes


def test_a_running_cycle_is_pro_rata_and_open() -> None:
    # 100 days, 10 visits; the newest event is on day 50: 5 visits planned so far
    rows = [("half", "call_f2f", f"2026-01-{2 * k + 1:02d}") for k in range(5)]
    rows += [("behind", "call_f2f", "2026-01-03"), ("far", "call_f2f", "2026-02-20")]
    rows += [("over", "call_f2f", f"2026-01-{k + 1:02d}") for k in range(11)]
    plan = goals([(c, "f2f", 10, "2026-01-01", "2026-04-10") for c in ("half", "behind", "over")])
    found = held(log_of(rows), plan)
    cases = {r["case_id"]: r for r in found.cases.to_dicts()}
    assert cases["half"]["planned"] == 5
    assert cases["half"]["attainment"] == pytest.approx(1.0, abs=0.01)
    assert {c: cases[c]["state"] for c in ("half", "behind", "over", "far")} == {
        "half": "open", "behind": "open", "over": "deviates", "far": "not started",
    }  # fmt: skip
    assert any(n.startswith("1 of 3 goals of running periods are behind pro rata") for n in found.notes)


def test_tolerance_open_ends_and_goals_to_come() -> None:
    log = log_of(
        [("a", "call_f2f", "2026-01-05")] + [("b", "call_f2f", f"2026-01-{k + 1:02d}") for k in range(11)]
    )
    plan = goals([("b", "f2f", 10, "2025-12-01", "2026-01-08"), ("a", "f2f", 1, "2025-12-01", None)])
    assert held(log, plan).cases["state"].to_list() == ["conforms", "deviates"]  # 8 of 10 until the 8th
    assert held(log, plan, tolerance=0.2).cases["state"].to_list() == ["conforms", "conforms"]
    later = held(log, goals([("a", "f2f", 3, "2027-01-01", "2027-03-01")]))
    assert (
        later.cases["state"].to_list() == ["not started"] * 2 and "begin after the newest" in later.notes[0]
    )


def test_what_a_channel_means() -> None:
    log = log_of(
        [
            ("a", "call_f2f", "2026-01-05"),
            ("a", "message_shown", "2026-01-05"),
            ("a", "email_sent", "2026-01-06"),
            ("a", "portal_visit", "2026-01-07"),
        ]
    )
    chooser = Chooser(log)

    def chosen(channel: str, brand: str | None = None) -> list[str]:
        mask = contacts(chooser, channel, brand)
        return [log.vocabulary.names[t] for t in np.asarray(log.tokens)[mask]]

    assert chosen("*") == ["call_f2f", "email_sent"] and chosen("call") == ["call_f2f"]
    assert chosen("f2f|email") == ["call_f2f", "email_sent"] and chosen("portal") == ["portal_visit"]
    assert chosen("portal_*") == ["portal_visit"] and chosen("message_shown") == ["message_shown"]
    assert chosen("f2f", "Y") == [] and chosen("fax") == []
    assert any("brand 'Y'" in n for n in chooser.notes) and any("'fax'" in n for n in chooser.notes)


@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), min_size=1, max_size=25),
    plan=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 30), st.integers(1, 15)),
        min_size=1,
        max_size=4,
        unique_by=lambda r: r[0],
    ),
)
def test_every_contact_is_counted_in_its_period(
    events: list[tuple[int, int]], plan: list[tuple[int, int, int, int]]
) -> None:
    moments = [np.datetime64("2026-01-01") + np.timedelta64(d, "D") for _, d in events]
    log = log_of([(f"c{c}", "call_f2f", str(m)) for (c, _), m in zip(events, moments, strict=True)])
    first = np.datetime64("2026-01-01")
    rows = [(f"c{c}", "f2f", float(g), str(first + s), str(first + s + n - 1)) for c, g, s, n in plan]
    cases = {r["case_id"]: r for r in held(log, goals(rows)).cases.to_dicts()}
    now = max(d for _, d in events)
    for c, goal, start, length in plan:
        done = sum(k == c and start <= d < start + length for k, d in events)
        ended = start + length <= now
        row = cases[f"c{c}"]
        if start > now:
            assert row["state"] == "not started"
            continue
        wrong = done > goal or (ended and done < goal)
        assert row["state"] == ("deviates" if wrong else "conforms" if done >= goal else "open")
        assert row["done"] == done
        assert row["planned"] == np.floor(goal * min((now - start) / length, 1.0) + 1e-9)


def test_attainment_beside_response() -> None:
    # cycle January, one email planned, answers in February; "full" got it and came, "also" got it and did
    # not, "none" got none and came in March only: after the 30 days
    log = log_of(
        [
            ("also", "email_sent", "2026-01-05"),
            ("full", "email_sent", "2026-01-05"),
            ("full", "portal_visit", "2026-02-10"),
            ("full", "portal_visit", "2026-02-11"),
            ("none", "portal_visit", "2026-03-20"),
        ]
    )
    found = held(log, goals([(c, "email", 1, "2026-01-01", "2026-01-31") for c in ("also", "full", "none")]))
    rows = {r["band"]: r for r in found.response.to_dicts()}
    assert set(rows) == {"none", "as planned"}
    assert (rows["none"]["cases"], rows["none"]["responded"], rows["none"]["share"]) == (1, 0, 0.0)
    assert (rows["as planned"]["cases"], rows["as planned"]["share"]) == (2, 0.5)
    assert (
        rows["as planned"]["responses"] == 1.0
        and rows["as planned"]["low"] < 0.5 < rows["as planned"]["high"]
    )
    assert any("association" in n for n in found.notes)
    wide = held(log, goals([("none", "email", 1, "2026-01-01", "2026-01-31")]), within="60d")
    # 60 days before the newest event, 20 March, is 19 January: no whole email was due by then
    assert wide.response.height == 0
    more = held(log, goals([("none", "email", 2, "2026-01-01", "2026-01-31")]), within="60d")
    assert more.response.select("band", "responded").rows() == [
        ("none", 1)
    ]  # one of two was due, the answer in time
    only = held(log, goals([("full", "email", 1, "2026-01-01", "2026-01-31")]), response=("call_*",))
    assert only.response["responded"].to_list() == [0]


def test_a_table_of_planned_contacts_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text("hcp,channel,planned,from,to\na,f2f,2,2026-01-01,2026-03-31\nb,f2f,many,2026-01-01,\n")
    plan = read_plan(path)
    assert plan.goals.select("case_id", "channel", "goal").rows() == [("a", "f2f", 2.0)]
    assert plan.notes == ("1 of 2 rows of plan.csv are left out: the goal cannot be read",)
    path.write_text("case_id,activity,goal\na,call_f2f,1\n")
    (row,) = read_plan(path).goals.to_dicts()
    assert row["channel"] == "call_f2f"
    log = log_of([("a", "call_f2f", "2026-01-05"), ("a", "email_sent", "2026-01-06")])
    assert conform(log, read_plan(path)).cases["state"].to_list() == ["conforms"]


def test_a_goal_for_everybody_from_a_plan_file() -> None:
    log = log_of([("a", "call_f2f", "2026-01-05"), ("b", "call_f2f", "2026-03-05")])
    found = conform(log, Plan(frequency=(Frequency(1, "2026-01-01", "2026-01-31", "call"),)))
    assert dict(found.cases.select("case_id", "state").rows()) == {"a": "conforms", "b": "deviates"}
    with pytest.raises(JobError, match="nothing is planned"):
        conform(log, Plan())


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conform")
    simulate(SimulateSettings(n_cases=60, months=7, seed=3), folder)
    return folder / "extracts"


def cycle_plan(extracts: Path) -> None:
    """A multichannel cycle plan as Veeva exports it: two visits for every account in the first cycle."""
    accounts = pl.read_csv(extracts / "Account.csv", infer_schema=False)["Id"].to_list()
    part = {
        "MC_Cycle_vod__c": [("Y1", "2025-11-01", "2026-01-31", "In_Progress_vod")],
        "MC_Cycle_Plan_vod__c": [("P1", "Y1", "false")],
        "MC_Cycle_Channel_vod__c": [("K1", "Call2_vod__c", "Face to Face", "1")],
        "MC_Cycle_Plan_Target_vod__c": [(f"T{i}", a, "P1", "false") for i, a in enumerate(accounts)],
        "MC_Cycle_Plan_Channel_vod__c": [
            (f"C{i}", f"T{i}", "K1", "2", "false") for i in range(len(accounts))
        ],
    }
    columns = {
        "MC_Cycle_vod__c": "Id Start_Date_vod__c End_Date_vod__c Status_vod__c",
        "MC_Cycle_Plan_vod__c": "Id Cycle_vod__c IsDeleted",
        "MC_Cycle_Channel_vod__c": "Id Channel_Object_vod__c Channel_Label_vod__c Channel_Weight_vod__c",
        "MC_Cycle_Plan_Target_vod__c": "Id Target_vod__c Cycle_Plan_vod__c IsDeleted",
        "MC_Cycle_Plan_Channel_vod__c": (
            "Id Cycle_Plan_Target_vod__c Cycle_Channel_vod__c Channel_Activity_Goal_vod__c IsDeleted"
        ),
    }
    for name, rows in part.items():
        frame = pl.DataFrame(rows, schema=columns[name].split(), orient="row")
        frame.write_csv(extracts / f"{name}.csv")


def test_a_cycle_plan_against_simulated_visits(extracts: Path) -> None:
    cycle_plan(extracts)
    table = {
        "source": {"calls": {"kind": "veeva.call", "path": "Call2_vod__c.csv"}},
        "cases": {"kind": "veeva.account", "path": "Account.csv"},
        "plan": {"kind": "veeva.plan", "path": "MC_Cycle_Plan_Channel_vod__c.csv"},
    }
    log = sources.read_log(job_from(table, name="plan", base=extracts).inputs)
    assert log.plan.height and set(log.plan["channel"]) == {"f2f"}
    found = conform(SequenceSet.from_log(log), Plan(goals=log.plan))
    start, end = day("2025-11-01"), day("2026-02-01")
    visits = log.events.filter(
        (pl.col("activity") == "call_f2f") & (pl.col("timestamp") >= start) & (pl.col("timestamp") < end)
    )
    made = dict(visits.group_by("case_id").len().rows())
    # the plans of a merged account are those of the account that stayed: its goals add up
    planned = dict(log.plan.group_by("case_id").agg(pl.col("goal").sum()).rows())
    rows = found.cases.filter(pl.col("state") != "not started")
    assert set(rows["case_id"]) == set(planned) and sum(planned.values()) == 2 * log.plan.height
    for case, done, state in rows.select("case_id", "done", "state").rows():
        assert done == made.get(case, 0) and (state == "conforms") == (done == planned[case])
    (step,) = found.steps.to_dicts()
    reached = sum(min(made.get(c, 0), goal) for c, goal in planned.items())
    assert step["attainment"] == pytest.approx(reached / sum(planned.values()))
    same, notes = sources.read_planned(extracts / "MC_Cycle_Plan_Channel_vod__c.csv")
    assert same.drop("source").equals(log.plan.drop("source")) and notes == ()
