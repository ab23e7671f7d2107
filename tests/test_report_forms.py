"""The report in other forms: slides with native charts, Markdown, Parquet; of one group, for one role."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from run_folder import build

from behavio import api
from behavio.cli import cli
from behavio.errors import BehavioError, JobError, RunError
from behavio.files import write_json
from behavio.report import ReportSettings, write_report

pptx = pytest.importorskip("pptx", reason="python-pptx is not installed (extra pptx)")
ALL = ("pptx", "markdown", "parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build(tmp_path_factory.mktemp("run"))
    write_report(folder, ReportSettings(also=ALL), folder / "report")
    return folder


def tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    files = sorted((folder / "tables").glob("*.csv"))
    return {f.stem: list(csv.DictReader(f.read_text(encoding="utf-8").splitlines())) for f in files}


def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def charts(deck) -> list:
    return [s.chart for slide in deck.slides for s in slide.shapes if s.has_chart]


def test_slides_open_and_hold_native_charts(run: Path) -> None:
    deck = pptx.Presentation(str(run / "report/report.pptx"))
    assert len(deck.slides) >= 12 and len(charts(deck)) >= 8
    titles = [slide.shapes.title.text_frame.text for slide in deck.slides]
    assert titles[0] == "Two groups of HCPs take the same steps in opposite order"
    assert all(titles)
    kinds = {chart.chart_type for chart in charts(deck)}
    assert len(kinds) >= 3  # bars, stacked weeks, dots
    described = [
        s._element.nvGraphicFramePr.cNvPr.get("descr")
        for slide in deck.slides
        for s in slide.shapes
        if s.has_chart
    ]
    assert all(d and len(d) > 10 for d in described)


def test_every_bar_of_a_slide_is_a_number_of_a_table(run: Path) -> None:
    known = {
        round(float(v), 6)
        for lines in tables(run / "report").values()
        for line in lines
        for v in line.values()
        if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", v)
    }
    deck = pptx.Presentation(str(run / "report/report.pptx"))
    seen = 0
    for chart in charts(deck):
        series = list(chart.plots[0].series)
        if (
            len(series) == 3 and series[0].name == "From"
        ):  # an interval: low, then up to the value, then up to high
            sums = [0.0] * len(list(series[0].values))
            for s in series:
                sums = [a + b for a, b in zip(sums, s.values, strict=True)]
                assert all(any(abs(v - x) < 1e-5 for x in known) for v in sums)
                seen += len(sums)
        elif "XY" not in str(chart.chart_type):
            values = [v for s in series for v in s.values if v is not None]
            assert all(round(v, 6) in known for v in values)
            seen += len(values)
    assert seen > 100


def test_the_same_run_gives_the_same_slides(run: Path, tmp_path: Path) -> None:
    write_report(run, ReportSettings(also=("pptx",)), tmp_path)
    assert (tmp_path / "report.pptx").read_bytes() == (run / "report/report.pptx").read_bytes()


def test_a_company_template_is_taken_and_its_examples_are_not(run: Path, tmp_path: Path) -> None:
    company = pptx.Presentation()
    company.core_properties.subject = "company master"
    company.slides.add_slide(company.slide_layouts[0]).shapes.title.text = "An example of the company"
    company.save(str(tmp_path / "company.pptx"))
    settings = ReportSettings(also=("pptx",), template=str(tmp_path / "company.pptx"))
    write_report(run, settings, tmp_path / "out")
    deck = pptx.Presentation(str(tmp_path / "out/report.pptx"))
    assert (deck.slide_width, deck.slide_height) == (company.slide_width, company.slide_height)
    assert deck.core_properties.subject == "company master"
    assert "An example" not in " ".join(s.shapes.title.text_frame.text for s in deck.slides)
    (tmp_path / "no.pptx").write_text("no slides")
    with pytest.raises(JobError, match="no PowerPoint"):
        write_report(
            run, ReportSettings(also=("pptx",), template=str(tmp_path / "no.pptx")), tmp_path / "out"
        )


def test_libreoffice_reads_the_slides(run: Path, tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("LibreOffice is not on this machine (apt install libreoffice-impress)")
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = [office, profile, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path)]
    try:
        subprocess.run(
            [*command, str(run / "report/report.pptx")], check=True, capture_output=True, timeout=110
        )
    except subprocess.TimeoutExpired:
        pytest.skip("LibreOffice took longer than 110 s: the machine is busy")
    pdf = (tmp_path / "report.pdf").read_bytes()
    deck = pptx.Presentation(str(run / "report/report.pptx"))
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == len(deck.slides)


def test_slides_and_summary_bear_hostile_names(tmp_path: Path) -> None:
    names = {
        "call_f2f": "<script>alert(1)</script>",
        "email_open": "زيارة 🧪\x07",
        "portal_visit": "x|y " * 50,
    }
    folder = build(tmp_path, rename=names)
    write_report(folder, ReportSettings(also=ALL), folder / "report")
    pptx.Presentation(str(folder / "report/report.pptx"))
    text = (folder / "report/report.md").read_text(encoding="utf-8")
    assert "<script>" not in text
    cells = [line for line in text.splitlines() if line.startswith("| x")]
    assert all(line.count(" | ") < 9 for line in cells)


def test_the_summary_says_what_the_page_says(run: Path) -> None:
    text = (run / "report/report.md").read_text(encoding="utf-8")
    assert text.startswith("# Two groups of HCPs take the same steps in opposite order\n")
    assert "## " in text and "| --- |" in text and "`behavio graph RUN --top 12`" in text
    assert "<" not in text.replace("\\<", "") and not re.search(r"\bH0\d\d\b", text)


def test_parquet_holds_what_csv_holds(run: Path) -> None:
    for name, lines in tables(run / "report").items():
        frame = pl.read_parquet(run / f"report/tables/{name}.parquet")
        assert frame.height == len(lines)
    groups = pl.read_parquet(run / "report/tables/groups.parquet")
    assert groups.schema["n_cases"] == pl.Int64 and groups.schema["share"] == pl.Float64


def test_the_report_of_one_group_counts_its_members_alone(run: Path, tmp_path: Path) -> None:
    write_report(run, ReportSettings(group="Portal explorers"), tmp_path)
    text, found = page(tmp_path), tables(tmp_path)
    assert "“Portal explorers”: how" in text and "Rep first" not in text
    members = pl.read_parquet(run / "segments/segments.parquet").filter(
        pl.col("segment") == "Portal explorers"
    )
    events = pl.read_parquet(run / "log/events.parquet").filter(
        pl.col("case_id").is_in(members["case_id"].implode())
    )
    facts = {line["fact"]: line["value"] for line in found["facts"]}
    assert (int(facts["cases"]), int(facts["events"])) == (24, events.height)
    following = events.with_columns(next=pl.col("activity").shift(-1).over("case_id"))
    pairs = following.drop_nulls("next").group_by("activity", "next").len()
    assert int(found["steps"][0]["frequency"]) == pairs["len"].max()


@pytest.mark.parametrize(
    ("group", "why"), [("One and done", "fewer than 10"), ("nobody", "is not in this run")]
)
def test_a_group_too_small_or_unknown_is_refused(run: Path, tmp_path: Path, group: str, why: str) -> None:
    with pytest.raises(RunError, match=why) as told:
        write_report(run, ReportSettings(group=group), tmp_path)
    assert "Rep first, then digital" in told.value.hint and "One and done" not in told.value.hint
    assert not (tmp_path / "report.html").exists()


def test_the_medical_view_ranks_nothing_promotional(run: Path, tmp_path: Path) -> None:
    facts = write_report(run, ReportSettings(role="medical"), tmp_path)
    assert {"suggestions", "before", "patterns", "plan", "pressure", "next"}.isdisjoint(facts["sections"])
    text = page(tmp_path)
    assert "Medical view" in text and "suggestion" not in re.sub(r"no suggestions", "", text.lower())
    assert not re.search(r"\bH0\d\d\b", text)
    assert "frequency" not in {line["kpi"] for line in tables(tmp_path)["kpis"]}


def test_the_medical_view_tells_of_the_medical_team_alone(tmp_path: Path) -> None:
    """Every rep visit a medical one, its reaction to a message of a liaison: told by name, nothing else."""
    folder = build(tmp_path)
    path = folder / "log/events.parquet"
    liaison = pl.col("activity") == "call_f2f"
    events = pl.read_parquet(path)
    met = events.filter(liaison)["case_id"].n_unique()
    events.with_columns(
        team=pl.when(liaison).then(pl.lit("medical")).otherwise(pl.lit("marketing")),
        message=pl.when(liaison).then(pl.lit("Mode of action")).otherwise(pl.lit("Buy more")),
    ).write_parquet(path)
    facts = write_report(folder, ReportSettings(role="medical"), tmp_path / "medical")
    assert facts["sections"][0] == "medical" and "content" not in facts["sections"]
    told = tables(tmp_path / "medical")
    assert [r["message"] for r in told["medical_messages"]] == ["Mode of action"]
    assert [int(r["n_cases"]) for r in told["medical_activities"]] == [met]
    text = page(tmp_path / "medical")
    assert "Buy more" not in text and "best first" not in text and "taken better" not in text
    assert "medical" not in write_report(folder, ReportSettings(), tmp_path / "brand")["sections"]


def test_the_sales_view_begins_with_what_is_to_do(run: Path, tmp_path: Path) -> None:
    facts = write_report(run, ReportSettings(role="sales"), tmp_path)
    assert facts["sections"].index("suggestions") < facts["sections"].index("groups")


def test_content_and_pressure_say_what_is_missing(run: Path) -> None:
    text = page(run / "report")
    assert "No content in this run" in text and "No contact pressure in this run" in text
    order = re.findall(r'<section id="(\w+)"', text)
    wanted = ["groups", "journeys", "patterns", "before", "pressure", "content", "next", "suggestions"]
    assert [s for s in order if s in wanted] == wanted


def test_messages_and_pressure_where_the_run_has_them(tmp_path: Path) -> None:
    """Thirty HCPs got a positive reaction to one message, twenty-four a negative one to another."""
    folder = build(tmp_path)
    path = folder / "log/events.parquet"
    said = {"reaction_positive": "Efficacy", "reaction_negative": "Dosing"}
    events = pl.read_parquet(path)
    named = pl.col("activity").replace_strict(said, default=None, return_dtype=pl.String)
    events.with_columns(message=named).write_parquet(path)
    (folder / "pressure").mkdir()
    write_json(folder / "pressure/facts.json", {"window": "28d", "within": "3d", "notes": []})
    band = {"segment": "everybody", "optimum": 4.0, "low": 3.0, "high": 5.0, "fall": 0.2, "sign": True}
    pl.DataFrame([{**band, "n_cases": 66, "n_contacts": 300, "n_answered": 90}]).write_parquet(
        folder / "pressure/bands.parquet"
    )
    curve = [(1, 100, 0.4, 1.0, 1.0, 1.0), (5, 60, 0.2, 0.6, 0.4, 0.9), (9, 4, 0.1, 0.2, 0.1, 0.3)]
    names = ("contacts", "n_contacts", "answered", "relative", "low", "high")
    pl.DataFrame([{"segment": "everybody", **dict(zip(names, c, strict=True))} for c in curve]).write_parquet(
        folder / "pressure/curves.parquet"
    )
    verdicts = ["over"] * 12 + ["under"] * 40 + ["within"] * 14
    pl.DataFrame(
        {
            "case_id": [f"H{i:03d}" for i in range(66)],
            "segment": ["Rep first, then digital"] * 66,
            "verdict": verdicts,
        }
    ).write_parquet(folder / "pressure/cases.parquet")
    write_report(folder, ReportSettings(), folder / "report")
    found, text = tables(folder / "report"), page(folder / "report")
    messages = {r["message"]: r for r in found["messages"]}
    # the third HCP of three lacks the last step only, so all but those have reacted
    assert float(messages["Efficacy"]["net"]) == 1.0 and float(messages["Dosing"]["net"]) == -1.0
    assert {r["segment"]: r["message"] for r in found["message_gaps"]} == {
        "Rep first, then digital": "Dosing",
        "Portal explorers": "Efficacy",
    }
    assert [r["contacts"] for r in found["pressure_curve"]] == ["1", "5"]  # four contacts are under k
    assert (found["pressure"][0]["over"], found["pressure"][0]["under"]) == ("12", "40")
    assert "hear from us too often" in text and "Answers hold up to about" in text


def test_bad_settings_are_refused_with_a_hint() -> None:
    for wrong in ({"role": "boss"}, {"also": ("doc",)}, {"lang": "xx"}, {"also": "pptx"}):
        with pytest.raises(JobError) as told:
            ReportSettings(**wrong)  # type: ignore[arg-type]
        assert told.value.hint


def test_the_command_as_typed(run: Path, tmp_path: Path) -> None:
    write_json(run / "manifest.json", {})
    args = ["report", str(run), "--as", "pptx", "--role", "medical", "--out", str(tmp_path)]
    done = CliRunner().invoke(cli, args)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "report.pptx") and (tmp_path / "report.pptx").is_file()


def test_parts_go_beside_the_report_not_over_it(run: Path) -> None:
    write_json(run / "manifest.json", {})
    before = (run / "report/report.html").read_bytes()
    path = api.report(run, group="Portal explorers", form="markdown")
    assert path.parent.parent == run / "reports" and path.name == "report.md"
    assert (run / "report/report.html").read_bytes() == before
    with pytest.raises(BehavioError):
        api.report(run, group="One and done")
    assert api.report(run, form="csv") == run / "report/tables"
