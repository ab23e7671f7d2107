"""Accounts: who belongs where when, what is missing, one journey, and no influence where there is none."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from behavio.accounts import AccountSettings, account_story, accounts, by_account
from behavio.cli import cli
from behavio.errors import JobError, LogError, RunError
from behavio.job import read_job
from behavio.log import AFFILIATION_SCHEMA, CONSENT_SCHEMA, EventLog
from behavio.run import run
from behavio.simulate import SimulateSettings, simulate

START = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
Row = tuple[str, str, float, str]


def day(n: float | None) -> dt.datetime | None:
    return None if n is None else START + dt.timedelta(days=n)


def log_of(
    rows: list[Row], belongs: list[tuple[str, str, str | None, float | None, float | None]]
) -> EventLog:
    """Events (case, activity, day, direction); affiliations (case, account, role, from, until)."""
    events = [(c, a, day(d), w) for c, a, d, w in rows]
    log = EventLog.from_frame(
        pl.DataFrame(events, ["case_id", "activity", "timestamp", "direction"], orient="row")
    )
    own = [
        {
            "case_id": c,
            "account_id": a,
            "role": r,
            "start": day(s),
            "end": day(e),
            "source": "a",
            "source_row": i,
        }
        for i, (c, a, r, s, e) in enumerate(belongs)
    ]
    return replace(log, affiliations=pl.DataFrame(own, schema=AFFILIATION_SCHEMA))


def small() -> EventLog:
    """anna and ben in A; ben moves to B on day 50, where carl is; dora belongs to nothing."""
    return log_of(
        [
            ("anna", "call_f2f", 0, "outbound"),
            ("ben", "portal_visit", 10, "inbound"),
            ("dora", "call_f2f", 20, "outbound"),
            ("ben", "call_f2f", 60, "outbound"),
            ("carl", "portal_visit", 100, "inbound"),
        ],
        [
            ("anna", "A", "chief", None, None),
            ("ben", "A", "user", None, 50),
            ("ben", "B", "user", 50, None),
            ("carl", "B", None, 0, None),
        ],
    )


def test_members_are_those_of_the_newest_day_and_events_those_of_their_time() -> None:
    found = accounts(small(), AccountSettings(roles=("chief", "user"), window="60d"))
    rows = {(r["account_id"], r["case_id"]): r for r in found.members.iter_rows(named=True)}
    assert [rows["A", "ben"][c] for c in ("current", "events", "contacts", "covered")] == [False, 1, 0, False]
    assert [rows["B", "ben"][c] for c in ("current", "events", "contacts", "covered")] == [True, 1, 1, True]
    assert rows["A", "anna"]["covered"] is False  # last contacted on day 0, 100 days before the newest
    assert rows["B", "carl"]["role"] == "(no role)" and rows["B", "carl"]["last_answer"] == day(100)
    every = {r["account_id"]: r for r in found.accounts.iter_rows(named=True)}
    assert every["B"]["members"] == 2 and every["B"]["coverage"] == 0.5
    assert every["A"]["missing"] == []  # of fewer than three members nothing is asked
    assert every["A"]["uncovered"] == ["chief"]


def test_the_account_as_the_case_has_one_journey_in_time_order() -> None:
    log, counts = by_account(small())
    assert log.events.select("case_id", "member", "activity", "role").rows() == [
        ("A", "anna", "call_f2f", "chief"),
        ("A", "ben", "portal_visit", "user"),
        ("B", "ben", "call_f2f", "user"),
        ("B", "carl", "portal_visit", "(no role)"),
    ]
    assert counts == {"events": 4, "without_account": 1, "in_several_accounts": 0}
    assert log.cases.rows() == [("A", 2, 2), ("B", 2, 2)] and log.consents.height == 0


def test_an_event_of_two_accounts_goes_to_both_and_is_counted() -> None:
    log = log_of(
        [("anna", "call_f2f", 0, "outbound"), ("anna", "call_f2f", 5, "outbound")],
        [("anna", "A", "x", None, None), ("anna", "B", "x", 3, None)],
    )
    found, counts = by_account(log)
    assert found.events["case_id"].to_list() == ["A", "A", "B"] and counts["in_several_accounts"] == 1


def hospitals(n: int, lacking: int, linked: bool = False, seed: int = 3) -> EventLog:
    """n accounts of a chief, a pharmacist and two users; the first `lacking` have no pharmacist.

    linked: a pharmacist answers 1 to 5 days after the chief, else at any time.
    """
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    belongs: list[tuple[str, str, str | None, float | None, float | None]] = []
    for i in range(n):
        for role in ("chief", "pharmacist", "user", "user2"):
            own = f"{role}{i}"
            known = "user" if role.startswith("user") or (role == "pharmacist" and i < lacking) else role
            belongs.append((own, f"H{i:02d}", known, None, None))
            if role != "pharmacist" or not linked:
                rows += [(own, "portal_visit", float(d), "inbound") for d in rng.uniform(0, 300, 6)]
        if linked:
            chief = [d for c, _, d, _ in rows if c == f"chief{i}"]
            rows += [(f"pharmacist{i}", "portal_visit", d + rng.uniform(1, 5), "inbound") for d in chief]
    return log_of(rows, belongs)


def test_missing_roles_are_those_that_most_accounts_have() -> None:
    found = accounts(hospitals(20, 4))
    assert set(found.wanted) == {"chief", "pharmacist", "user"} and "20 accounts" in found.why
    missing = {r["account_id"]: r["missing"] for r in found.accounts.iter_rows(named=True)}
    assert missing == {f"H{i:02d}": (["pharmacist"] if i < 4 else []) for i in range(20)}


def test_of_few_accounts_nothing_is_usual() -> None:
    found = accounts(hospitals(9, 3))
    assert found.wanted == () and "fewer than 10 accounts" in found.why
    assert found.together.height == 0  # k = 10 for pairs of roles too
    declared = accounts(hospitals(9, 3), AccountSettings(roles=("pharmacist",)))
    assert declared.accounts["missing"].list.len().sum() == 3


def test_association_is_seen_where_it_is_planted_and_not_where_there_is_none() -> None:
    planted = accounts(hospitals(30, 0, linked=True)).together
    row = planted.filter(role="chief", then="pharmacist").row(0, named=True)
    assert row["verdict"] == "more often than by chance" and row["ratio"] > 1.5 and row["low"] > 1
    none = accounts(hospitals(30, 0)).together
    assert none.height == 6 and none["verdict"].unique().to_list() == ["no association seen"]


def test_chance_alone_is_seldom_taken_for_association() -> None:
    """Asked: of 100 worlds without influence at most 7 show a pair (q ≤ 5 %)."""
    wrong = 0
    for seed in range(100):
        log = hospitals(12, 0, seed=100 + seed)
        pairs = log.affiliations.filter(pl.col("role").is_in(["chief", "pharmacist"]))
        table = accounts(replace(log, affiliations=pairs)).together
        wrong += bool((table["verdict"] != "no association seen").any())
    assert wrong <= 7


def test_refused_without_clock_affiliations_or_consent_channels() -> None:
    log = small()
    with pytest.raises(LogError, match="no affiliations"):
        accounts(replace(log, affiliations=log.affiliations.clear()))
    with pytest.raises(LogError, match="no event falls"):
        by_account(replace(log, affiliations=log.affiliations.with_columns(case_id=pl.lit("zoe"))))
    said = {"case_id": ["ben"], "channel": ["email"], "state": ["opt_out"], "timestamp": [START]}
    missing = [pl.lit(None, dtype=t).alias(c) for c, t in CONSENT_SCHEMA.items() if c not in said]
    consents = pl.DataFrame(said).with_columns(missing).select(*CONSENT_SCHEMA).cast(CONSENT_SCHEMA)  # type: ignore[arg-type]
    found = accounts(replace(log, consents=consents)).members
    assert dict(found.filter("current").select("case_id", "closed").iter_rows()) == {
        "anna": None,
        "ben": "email",
        "carl": None,
    }


SIMULATED = """
[source.calls]
kind = "veeva.call"
path = "world/extracts/Call2_vod__c.csv"
[source.portal]
kind = "ga4"
path = "world/extracts/ga4_events.jsonl"
[cases]
kind = "veeva.account"
path = "world/extracts/Account.csv"
"""
BELONGS = """
[affiliations]
path = "world/extracts/Affiliations.csv"
[accounts]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accounts")
    simulate(SimulateSettings(n_cases=300, months=4, seed=5), folder / "world")
    (folder / "job.toml").write_text(SIMULATED + BELONGS + "[report]\n", encoding="utf-8")
    run(read_job(folder / "job.toml"), folder / "run")
    return folder


