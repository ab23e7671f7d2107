"""Audiences: who fits a question, counted first, exported with consent applied."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.audience import SMALLEST, audience, audience_columns, saved_audiences
from behavio.cli import cli
from behavio.errors import JobError, RunError
from behavio.log import CONSENT_SCHEMA

NOW = datetime(2026, 3, 1, tzinfo=UTC)
N = 40


def day(back: float) -> datetime:
    return NOW - timedelta(days=back)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 HCPs h00 to h39. Each was called as many days ago as its number says, even ones opened a mail
    40 days ago; the first 25 are cardiologists. h00–h09 opted out of email, h10–h29 opted in, h05 closed."""
    folder = tmp_path_factory.mktemp("run")
    ids = [f"h{i:02d}" for i in range(N)]
    rows = [(h, "call", day(i), "f2f", "outbound") for i, h in enumerate(ids)]
    rows += [(h, "mail_open", day(40), "email", "inbound") for h in ids[::2]]
    rows += [(h, "mail", day(41), "email", "outbound") for h in ids]
    names = ["case_id", "activity", "timestamp", "channel", "direction"]
    (folder / "log").mkdir()
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(folder / "log" / "events.parquet")
    cases = {"case_id": ids, "specialty": ["Cardiology"] * 25 + ["Nephrology"] * 15}
    cases |= {"segment": ["A"] * N, "status": ["Inactive_vod" if i == 5 else "Valid_vod" for i in range(N)]}
    pl.DataFrame(cases).write_parquet(folder / "log" / "cases.parquet")
    said = [
        (h, "email", "opt_out" if i < 10 else "opt_in", day(90), None, "c", i, None)
        for i, h in enumerate(ids[:30])
    ]
    pl.DataFrame(said, schema=CONSENT_SCHEMA, orient="row").write_parquet(folder / "log" / "consents.parquet")
    (folder / "segments").mkdir()
    labels = {"case_id": ids, "segment": ["Callers"] * 28 + ["Readers"] * 12, "strength": [0.9] * N}
    pl.DataFrame(labels).write_parquet(folder / "segments" / "segments.parquet")
    (folder / "next").mkdir()
    steps = [(h, "mail_open", i / N) for i, h in enumerate(ids)]
    pl.DataFrame(steps, schema=["case_id", "activity", "probability"], orient="row").write_parquet(
        folder / "next" / "next_steps.parquet"
    )
    (folder / ".stages").mkdir()
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("specialty = 'Cardiology'", 25),
        ("segment = 'Readers'", 12),
        ("case_segment = 'A'", 40),  # the attribute of the same name gives way
        ("days_since_last > 20", 19),  # h21 to h39
        ("n_mail_open = 0", 20),  # the odd ones
        ("days_since_mail_open is null", 20),
        ("days_since_call between 10 and 19.5 and n_mail_open = 1", 5),  # h10, h12, …, h18
        ("p_mail_open >= 0.5", 20),  # h20 to h39
        ("contacts_28d = 1", 28),  # called less than 28 days before: h00 to h27
        ("specialty = 'Cardiology' and (events = 3 or segment = 'Readers')", 13),  # h00, h02, …, h24
        ("specialty = 'Cardiologie'", 0),
    ],
)
def test_questions_are_answered_case_by_case(run: Path, where: str, expected: int) -> None:
    found = audience(run, where)
    assert (found.members.height, found.n_cases) == (expected, N)
    assert found.members["case_id"].is_sorted()


@settings(max_examples=40, deadline=None)
@given(
    low=st.integers(0, 45),
    mails=st.integers(0, 2),
    specialty=st.sampled_from(["Cardiology", "Nephrology", "Ärztin's"]),
)
def test_answers_are_those_of_a_loop(run: Path, low: int, mails: int, specialty: str) -> None:
    quoted = specialty.replace("'", "''")
    where = f"days_since_call >= {low} and not (n_mail_open = {mails}) or specialty = '{quoted}'"
    slow = [
        f"h{i:02d}"
        for i in range(N)
        if (i >= low and (1 - i % 2) != mails) or ("Cardiology" if i < 25 else "Nephrology") == specialty
    ]
    assert audience(run, where).members["case_id"].to_list() == slow


def test_consent_is_applied_per_channel(run: Path) -> None:
    found = audience(run, "events > 0")
    # email asks for opt-ins: h10 to h29 have one. f2f is spoken of by nobody: all but the closed h05
    assert found.allowed("email")["case_id"].to_list() == [f"h{i}" for i in range(10, 30)]
    assert "h05" not in found.allowed("f2f")["case_id"].to_list()
    assert found.reachable.rows() == [("email", 20), ("f2f", 39)]
    with pytest.raises(JobError, match="'fax'") as refused:
        found.allowed("fax")
    assert "channels: email, f2f" in refused.value.hint


