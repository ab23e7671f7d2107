"""The report from a run folder: every number is in a table, nothing leaks, nothing breaks the page."""

from __future__ import annotations

import csv
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from run_folder import build

from behavio.errors import JobError, RunError
from behavio.files import read_json, write_json
from behavio.report import ReportSettings, write_report
from behavio.report.charts.embed import embedded
from behavio.report.kinds import path
from behavio.report.numbers import between, write
from behavio.report.run_tables import RunTables
from behavio.words import touchpoint

STAGES = ("journeys", "patterns", "models", "next", "segments", "suggestions")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("run"))
    write_report(folder, ReportSettings(), folder / "report")
    return folder


def page(folder: Path) -> str:
    return (folder / "report/report.html").read_text(encoding="utf-8")


def tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    return {
        f.stem: list(csv.DictReader(f.read_text(encoding="utf-8").splitlines()))
        for f in sorted((folder / "report/tables").glob("*.csv"))
    }


class Numbers(HTMLParser):
    """Collects every marked number and every table cell of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: list[tuple[dict[str, str], str]] = []
        self.cells: list[tuple[str, int, str, str, str]] = []
        self._mark: dict[str, str] | None = None
        self._table, self._columns, self._row, self._column, self._cell = "", [], -1, 0, None
        self._text = ""

    def handle_starttag(self, tag, attrs):
        got = {k: v or "" for k, v in attrs}
        if "data-cell" in got:
            self._mark, self._text = got, ""
        if tag == "table":
            self._table, self._columns, self._row = got.get("data-table", ""), [], -1
        elif tag == "th":
            self._columns.append(got["data-column"])
        elif tag == "tr":
            self._row, self._column = self._row + 1, 0
        elif tag == "td":
            self._cell, self._text = got, ""

    def handle_endtag(self, tag):
        if self._mark is not None and tag in ("data", "text"):
            self.marked.append((self._mark, self._text))
            self._mark = None
        if tag == "td" and self._cell is not None:
            value = self._cell.get("data-v")
            column = self._columns[self._column]
            self.cells.append((self._table, self._row - 1, column, value, self._text))
            self._column += 1
            self._cell = None

    def handle_data(self, data):
        self._text += data


def read(html: str) -> Numbers:
    found = Numbers()
    found.feed(html)
    return found


def test_every_number_of_the_page_is_in_its_table(run):
    html, csvs = page(run), tables(run)
    found = read(html)
    assert len(found.marked) > 60 and len(found.cells) > 200
    for mark, text in found.marked:
        name, row, column = mark["data-cell"].split(":")
        line = csvs[name][int(row)]
        assert mark["value"].split(" ")[0] == line[column]
        if "data-cell-high" in mark:
            high = mark["data-cell-high"].split(":")[2]
            assert mark["value"].split(" ")[1] == line[high]
            assert any(
                between(float(line[column]), float(line[high]), k) == text
                for k in ("share", "ratio", "signed")
            )
    for name, row, column, value, text in found.cells:
        line = csvs[name][row][column]
        assert (text if value is None else value) == line or (text, line) == ("–", "")


def test_a_marked_number_reads_as_its_value(run):
    """What is printed is the value of the cell, written the one way its kind is written."""
    facts = tables(run)["facts"]
    for mark, text in read(page(run)).marked:
        name, row, column = mark["data-cell"].split(":")
        if name == "facts" and column == "value":
            line = facts[int(row)]
            said = write(float(line["value"]), line["kind"])
            assert text == said or text in ("One", "Two", "Three", "Four", "two", "one")


def test_tables_are_those_of_the_run(run):
    """Numbers counted again from the run folder's own tables."""
    csvs = tables(run)
    segments = pl.read_parquet(run / "segments/segments.parquet")
    for line in csvs["groups"]:
        assert int(line["n_cases"]) == segments.filter(pl.col("segment") == line["segment"]).height
        assert float(line["share"]) == pytest.approx(int(line["n_cases"]) / segments.height)
    patterns = pl.read_parquet(run / "patterns/patterns.parquet").filter(pl.col("segment").is_null())
    assert [float(x["lift"]) for x in csvs["patterns"]] == patterns.filter(pl.col("n_cases") >= 10)[
        "lift"
    ].to_list()
    facts = {line["fact"]: line["value"] for line in csvs["facts"]}
    events = pl.read_parquet(run / "log/events.parquet")
    assert int(facts["events"]) == events.height
    assert int(facts["cases"]) == events["case_id"].n_unique()
    assert int(facts["suggestions"]) == pl.read_parquet(run / "suggestions/suggestions.parquet").height
    assert int(facts["suppressed"]) == pl.read_parquet(run / "suggestions/suppressed.parquet").height
    kpis = {line["kpi"]: line for line in csvs["kpis"]}
    contact = events.filter(pl.col("activity").is_in(["call_f2f", "email_sent"]))
    assert float(kpis["reach"]["value"]) == pytest.approx(contact["case_id"].n_unique() / 80)
    assert float(kpis["frequency"]["value"]) == pytest.approx(contact.height / contact["case_id"].n_unique())


