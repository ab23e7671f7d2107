"""Medical and commercial suggestions stand in separate queues, and neither knows what is the other's."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from oracles_suggest import START, log_of, opt_in
from test_suggest import LOOSE, world

from behavio.cli import cli
from behavio.errors import JobError
from behavio.log import EventLog
from behavio.suggest import Found, SuggestSettings, TriggerRule, write_suggestions
from behavio.suggest.make import Suggestions, make_suggestions
from behavio.view import story

MSL = {"actor_id": "msl1", "message": "Dosing study"}
QUESTION = {"content": "Renal dosing"}
PROMOTIONAL = {"probability", "base_probability", "gain", "brand", "message", "rank", "priority", "q_value"}


def made(events: list[tuple[Any, ...]], settings: SuggestSettings = LOOSE, **more: Any) -> Suggestions:
    return make_suggestions(log_of(events, **more), None, None, settings, lambda _w, _s: None, Found())


def queue(*own: tuple[Any, ...], settings: SuggestSettings = LOOSE, **more: Any) -> pl.DataFrame:
    return made([*world(), *own], settings, **more).tables["medical"]


def test_an_open_question_waits_in_the_medical_queue() -> None:
    # h00 asked on day 180 and was not answered; h01 was, on day 185; h02 asked on day 20: too long ago
    own = [
        ("h00", 150.0, "msl_visit", MSL),
        ("h00", 180.0, "msl_question", QUESTION),
        ("h01", 180.0, "msl_question", QUESTION),
        ("h01", 185.0, "msl_visit", MSL),
        ("h02", 20.0, "msl_question", QUESTION),
    ]
    found = queue(*own)
    assert found["case_id"].to_list() == ["h00"]
    row = found.row(0, named=True)
    assert (row["action"], row["channel"], row["owner_id"]) == ("msl_visit", "f2f", "msl1")
    assert row["waiting_days"] == 20 and row["trigger"] is None
    assert row["asked_at"] == START + dt.timedelta(days=180)
    last = (START + dt.timedelta(days=150)).day
    assert (
        row["reason"].startswith("Asked: “msl question” (Renal dosing) on ") and f" {last} " in row["reason"]
    )
    # every fact can be found again: the question and the last medical contact, and no row of a rep
    rows = {f"hand:{len(world()) + k}" for k in (1, 2)}
    assert set(row["evidence_rows"]) == rows


def test_the_queue_knows_nothing_promotional() -> None:
    found = queue(("h00", 180.0, "msl_question", QUESTION))
    assert not PROMOTIONAL & set(found.columns)
    # a case that answers every visit comes no sooner: whoever asked first does
    two = queue(
        ("h05", 185.0, "msl_question"), ("h03", 190.0, "msl_question"), ("h09", 180.0, "msl_question")
    )
    assert two["case_id"].to_list() == ["h09", "h05", "h03"]


def test_no_medical_fact_reaches_the_commercial_tables() -> None:
    own = [("h00", 180.0, "msl_question", QUESTION), ("h00", 150.0, "msl_visit", MSL)]
    with_them, without = made([*world(), *own]), made(world())
    assert "medical" not in without.tables and with_them.tables["medical"].height == 1
    suggested = with_them.tables["suggestions"]
    assert suggested.filter(case_id="h00").height > 0
    medical_rows = {f"hand:{len(world()) + k}" for k in (1, 2)}
    for name in ("suggestions", "plan", "missing", "affinity", "content"):
        text = with_them.tables[name].write_json()
        assert not any(word in text for word in ("msl", "Msl", "Renal", "Dosing")), name
    assert not medical_rows & {r for rows in suggested["evidence_rows"] for r in rows}
    # what was asked changes no number of a commercial suggestion
    asked = made([*world(), own[0]]).tables["suggestions"]
    same = ["case_id", "action", "probability", "base_probability", "evidence_n", "gain", "reason"]
    assert asked.select(same).equals(without.tables["suggestions"].select(same))
    held = with_them.tables["suppressed"].filter(action="msl_visit")
    assert set(held["reason"]) == {"medical_firewall"}
    assert (
        held.select("probability", "base_probability", "evidence_n").null_count().row(0) == (held.height,) * 3
    )


def test_a_visit_by_the_medical_team_teaches_nothing_about_visits() -> None:
    # the same activity by both teams: medical visits that are always followed by a portal visit
    own: list[tuple[Any, ...]] = []
    for k in range(60):
        own.append((f"h{k:02d}", 100.0, "call_f2f", {"team": "medical", "actor_id": "msl1"}))
    before, after = made(world()), made([*world(), *own])
    row = after.tables["suggestions"].filter(action="call_f2f").row(0, named=True)
    assert row["base_share"] is not None
    n = {t: m.facts["n_touches"] for t, m in (("before", before), ("after", after))}
    assert n["after"] == n["before"]


def test_the_model_tells_reps_nothing_about_medical_steps() -> None:
    log = log_of([*world(), ("h00", 180.0, "msl_question", QUESTION)])
    ids = log.events["case_id"].unique().sort()
    steps = pl.DataFrame(
        {
            "case_id": [c for c in ids for _ in range(2)],
            "rank": [1, 2] * len(ids),
            "activity": ["msl_question", "portal_visit"] * len(ids),
            "probability": [0.6, 0.3] * len(ids),
        }
    )
    found = make_suggestions(log, steps, None, LOOSE, lambda _w, _s: None, Found()).tables["suggestions"]
    assert set(found["next_activity"]) == {"portal_visit"} and set(found["next_probability"]) == {0.3}


@pytest.mark.parametrize(
    ("cases", "consents", "rule"),
    [
        ({"status": "Inactive_vod"}, (), "inactive_account"),
        ({"data_privacy_opt_out__v": "true"}, (), "privacy_opt_out"),
        ({"do_not_call": "Yes_vod"}, (), "do_not_call"),
        ({}, (opt_in("h00", channel="f2f", state="opt_out"),), "no_consent"),
        ({}, (opt_in("h00", channel="f2f"),), None),
    ],
)
def test_rules_that_guard_people_hold_for_the_medical_team(
    cases: dict[str, str], consents: tuple[dict[str, Any], ...], rule: str | None
) -> None:
    table = pl.DataFrame({"case_id": ["h00"], **{k: [v] for k, v in cases.items()}})
    own = ("h00", 180.0, "msl_question")
    # a contact of a month ago makes the answer a visit
    found = made([*world(), ("h00", 150.0, "msl_visit", MSL), own], LOOSE, cases=table, consents=consents)
    held = found.tables["medical_suppressed"]
    assert held["reason"].to_list() == ([] if rule is None else [rule])
    assert found.tables["medical"].height == (rule is None)


def test_a_question_is_answered_whatever_the_rep_did_today_a_trigger_waits() -> None:
    visit = ("h00", 199.5, "call_f2f", {"actor_id": "rep0"})
    own = [("h00", 150.0, "msl_visit", MSL), visit]
    assert queue(*own, ("h00", 180.0, "msl_question")).height == 1
    rule = TriggerRule("portal_visit in 300d", "msl_visit", queue="medical")
    asked = replace(LOOSE, trigger=(TriggerRule("msl_visit in 60d", "msl_visit", "follow up", "medical"),))
    held = made([*world(), *own], asked).tables["medical_suppressed"]
    assert held.select("case_id", "reason").rows() == [("h00", "stacking")]
    found = queue(("h00", 150.0, "msl_visit", MSL), settings=asked)
    assert found.select("case_id", "trigger").rows() == [("h00", "follow up")]
    assert found["reason"][0].startswith(
        "Rule “follow up” holds; last contact by the medical team: msl visit on"
    )
    # a trigger of its own queue sees what cases did, but no contact by sales or marketing
    assert queue(settings=replace(LOOSE, trigger=(rule,))).height > 10
    calls = TriggerRule("call_f2f in 300d", "msl_visit", queue="medical")
    assert queue(settings=replace(LOOSE, trigger=(calls,))).height == 0


def test_a_medical_event_triggers_nothing_commercial() -> None:
    asked = replace(LOOSE, trigger=(TriggerRule("msl_question in 60d", "email_sent"),))
    found = made([*world(), ("h00", 180.0, "msl_question", QUESTION)], asked)
    assert found.tables["suggestions"]["trigger"].null_count() == found.tables["suggestions"].height
    # the same said of a portal visit does ask
    asked = replace(LOOSE, trigger=(TriggerRule("portal_visit in 60d", "email_sent"),))
    assert made(world(), asked).tables["suggestions"]["trigger"].drop_nulls().len() > 0
    with pytest.raises(JobError, match="'msl' is unknown") as refused:
        TriggerRule("portal_visit", "email_sent", queue="msl")
    assert refused.value.hint == "one of commercial, medical"


def test_requests_may_be_named_and_days_are_capped() -> None:
    named = replace(LOOSE, requests=("portal_visit",), max_per_owner_day=1)
    found = made([*world(), *((f"h{k:02d}", 100.0, "msl_visit", MSL) for k in range(60))], named)
    table, held = found.tables["medical"], found.tables["medical_suppressed"]
    table = table.filter(pl.col("owner_id").is_not_null())  # nobody of the team knows the last case
    assert table.group_by("owner_id", "due_from").len()["len"].max() == 1
    assert table.height == 5 and set(held["reason"]) == {"max_per_owner_day"}
    # those who wait longest have the days
    assert table["waiting_days"].to_list() == sorted(table["waiting_days"], reverse=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    own = [("h00", 150.0, "msl_visit", MSL), ("h00", 180.0, "msl_question", QUESTION)]
    log: EventLog = log_of([*world(), *own])
    log.write(folder / "log")
    (folder / "suggestions").mkdir()
    write_suggestions(log, None, None, None, LOOSE, 7, folder / "suggestions")  # type: ignore[arg-type]
    (folder / "manifest.json").write_text("{}")
    return folder


def test_a_view_shows_one_queue(run: Path) -> None:
    rep, msl = story(run, "h00"), story(run, "h00", queue="medical")
    assert set(rep.suggestions["action"]) <= {"call_f2f", "email_sent"} and rep.suggestions.height
    assert msl.suggestions["action"].to_list() == ["msl_visit"]
    assert msl.affinity.is_empty() and msl.next_steps.is_empty() and msl.pressure is None
    with pytest.raises(JobError, match="no queue 'msl'"):
        story(run, "h00", queue="msl")


def test_the_commands_keep_the_queues_apart(run: Path) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(cli, [*words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "msl_visit" not in said("suggestions", str(run), "--csv")
    medical = said("suggestions", str(run), "--medical", "--csv")
    assert medical.count("msl_visit") == 1 and "call_f2f" not in medical and "probability" not in medical
    assert "Suggested: msl visit" in said("view", str(run), "h00", "--queue", "medical")
    assert "Suggested: msl visit" not in said("view", str(run), "h00")
