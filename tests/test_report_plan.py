"""The section on plan and what happened: its sentences, its numbers, and what it says without a plan."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from behavio.conformance import ConformanceSettings, Plan, plan_of, write_conformance
from behavio.conformance.plan import ONE, TWO
from behavio.log import PLAN_SCHEMA, EventLog
from behavio.report import ReportSettings, write_report
from behavio.report.sections.plan import PHRASES, _sentence
from behavio.sequences import SequenceSet
from tests.run_folder import START, build

FLOW = {
    "name": "Launch",
    "rules": ["response(email_open, portal_visit) within 30d"],
    "flow": [{"name": "wave", "step": [{"activity": "email_sent"}, {"activity": "call_*", "within": "7d"}]}],
}


def page(tmp_path: Path, plan: Plan | None) -> str:
    run = build(tmp_path / "run")
    if plan is not None:
        log = SequenceSet.from_log(EventLog.read(run / "log"))
        write_conformance(log, plan, ConformanceSettings(), run / "journeys")
    write_report(run, ReportSettings(), tmp_path / "report")
    return (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def section(html: str) -> str:
    found = re.search(r'<section[^>]*id="plan".*?</section>', html, re.S)
    assert found is not None
    return found[0]


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_run_without_a_plan_says_what_it_takes(tmp_path: Path) -> None:
    html = page(tmp_path, None)
    assert 'id="plan"' not in html and "it takes a call plan as a source" in html


def test_the_step_left_out_most_is_the_finding(tmp_path: Path) -> None:
    html = section(page(tmp_path, plan_of(FLOW)))
    said = text(html)
    assert "The step left out most is any call" in said and "“Launch”" in said
    assert "After email open comes portal within 30 days" in said
    steps = pl.read_parquet(tmp_path / "run/journeys/conformance_steps.parquet")
    row = steps.filter(step="call_*").row(0, named=True)
    shown = pl.read_csv(tmp_path / "report/tables/plan_steps.csv").filter(step="any call").row(0, named=True)
    assert shown["cases"] == row["cases"] and shown["skipped"] == row["skipped"]
    assert shown["share"] == pytest.approx(row["share"])
    facts = pl.read_csv(tmp_path / "report/tables/facts.csv", infer_schema=False)
    value = facts.filter(fact="plan_most_skipped")["value"].item()
    assert float(value) == pytest.approx(row["skipped"] / row["cases"])


def test_contacts_due_and_answers_beside_them(tmp_path: Path) -> None:
    run = build(tmp_path / "again")
    ids = EventLog.read(run / "log").events["case_id"].unique().sort()
    goals = pl.DataFrame(
        {
            "case_id": ids,
            "channel": "call",
            "brand": pl.Series([None] * len(ids), dtype=pl.String),
            "goal": 1.0,
            "start": START - timedelta(days=1),
            "end": START + timedelta(days=30),
            "source": "plan",
            "source_row": range(len(ids)),
        },
        schema=PLAN_SCHEMA,
    )
    said = text(section(page(tmp_path, Plan("contacts", goals=goals))))
    steps = pl.read_parquet(tmp_path / "run/journeys/conformance_steps.parquet").row(0, named=True)
    assert f"Of the contacts due so far, {round(100 * steps['attainment'])} % were made" in said.replace(
        "\xa0", " "
    )
    assert "An association" in said and "HCP periods" in said
    bands = pl.read_csv(tmp_path / "report/tables/plan_response.csv")
    assert (bands["cases"] >= 10).all() and bands["band"].to_list()[0] == "none"


def test_small_numbers_are_left_out(tmp_path: Path) -> None:
    page(tmp_path, plan_of({"rules": ["at_most(email_sent, 2)", "precedence(email_click, portal_download)"]}))
    rows = pl.read_csv(tmp_path / "report/tables/plan_steps.csv")
    assert rows.height == 1, "no HCP downloads anything: the rule is called for by nobody"
    for name in ("skipped", "over", "extra"):
        if name in rows.columns:
            assert (rows[name].fill_null(10) >= 10).all() or (rows[name] == 0).all()


def test_every_rule_has_words() -> None:
    assert set(PHRASES) == {*ONE, *TWO}
    assert _sentence("not_succession(email_unsubscribe, email_sent)") == "No email sent after unsubscribe"
    assert _sentence("at_most(call_*, 2)") == "Any call: 2 times at most"
    assert _sentence("our own name") == "our own name"