def test_shares_of_a_week_add_up_to_one(run):
    for line in tables(run)["weekly"]:
        values = [float(v or 0) for k, v in line.items() if k not in ("segment", "bin")]
        assert sum(values) == pytest.approx(1.0)


def test_a_weekly_cell_of_few_people_is_left_open(run, tmp_path):
    """Eight of the group of 24 never reach the last portal visit: some weeks hold under ten people."""
    open_cells = [v for line in tables(run)["weekly"] for k, v in line.items() if k not in ("segment", "bin")]
    assert "" in open_cells
    write_report(run, ReportSettings(k_anonymity=1), tmp_path / "report")
    shown = [v for line in tables(tmp_path)["weekly"] for v in line.values()]
    assert "" not in shown
    events = pl.read_parquet(run / "log/events.parquet").with_columns(
        week=((pl.col("timestamp") - pl.col("timestamp").min().dt.truncate("1d")).dt.total_days() // 7)
    )
    members = pl.read_parquet(run / "segments/segments.parquet").filter(
        pl.col("segment") == "Portal explorers"
    )
    people = (
        events.join(members, on="case_id")
        .filter(pl.col("activity") == "portal_visit")
        .group_by("week")
        .agg(n=pl.col("case_id").n_unique())
    )
    few = {w for w, n in people.iter_rows() if n < 10}
    line = {
        int(x["bin"]) - 1: x["Portal"] for x in tables(run)["weekly"] if x["segment"] == "Portal explorers"
    }
    assert few and all(line[w] == "" for w in few if w in line)


def test_nothing_on_fewer_people_than_k(run):
    html, csvs = page(run), tables(run)
    assert "One and done" not in html  # a group of six
    assert all(
        int(line["n_cases"]) >= 10
        for name in ("groups", "patterns", "telling", "suggestions")
        for line in csvs[name]
    )
    assert all(int(line["cases"]) >= 10 for name in ("variants", "steps") for line in csvs[name])
    assert "too soon" not in html.lower()  # a rule that touched four people


def test_no_person_is_named(run):
    text = page(run) + "".join(f.read_text(encoding="utf-8") for f in (run / "report/tables").glob("*.csv"))
    assert not re.search(r"\bH0\d\d\b", text)


def test_k_of_one_shows_every_group(run, tmp_path):
    write_report(run, ReportSettings(k_anonymity=1), tmp_path)
    assert "One and done" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    write_report(run, ReportSettings(), tmp_path)
    for file in [run / "report/report.html", *(run / "report/tables").glob("*.csv")]:
        twin = tmp_path / file.relative_to(run / "report")
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(twin.read_bytes()).digest()


def test_no_id_is_given_twice(run):
    ids = re.findall(r'\bid="([^"]+)"', page(run))
    assert len(ids) == len(set(ids))


def test_the_map_is_drawn_in_the_words_of_the_page(run):
    drawn = re.search(r'<svg class="behavio-map".*?</svg>', page(run), re.DOTALL)
    assert drawn is not None
    assert "rep visit" in drawn[0] and "call_f2f" not in drawn[0]
    assert "66 HCPs" in drawn[0] or "HCPs ·" in drawn[0]
    assert "<script" not in drawn[0]


def test_two_groups_in_opposite_order_are_the_headline(run):
    html = page(run)
    assert "<title>Two groups of HCPs take the same steps in opposite order</title>" in html
    assert "“Rep first, then digital” go from rep visit to email open" in html


def test_ten_thousand_cases_fit_in_two_megabytes(tmp_path):
    folder = build(tmp_path, scale=152, known=10_032)
    facts = write_report(folder, ReportSettings(), folder / "report")
    assert facts["bytes"] < 2_000_000
    assert "10,032" in page(folder)


def test_a_log_without_a_clock_counts_steps(tmp_path):
    folder = build(tmp_path, drop=("models", "next", "suggestions"))
    readiness = read_json(folder / "log/readiness.json")
    write_json(folder / "log/readiness.json", {**readiness, "timed": False})
    write_report(folder, ReportSettings(), folder / "report")
    html = page(folder)
    assert "order only, no clock" in html and "each step brings" in html
    assert "Time between" not in html and "last 13 weeks" not in html


def test_the_page_fetches_nothing(run):
    html = page(run)
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    assert not re.search(r"@import|url\(", html)
    assert '<link rel="stylesheet' not in html


def test_every_figure_has_words_a_command_and_a_table(run):
    html = page(run)
    drawings = re.findall(r'role="img" aria-label="([^"]*)"', html)
    assert len(drawings) >= 6 and all(len(d) > 20 for d in drawings)
    for name in re.findall(r'<details id="table-([\w]+)"', html):
        assert (run / f"report/tables/{name}.csv").is_file()
    assert "behavio patterns RUN --top 12" in html


HOSTILE = {
    "call_f2f": "<script>alert(1)</script>",
    "email_sent": '"><img src=x onerror=alert(1)>',
    "email_open": "زيارة الطبيب",
    "email_click": "🧪" * 30,
    "portal_visit": "a very long name " * 12,
    "reaction_positive": "=cmd|' /C calc'!A0",
    "reaction_negative": "{{ 7*7 }}",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("hostile"), rename=HOSTILE)
    write_report(folder, ReportSettings(title="<b>Mine</b>"), folder / "report")
    return folder


def test_names_of_activities_do_no_harm(hostile):
    html = page(hostile)
    assert "<script>alert" not in html and "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;Mine&lt;/b&gt;" in html
    assert "{{ 7*7 }}" in html
    assert "a very long name " * 12 in html.replace("</", " </") or "a very long name" in html


def test_no_cell_is_a_formula(hostile):
    for rows in tables(hostile).values():
        for line in rows:
            assert not any(re.match(r"[=@+\t]", v) for v in line.values() if v)


def test_a_log_without_touchpoints_speaks_of_cases(hostile):
    html = page(hostile)
    assert "HCP" not in html
    assert "66</data> cases" in html


def test_a_case_has_the_name_the_job_gives_it(hostile, tmp_path):
    write_report(hostile, ReportSettings(case="household"), tmp_path)
    assert "66</data> households" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", STAGES)
def test_a_missing_stage_is_said_and_the_rest_stands(missing, tmp_path):
    folder = build(tmp_path, drop=(missing,))
    facts = write_report(folder, ReportSettings(), folder / "report")
    assert len(facts["sections"]) == 11 - (missing == "patterns")  # without patterns nothing comes before
    assert len(page(folder)) > 20_000


def test_only_a_log_still_makes_a_page(tmp_path):
    folder = build(tmp_path, drop=STAGES)
    write_report(folder, ReportSettings(), folder / "report")
    html = page(folder)
    for text in (
        "No groups in this run",
        "No journeys in this run",
        "No patterns in this run",
        "No outlook in this run",
        "No suggestions in this run",
    ):
        assert text in html


def test_one_event_makes_a_page(tmp_path):
    folder = build(tmp_path, drop=STAGES)
    events = pl.read_parquet(folder / "log/events.parquet").head(1)
    events.write_parquet(folder / "log/events.parquet")
    write_report(folder, ReportSettings(), folder / "report")
    assert "1</data> event" in page(folder)


def test_no_log_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(RunError) as told:
        write_report(tmp_path, ReportSettings(), tmp_path / "report")
    assert "behavio run" in told.value.hint
    assert not (tmp_path / "report").exists()


def test_an_earlier_run_that_is_not_there_is_an_error(run, tmp_path):
    with pytest.raises(RunError, match="not there"):
        write_report(run, ReportSettings(previous=str(tmp_path / "no")), tmp_path)


def test_what_changed_against_an_earlier_run(run, tmp_path):
    write_report(run, ReportSettings(previous=str(run)), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nobody changed group" in html


@pytest.mark.parametrize("settings", [{"k_anonymity": 0}, {"k_anonymity": "10"}, {"title": " "}, {"case": 3}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(JobError) as told:
        ReportSettings(**settings)
    assert told.value.hint


def test_a_step_repeated_is_said_once():
    assert path(["call_f2f", "call_f2f", "call_f2f", "email_sent"]) == "rep visit × 3 → email sent"


def test_a_foreign_drawing_is_taken_without_what_could_harm():
    drawn = embedded(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        ' viewBox="0 0 9 9">'
        '<script>alert(1)</script><image xlink:href="http://x/y.png"/><a href="http://x"><text>no</text></a>'
        "<style>@import url(http://x)</style><foreignObject><p>no</p></foreignObject>"
        '<rect onclick="alert(1)" fill="url(http://x)" width="3"/><text>&lt;b&gt; yes</text></svg>'
    )
    assert (
        drawn
        == '<svg viewBox="0 0 9 9"><style></style><rect width="3"></rect><text>&lt;b&gt; yes</text></svg>'
    )
    assert embedded("no svg") is None and embedded("<html/>") is None


def test_the_run_is_read_as_the_contract_says(run):
    tables_of_run = RunTables.read(run)
    assert tables_of_run.hcp and tables_of_run.timed
    assert (tables_of_run.n_cases, tables_of_run.n_known) == (66, 80)


def test_what_comes_before_the_outcome_and_which_contacts_are_answered(run):
    found = tables(run)
    # nine people are under k, the pair of calls may be chance; the surest goes first
    assert [r["pattern"] for r in found["before_ours"]] == ["rep visit → email sent", "email sent"]
    assert [r["pattern"] for r in found["before_theirs"]] == ["email sent → email open"]
    text = page(run)
    assert "What we do before a portal visit" in text and "within 30 days of the last step" in text
    assert found["communications"][0]["lift"] == "2.4" and "an association, not an effect" in text


def test_where_no_order_of_contacts_stands_out_one_sentence_says_so(tmp_path):
    folder = build(tmp_path)
    path = folder / "patterns/communications.parquet"
    pl.read_parquet(path).filter(~pl.col("stands_out")).write_parquet(path)
    empty = folder / "patterns/outcomes.parquet"
    pl.read_parquet(empty).head(0).write_parquet(empty)
    write_report(folder, ReportSettings(), folder / "report")
    text = page(folder)
    assert "No order of contacts is answered more often than another" in text
    assert "Nothing is known to come before the outcome" in text and "communications" not in tables(folder)


def test_who_stays_where_the_time_goes_and_the_journey_map(run):
    found = tables(run)
    # the seventh month may not be over
    assert [(r["months_since"], r["share"]) for r in found["retention"]] == [
        (str(n), f"{1 - n / 10:g}") for n in range(1, 6)
    ]
    assert [r["segment"] for r in found["journey_map"]] == ["Rep first, then digital", "Portal explorers"]
    assert float(found["journey_map"][0]["phase_1"]) == pytest.approx(11 / 39)
    assert {"frequency", "rework_share", "median_s"} <= set(found["waits"][0])


def test_what_changed_since_when(run, tmp_path):
    (row,) = tables(run)["changed"]
    assert (row["since"], row["before"], row["after"]) == ("2026-04-05", "0.4", "0.7")
    assert "Since 5\u00a0Apr\u00a02026" in page(run)
    folder = build(tmp_path)
    for name in ("changes", "changed_steps"):
        path = folder / "journeys" / f"{name}.parquet"
        pl.read_parquet(path).head(0).write_parquet(path)
    write_report(folder, ReportSettings(), folder / "report")
    assert "There is no break in what follows what" in page(folder)


def test_the_funnel_and_two_periods_side_by_side(run):
    found, said = tables(run), page(run).replace("\u00a0", " ")
    steps = pl.read_parquet(run / "journeys/funnel.parquet")
    assert [int(r["cases"]) for r in found["funnel"]] == steps["cases"].to_list()
    assert "come to portal within 21 days" in re.sub(r"<[^>]+>", "", said)
    rates = pl.read_parquet(run / "journeys/period_activities.parquet")
    for r in found["periods"]:
        activity = next(a for a in rates["activity"] if touchpoint(a) == r["activity"])
        row = rates.row(by_predicate=pl.col("activity") == activity, named=True)
        assert float(r["rate_ratio"]) == pytest.approx(row["rate_ratio"])
        assert all(row[n] == 0 or row[n] >= 10 for n in ("cases_a", "cases_b"))
    assert {"period_steps", "period_waits"} <= set(found)
    assert "behavio compare RUN --last 100d --table edges" in said


def test_without_a_funnel_and_periods_the_rest_stands(tmp_path):
    folder = build(tmp_path)
    (folder / "journeys/funnel.parquet").unlink()
    write_json(folder / "journeys/periods.json", {"written": False, "reason": "no clock"})
    write_report(folder, ReportSettings(), folder / "report")
    assert not {"funnel", "periods"} & set(tables(folder)) and "retention" in tables(folder)