def test_planted_missing_roles_are_recovered(world: Path) -> None:
    truth = pl.read_parquet(world / "world/truth/accounts.parquet")
    found = pl.read_parquet(world / "run/accounts/accounts.parquet").select(
        "account_id", "members", "missing"
    )
    both = truth.join(found.filter(pl.col("members") >= 3), on="account_id")
    assert both.height >= 40 and both["lacks"].drop_nulls().len() >= 5
    for row in both.iter_rows(named=True):
        assert row["missing"] == ([] if row["lacks"] is None else [row["lacks"]]), row


def test_the_command_line_shows_accounts_and_one_of_them(world: Path) -> None:
    ask = CliRunner().invoke
    lacking = json.loads(ask(cli, ["accounts", str(world / "run"), "--missing", "--json"]).output)
    assert lacking and all(r["missing"] for r in lacking)
    one = ask(cli, ["account", str(world / "run"), lacking[0]["account_id"]])
    assert one.exit_code == 0 and f"missing: {lacking[0]['missing'][0]}" in one.output
    rows = json.loads(ask(cli, ["account", str(world / "run"), lacking[0]["account_id"], "--json"]).output)
    assert [r["timestamp"] for r in rows] == sorted(r["timestamp"] for r in rows) and len(rows) > 5
    with pytest.raises(RunError, match="there is no account"):
        account_story(world / "run", "ACC")
    page = (world / "run/report/report.html").read_text(encoding="utf-8")
    assert " accounts lack a role" in page and lacking[0]["account_id"] not in page


