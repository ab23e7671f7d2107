"""The live look: filters against a slow twin, small groups refused, only this machine served."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from datetime import date, datetime, timedelta
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import polars as pl
import pytest
from run_folder import build

from behavio.errors import JobError, RunError
from behavio.files import write_json
from behavio.log import EventLog
from behavio.report.explore import Asked, Explorer, Refused
from behavio.report.serve import listen
from behavio.report.settings import ReportSettings
from behavio.sequences import SequenceSet


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with a brand on every other event, and its encoded log."""
    folder = build(tmp_path_factory.mktemp("run"))
    path = folder / "log/events.parquet"
    brand = pl.when(pl.col("event_index") % 2 == 0).then(pl.lit("Acme")).otherwise(pl.lit("Zeta"))
    rare = pl.when(pl.col("case_id") < "H003").then(pl.lit("Rare")).otherwise(brand)
    events = pl.read_parquet(path).with_columns(brand=rare)
    events.write_parquet(path)
    empty = pl.DataFrame(schema={"case_id": pl.String})
    SequenceSet.from_log(EventLog(events, empty, pl.DataFrame(), pl.DataFrame(), ())).write(
        folder / "log/encoded"
    )
    write_json(folder / "manifest.json", {})
    return folder


@pytest.fixture(scope="module")
def explorer(run: Path) -> Explorer:
    return Explorer(run)


def kept(run: Path, **asked: str) -> pl.DataFrame:
    """The events a look is about, by plain filters."""
    events = pl.read_parquet(run / "log/events.parquet")
    cases = pl.read_parquet(run / "log/cases.parquet")
    segments = pl.read_parquet(run / "segments/segments.parquet")
    day = pl.col("timestamp").dt.date()
    if "from" in asked:
        events = events.filter(day >= date.fromisoformat(asked["from"]))
    if "to" in asked:
        events = events.filter(day <= date.fromisoformat(asked["to"]))
    if "brand" in asked:
        events = events.filter(pl.col("brand") == asked["brand"])
    for name, table in (("specialty", cases), ("segment", segments)):
        if name in asked:
            ids = table.filter(pl.col(name) == asked[name])["case_id"]
            events = events.filter(pl.col("case_id").is_in(ids.implode()))
    return events


LOOKS = [
    {"from": "2026-02-01", "to": "2026-04-30"},
    {"brand": "Acme"},
    {"specialty": "Cardiology"},
    {"segment": "Portal explorers"},
    {"segment": "Rep first, then digital", "brand": "Zeta", "from": "2026-01-10"},
]


@pytest.mark.parametrize("asked", LOOKS, ids=lambda a: "+".join(a))
def test_a_look_counts_what_plain_filters_count(run: Path, explorer: Explorer, asked: dict[str, str]) -> None:
    page = explorer.look(explorer.read(asked))
    events = kept(run, **asked)
    tables = {t.name: t for t in page.tables}
    kpis = {r["kpi"]: r["value"] for r in tables["kpis"].rows}
    assert (kpis["HCPs"], kpis["events"]) == (events["case_id"].n_unique(), events.height)
    steps: Counter[tuple[str, str]] = Counter()
    people: dict[tuple[str, str], set[str]] = {}
    for (case,), own in events.group_by("case_id"):
        trace = own.sort("timestamp", "event_index")["activity"].to_list()
        for pair in pairwise(trace):
            steps[pair] += 1
            people.setdefault(pair, set()).add(str(case))
    shown = sorted((n for pair, n in steps.items() if len(people[pair]) >= 10), reverse=True)
    told = [r["frequency"] for r in tables["steps"].rows] if "steps" in tables else []
    assert told == shown[:12]


def test_without_filters_it_is_the_report(explorer: Explorer) -> None:
    text = explorer.page({})
    assert "Two groups of HCPs take the same steps in opposite order" in text
    assert '<form class="filters" method="get" action="/"' in text and "form-action 'self'" in text
    assert explorer.page({"from": "", "to": "", "brand": ""}) is text


def test_filters_offer_only_what_ten_people_have(explorer: Explorer) -> None:
    assert explorer.values("segment") == (
        "Rep first, then digital",
        "Portal explorers",
    )  # one has six members
    assert set(explorer.values("brand")) == {"Acme", "Zeta"}  # three people have the third
    text = explorer.page({"brand": "Acme"})
    assert "One and done" not in text and "Rare" not in text


@pytest.mark.parametrize(
    "query",
    [
        {"segment": "One and done"},
        {"brand": "Rare"},
        {"specialty": "<script>"},
        {"from": "31.3.2026"},
        {"from": "2026-08-20"},
        {"segment": "Portal explorers", "from": "2026-08-05"},
    ],
)
def test_what_would_show_too_few_is_refused(explorer: Explorer, query: dict[str, str]) -> None:
    with pytest.raises(Refused) as told:
        explorer.page(query)
    assert told.value.hint and not re.search(r"\bH0\d\d\b", str(told.value))


def test_no_look_names_a_person(explorer: Explorer) -> None:
    for asked in LOOKS:
        assert not re.search(r"\bH0\d\d\b", explorer.page(asked))


def test_a_look_speaks_the_language_that_was_asked_for(run: Path) -> None:
    german = Explorer(run, ReportSettings(lang="de"))
    for asked in ({}, {"brand": "Acme"}):
        text = german.page(asked)
        assert '<html lang="de"' in text
        assert ("Wie diese Verläufe laufen" in text) == bool(asked)
        assert "How these journeys run" not in text and ">Brand<" not in text
    with pytest.raises(Refused, match="ist kein Tag"):
        german.page({"from": "gestern"})


def test_days_at_the_edges_leave_nothing_out(explorer: Explorer) -> None:
    first, last = explorer.first.date(), explorer.last.date()
    assert explorer.read({"from": str(first - timedelta(days=9)), "to": str(last)}) == Asked()
    assert isinstance(explorer.first, datetime)


def ask(
    port: int, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as link:
        link.request(method, path, headers={"Connection": "close"} | ({} if host is None else {"Host": host}))
        with closing(link.getresponse()) as answer:
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()


def test_the_server_answers_this_machine_only(explorer: Explorer) -> None:
    server = listen(explorer)
    assert server.server_address[0] == "127.0.0.1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    port = int(server.server_address[1])
    try:
        status, headers, text = ask(port, "/?" + urlencode({"segment": "Portal explorers"}))
        assert status == 200 and "How these journeys run" in text
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and headers["cache-control"] == "no-store"
        )
        assert ask(port, "/", host="evil.example")[0] == 403
        assert ask(port, "/log/events.parquet")[0] == 404
        status, _, text = ask(port, "/?" + urlencode({"brand": "<script>alert(1)</script>"}))
        assert status == 422 and "<script>" not in text
        assert ask(port, "/", method="HEAD")[2] == ""
        assert ask(port, "/", method="POST")[0] == 501
        with pytest.raises(JobError, match="cannot be used"):
            listen(explorer, port)
    finally:
        server.shutdown()
        server.server_close()


def test_a_run_without_an_encoded_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no encoded log"):
        Explorer(build(tmp_path))


def test_the_command_serves_and_ends_cleanly_on_ctrl_c(run: Path) -> None:
    command = [sys.executable, "-m", "behavio", "explore", str(run), "--port", "0"]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert started.stdout is not None
        where = started.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", where), started.communicate(timeout=20)
        port = int(where.rstrip("/").rsplit(":", 1)[1])
        assert ask(port, "/?" + urlencode({"brand": "Acme"}))[0] == 200
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=60)
        assert started.returncode == 0 and "Traceback" not in said
    finally:
        started.kill()
        started.wait()