def test_consent_is_applied_per_product(run: Path, tmp_path: Path) -> None:
    consents = run / "log" / "consents.parquet"
    before = pl.read_parquet(consents)
    when = before["timestamp"][0]
    said = [("h12", "email", "opt_out", when, None, "c", 90, "Cardiovia")]
    said += [("h35", "email", "opt_in", when, None, "c", 91, "Cardiovia")]
    more = pl.DataFrame(said, schema=before.schema, orient="row")
    try:
        pl.concat([before, more]).write_parquet(consents)
        found = audience(run, "events > 0")
        opted_in = {f"h{i}" for i in range(10, 30)}
        assert set(found.allowed("email", "Cardiovia")["case_id"]) == (opted_in - {"h12"}) | {"h35"}
        assert set(found.allowed("email", "Nefrilo")["case_id"]) == opted_in
        # who closed the channel to some product is in no list that says nothing about its product
        assert set(found.allowed("email")["case_id"]) == opted_in - {"h12"}
        assert found.export(tmp_path / "x.csv", "email", "Cardiovia") == 20
        assert pl.read_csv(tmp_path / "x.csv").columns == ["case_id", "events", "channel"]
    finally:
        before.write_parquet(consents)


def test_small_groups_are_not_told(run: Path, tmp_path: Path) -> None:
    few = audience(run, "days_since_last > 30")  # h31 to h39
    assert few.count is None and few.by_segment.is_empty()
    mixed = audience(run, "days_since_call < 30 and days_since_call > 5")  # 22 callers, 2 readers
    # the readers would follow from the difference: both groups stand in one row
    assert mixed.by_segment.rows() == [("smaller groups together", 24, 1.0)]
    with pytest.raises(RunError, match="fewer than 10"):
        audience(run, "days_since_call < 15").export(tmp_path / "x.csv", "email")  # h10 to h14 opted in
    assert not (tmp_path / "x.csv").exists() and SMALLEST == 10


def test_an_export_holds_who_may_be_contacted(run: Path, tmp_path: Path) -> None:
    found = audience(run, "specialty = 'Cardiology'")
    assert found.export(tmp_path / "x.csv", "email") == 15  # h10 to h24
    written = pl.read_csv(tmp_path / "x.csv")
    assert written.columns == ["case_id", "specialty", "channel"]
    assert written["case_id"].to_list() == [f"h{i}" for i in range(10, 25)]


def test_a_saved_audience_is_its_question(run: Path) -> None:
    audience(run, "segment = 'Readers'").save("readers")
    assert saved_audiences(run) == {"readers": "segment = 'Readers'"}
    assert audience(run, "readers").count == 12
    with pytest.raises(JobError, match="may not name people"):
        audience(run, "case_id <> 'h01'").save("not h01")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("specialti = 'x'", "no column 'specialti'"),
        ("specialty > 3", "cannot be answered"),
        ("specialty =", "is no question"),
        ("events + 1", "not true or false"),
        ("sum(events) > 3", "not true or false"),
        ("", "is no question"),
        ("events > 0; drop table x", "is no question"),
    ],
)
def test_a_wrong_question_says_what_is_wrong(run: Path, where: str, said: str) -> None:
    with pytest.raises(JobError, match=said) as refused:
        audience(run, where)
    assert refused.value.hint


def test_what_may_be_asked_is_told(run: Path) -> None:
    told = audience_columns(run)
    assert {"segment", "days_since_last", "case_segment", "n_ACTIVITY", "p_ACTIVITY"} <= set(told["column"])
    assert told.filter(column="specialty")["example"][0] == "Cardiology, Nephrology"


def test_the_command_as_typed(run: Path, tmp_path: Path) -> None:
    def typed(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["audience", str(run), *words])
        return done.exit_code, done.output

    assert "n_ACTIVITY" in typed()[1]
    code, text = typed("specialty = 'Cardiology'")
    assert code == 0 and "25 of 40 cases fit (62.5%)" in text and "email" in text
    assert "fewer than 10" in typed("days_since_last > 30")[1]
    assert "is, for example, Cardiology" in typed("specialty = 'Cardiologie'")[1]
    assert typed("segment = 'Callers'", "--save", "callers")[0] == 0
    out = tmp_path / "callers.csv"
    code, text = typed("callers", "--channel", "f2f", "--export", str(out), "--json")
    assert code == 0 and json.loads(text[: text.rindex("}") + 1])["written"] == 27 and out.is_file()
    assert typed("callers", "--export", str(out))[0] != 0
    assert typed("--save", "x")[0] != 0