def test_any_command_takes_accounts_as_cases(world: Path) -> None:
    ask = CliRunner().invoke
    out = world / "accounts.parquet"
    assert ask(cli, ["accounts", str(world / "run"), "--as-log", str(out)]).exit_code == 0
    n = pl.read_parquet(out)["case_id"].n_unique()
    graph = json.loads(ask(cli, ["graph", str(out), "--json"]).output)
    assert graph and max(r["cases"] for r in graph) <= n
    job = world / "cases.toml"
    job.write_text(SIMULATED + BELONGS.replace("[accounts]", '[log]\ncase = "account"') + "[journeys]\n")
    done = run(read_job(job), world / "cases")
    assert done.manifest["stages"]["log"]["facts"]["n_cases"] == n
    same = json.loads(ask(cli, ["graph", str(world / "cases"), "--json"]).output)
    assert {(r["source"], r["target"]): r["frequency"] for r in same} == {
        (r["source"], r["target"]): r["frequency"] for r in graph
    }


def test_people_stages_and_missing_affiliations_are_refused(world: Path) -> None:
    job = world / "wrong.toml"
    job.write_text(SIMULATED + "[accounts]\n")
    with pytest.raises(JobError, match="accounts need affiliations"):
        read_job(job)
    job.write_text(
        SIMULATED + BELONGS.replace("[accounts]", '[log]\ncase = "account"') + "[model]\n[suggest]\n"
    )
    with pytest.raises(JobError, match="about people") as refused:
        read_job(job)
    assert "no consent" in refused.value.hint


def test_without_affiliations_the_run_is_the_plain_one(world: Path) -> None:
    job = world / "plain.toml"
    job.write_text(SIMULATED + "[journeys]\n[report]\n")
    plain = run(read_job(job), world / "plain").manifest["stages"]
    job.write_text(SIMULATED + BELONGS + "[journeys]\n[report]\n")
    run(read_job(job), world / "switched")
    job.write_text(SIMULATED + "[journeys]\n[report]\n")
    again = run(read_job(job), world / "switched").manifest["stages"]
    assert {n: s["outputs"] for n, s in plain.items()} == {n: s["outputs"] for n, s in again.items()}


def test_on_a_real_log_of_physicians(real_log: Callable[[str], Path], tmp_path: Path) -> None:
    """Open Payments, Iowa: the post code stands for the account, the specialty for the role."""
    folder = real_log("open_payments_iowa").parent
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
[source.payments]
path = "{folder}/events.parquet"
values = {{ direction = "outbound" }}
[affiliations]
path = "{folder}/physicians.parquet"
columns = {{ account_id = "zip3", role = "specialty" }}
[accounts]
window = "365d"
"""
    )
    done = run(read_job(job), tmp_path / "run")
    physicians = pl.read_parquet(folder / "physicians.parquet").drop_nulls("zip3")
    found = done.table("accounts/accounts.parquet")
    sizes = dict(physicians.group_by("zip3").len().iter_rows())
    assert dict(found.select("account_id", "members").iter_rows()) == sizes
    largest = found.sort("members").row(-1, named=True)
    story = account_story(done.folder, largest["account_id"])
    assert story.journey["timestamp"].is_sorted() and story.journey.height == largest["events"]
