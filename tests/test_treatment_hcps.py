"""Patients never meet HCP data: small counts cannot be worked out, keys of patients are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio import api
from behavio.cli import cli
from behavio.errors import BehavioError, JobError, LogError, RunError
from behavio.job import job_from, read_job
from behavio.run import run
from behavio.simulate.patients import PatientSettings, simulate_patients
from behavio.sources.patients import is_patient_key
from behavio.treatment import TreatmentInput, TreatmentSettings
from behavio.treatment.hcps import attributed
from behavio.treatment.protect import told

DRUGS = {"alvastin*": "Alvastin", "beloxan*": "Beloxan", "corvidal*": "Corvidal"}


def rows_and_columns(shape: tuple[int, int]) -> list[np.ndarray]:
    cells = np.arange(shape[0] * shape[1]).reshape(shape)
    return [*cells, *cells.T]


def test_a_single_small_cell_takes_the_next_one_with_it() -> None:
    # of 40 patients 25 and 11 told would give the 4 away
    assert told(np.array([25, 11, 4]), [np.arange(3)], 10).tolist() == [True, False, False]


def test_two_small_cells_need_k_patients_together() -> None:
    # 4 + 5 < 10 would say "fewer than 10"; with the 11 it is 20
    assert told(np.array([25, 11, 4, 5]), [np.arange(4)], 10).tolist() == [True, False, False, False]
    assert told(np.array([25, 11, 6, 5]), [np.arange(4)], 10).tolist() == [True, True, False, False]


def test_zeros_hide_nothing_and_need_no_hiding() -> None:
    assert told(np.array([25, 0, 11, 4]), [np.arange(4)], 10).tolist() == [True, True, False, False]


def test_a_column_gives_nothing_away_either() -> None:
    counts = np.array([[30, 4, 20], [30, 20, 20], [30, 20, 20]])
    may = told(counts.ravel(), rows_and_columns(counts.shape), 10).reshape(counts.shape)
    assert not may[0, 1] and (~may).sum(axis=0).tolist() != [0, 1, 0]
    assert all(n in (0, 2, 3) for n in (~may).sum(axis=0)) and all(n in (0, 2, 3) for n in (~may).sum(axis=1))


def attacker(counts: np.ndarray, may: np.ndarray, sums: list[np.ndarray], cell: int) -> tuple[float, float]:
    """Least and most a held-back cell can be, for somebody who knows every sum and every zero."""
    from scipy.optimize import linprog

    hidden = np.flatnonzero(~may & (counts > 0))
    a = np.array([np.isin(hidden, g).astype(float) for g in sums])
    b = np.array([counts[g][~may[g]].sum() for g in sums], float)
    target = (hidden == cell).astype(float)
    low, high = (linprog(s * target, A_eq=a, b_eq=b, bounds=(0, None)) for s in (1, -1))
    return float(low.fun), float(-high.fun)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.data())
def test_nobody_works_a_small_cell_out(n_rows: int, n_columns: int, data: st.DataObject) -> None:
    size = n_rows * n_columns
    some = st.one_of(st.integers(0, 12), st.integers(10, 60))
    counts = np.array(data.draw(st.lists(some, min_size=size, max_size=size)))
    sums = rows_and_columns((n_rows, n_columns))
    may = told(counts, sums, 10)
    assert (counts[may & (counts > 0)] >= 10).all()
    for cell in np.flatnonzero(~may & (counts < 10) & (counts > 0)):
        whole = [g for g in sums if cell in g and not (may[g] & (counts[g] > 0)).any()]
        if any((counts[g] > 0).sum() == 1 or counts[g].sum() < 10 for g in whole):
            continue  # its row or column has nobody else: that sum itself is not told
        low, high = attacker(counts, may, sums, int(cell))
        assert high - low > 1e-6, (counts.reshape(n_rows, -1), may.reshape(n_rows, -1))


def lines_of(*rows: tuple[str, str, int]) -> pl.DataFrame:
    """Newest lines: prescriber, regimen, number of patients."""
    people = [(h, r) for h, r, n in rows for _ in range(n)]
    return pl.DataFrame(
        {
            "case_id": [f"p{i}" for i in range(len(people))],
            "line": [1] * len(people),
            "regimen": [r for _, r in people],
            "prescriber": [h or None for h, _ in people],
        }
    )


def persons_of(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select("case_id", sex=pl.lit("F"))


def test_an_hcp_of_nine_patients_is_not_told() -> None:
    lines = lines_of(("H1", "a", 40), ("H2", "a", 40), ("H3", "a", 9), ("H4", "a", 8), ("", "a", 30))
    found = attributed(lines, persons_of(lines), ["a"], TreatmentSettings())
    assert found.hcps["case_id"].to_list() == ["H1", "H2"]
    assert (found.n_hcps, found.suppressed["hcps"], found.n_unattributed) == (4, 2, 30)


def test_the_total_does_not_give_the_only_small_hcp_away() -> None:
    lines = lines_of(("H1", "a", 40), ("H2", "a", 12), ("H3", "a", 9))
    found = attributed(lines, persons_of(lines), ["a"], TreatmentSettings())
    assert found.hcps["case_id"].to_list() == ["H1"]  # 61 − 40 − 12 would be 9


def test_patients_without_a_prescriber_hide_nobody() -> None:
    lines = lines_of(("H1", "a", 40), ("H2", "a", 12), ("H3", "a", 9), ("", "a", 30))
    found = attributed(lines, persons_of(lines), ["a"], TreatmentSettings())
    assert found.hcps["case_id"].to_list() == ["H1"]  # 91 − 30 without one − 40 − 12 would be 9


def test_the_mix_is_held_against_the_rest() -> None:
    lines = lines_of(("H1", "a", 40), ("H1", "b", 10), ("H2", "a", 20), ("H2", "b", 80), ("H3", "a", 20))
    found = attributed(lines, persons_of(lines), ["a", "b"], TreatmentSettings(focus="a"))
    row = found.mix.filter(case_id="H1", regimen="a").row(0, named=True)
    # 40 of 50 against 40 of 120
    assert row["share"] == pytest.approx(0.8) and row["rest"] == pytest.approx(1 / 3)
    assert row["low"] < row["difference"] < row["high"] and row["low"] > 0.2
    words = dict(found.hcps.select("case_id", "focus_against_rest").iter_rows())
    assert words["H1"] == "more" and words["H2"] == "less"


def test_each_patient_counts_once_with_the_newest_prescriber() -> None:
    first = lines_of(("H1", "a", 20))
    later = first.with_columns(line=pl.lit(2), prescriber=pl.lit("H2"), regimen=pl.lit("b"))
    lines = pl.concat([first.cast({"line": pl.Int64}), later.cast({"line": pl.Int64})])
    found = attributed(lines, persons_of(first), ["a", "b"], TreatmentSettings())
    assert found.hcps.select("case_id", "treated_patients").rows() == [("H2", 20)]


@pytest.mark.parametrize(
    "name", ["person_id", "Patient ID", "patient_id", "MRN", "patid", "PERSON_ID", "x.patient_id"]
)
def test_keys_of_patients_are_known(name: str) -> None:
    assert is_patient_key(name)


@pytest.mark.parametrize("name", ["case_id", "hcp_id", "Account_vod__c", "customer_id", "patients"])
def test_other_keys_are_none(name: str) -> None:
    assert not is_patient_key(name)


def calls(folder: Path, case: str = "hcp_id", n: int = 40) -> Path:
    ids = [f"H{i % n}" for i in range(6 * n)]
    table = pl.DataFrame(
        {
            case: ids,
            "activity": [("call", "mail", "visit")[i % 3] for i in range(6 * n)],
            "timestamp": [f"2025-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(6 * n)],
        }
    )
    table.write_csv(folder / "calls.csv")
    return folder


@pytest.mark.parametrize("case", ["person_id", "patient_id", "patient"])
def test_a_job_about_hcps_refuses_keys_of_patients(tmp_path: Path, case: str) -> None:
    job = job_from({"source": {"calls": {"path": "calls.csv"}}}, name="j", base=calls(tmp_path, case))
    with pytest.raises(JobError, match="is a key of single patients") as refused:
        run(job, tmp_path / "run")
    assert "behavio treatment" in refused.value.hint
    assert not (tmp_path / "run" / "log").exists()


def test_streamed_tables_are_refused_too(tmp_path: Path) -> None:
    table = {"source": {"calls": {"path": "calls.csv"}}, "log": {"stream_above_mb": 0.0}}
    with pytest.raises(JobError, match="is a key of single patients"):
        run(job_from(table, name="j", base=calls(tmp_path, "patient_id")), tmp_path / "run")


def test_keys_beside_the_case_are_refused(tmp_path: Path) -> None:
    folder = calls(tmp_path)
    table = pl.read_csv(folder / "calls.csv").with_columns(patient_id=pl.lit("p1"))
    table.write_csv(folder / "calls.csv")
    source = {"calls": {"path": "calls.csv"}}
    with pytest.raises(JobError, match="'patient_id' is a key of single patients"):
        run(job_from({"source": source}, name="j", base=folder), tmp_path / "run")
    for named in ({"case_id": "MRN"}, {"columns": {"who": "patient_id"}}, {"identity": "mrn"}):
        with pytest.raises(JobError, match=r"\[source.calls\]: '(MRN|mrn|patient_id)' is a key"):
            job_from({"source": {"calls": {"path": "calls.csv"} | named}}, name="j", base=folder)
    kept = {"calls": {"path": "calls.csv", "keep": ["activity"]}}
    run(job_from({"source": kept}, name="j", base=folder), tmp_path / "run")


@pytest.mark.parametrize("role", ["cases", "survey"])
def test_tables_beside_the_events_are_refused(tmp_path: Path, role: str) -> None:
    folder = calls(tmp_path)
    rows = {"patient_id": ["H1"], "question": ["q"], "answer": ["a"]}
    pl.DataFrame(rows).write_csv(folder / "more.csv")
    table = {"source": {"calls": {"path": "calls.csv"}}, role: {"path": "more.csv"}}
    with pytest.raises(JobError, match=rf"\[{role}\]: 'patient_id' is a key"):
        run(job_from(table, name="j", base=folder), tmp_path / "run")


def test_a_source_that_is_declared_to_hold_patients_is_refused(world: Path, tmp_path: Path) -> None:
    table = {"source": {"drugs": {"path": "DRUG_EXPOSURE.csv", "kind": "omop.drug_exposure"}}}
    with pytest.raises(JobError, match=r"\[source.drugs\] holds single patients"):
        run(job_from(table, name="j", base=world / "omop"), tmp_path / "run")


def test_a_job_about_patients_neither_suggests_nor_delivers(tmp_path: Path) -> None:
    table = {
        "source": {"calls": {"path": "calls.csv"}},
        "log": {"case": "patient"},
        "journeys": {"process_model": False},
    }
    folder = calls(tmp_path, "patient_id")
    run(job_from(table, name="j", base=folder), tmp_path / "run")
    assert (tmp_path / "run" / "journeys" / "variants.parquet").is_file()
    for stage in ({"model": {}, "suggest": {}}, {"treatment": {"path": "study"}}):
        with pytest.raises(JobError, match="the cases of this job are patients"):
            job_from(table | stage, name="j", base=folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    simulate_patients(PatientSettings(n_patients=600, n_hcps=6, seed=5), folder)
    api.treatment(folder / "omop", drugs=DRUGS, focus="Alvastin", out=folder / "study")
    return folder


def hcp_job(world: Path, folder: Path, treatment: dict[str, str] | None, more: str = "") -> Path:
    ids = pl.read_csv(world / "omop" / "PROVIDER.csv")["provider_source_value"].to_list()
    names = {f"H{i}": ids[i] if i < len(ids) else f"X{i}" for i in range(40)}
    table = pl.read_csv(calls(folder) / "calls.csv").with_columns(pl.col("hcp_id").replace(names))
    table.write_csv(folder / "calls.csv")
    text = '[source.calls]\npath = "calls.csv"\n' + more
    if treatment is not None:
        text += "[treatment]\n" + "".join(f'{k} = "{v}"\n' for k, v in treatment.items())
    (folder / "job.toml").write_text(text, encoding="utf-8")
    return folder / "job.toml"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and ".stages" not in p.parts)
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if p.name != "manifest.json"
    }


def test_counts_join_the_cases_of_a_job_and_switched_off_nothing_changes(world: Path, tmp_path: Path) -> None:
    more = "[journeys]\nprocess_model = false\n[report]\n"
    plain = run(read_job(hcp_job(world, tmp_path, None, more)), tmp_path / "plain")
    path = (world / "study").as_posix()
    with_it = run(read_job(hcp_job(world, tmp_path, {"path": path}, more)), tmp_path / "with")
    cases = with_it.table("log/cases.parquet")
    known = pl.read_parquet(world / "study" / "hcps" / "hcps.parquet")
    assert cases.filter(pl.col("treated_patients").is_not_null()).height == known.height == 6
    assert with_it.manifest["stages"]["log"]["facts"]["treatment"]["n_found"] == 6
    assert "treated_patients" not in plain.table("log/cases.parquet").columns
    off = read_job(hcp_job(world, tmp_path, None, more))
    again = run(off, tmp_path / "with")  # switched off in the same folder
    assert again.reused == ()
    assert digests(tmp_path / "with") == digests(tmp_path / "plain")
    assert digests(tmp_path / "plain") and "treatment" not in plain.manifest["settings"]


def test_another_table_is_another_run(world: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(world / "study" / "hcps" / "hcps.parquet")
    table.write_csv(tmp_path / "hcps.csv")
    job = read_job(hcp_job(world, tmp_path, {"path": "hcps.csv", "prefix": "rwd_"}))
    assert "rwd_treated_patients" in run(job, tmp_path / "run").table("log/cases.parquet").columns
    assert "log" in run(job, tmp_path / "run").reused
    table.with_columns(pl.col("treated_patients") + 1).write_csv(tmp_path / "hcps.csv")
    assert "log" not in run(job, tmp_path / "run").reused


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (pl.col("treated_patients").clip(upper_bound=9), "rest on fewer than 10 patients"),
        (pl.lit("p1").alias("patient_id"), "is a key of single patients"),
        (pl.lit("X").alias("case_id"), "stands in several rows"),
    ],
)
def test_a_table_that_is_not_aggregated_is_refused(
    world: Path, tmp_path: Path, changed: pl.Expr, message: str
) -> None:
    table = pl.read_parquet(world / "study" / "hcps" / "hcps.parquet").with_columns(changed)
    table.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(BehavioError, match=message):
        run(read_job(hcp_job(world, tmp_path, {"path": "t.parquet"})), tmp_path / "run")


def test_lines_of_patients_cannot_be_handed_in(world: Path, tmp_path: Path) -> None:
    path = (world / "study" / "patients" / "lines.parquet").as_posix()
    with pytest.raises(JobError, match="has no column 'treated_patients'"):
        run(read_job(hcp_job(world, tmp_path, {"path": path})), tmp_path / "run")
    with pytest.raises(JobError, match="there is no"):
        run(read_job(hcp_job(world, tmp_path, {"path": "nowhere"})), tmp_path / "run")


def test_the_report_tells_groups_of_ten_hcps_and_more(world: Path, tmp_path: Path) -> None:
    job = hcp_job(world, tmp_path, {"path": "t.csv", "prefix": "rwd_"}, "[report]\n")
    ids = sorted(set(pl.read_csv(tmp_path / "calls.csv")["hcp_id"].to_list()))
    words = ["less" if i < 12 else "alike" if i < 31 else "more" for i in range(40)]
    table = {"case_id": ids, "treated_patients": [20] * 40, "focus_share": [0.5] * 40}
    pl.DataFrame(table | {"focus_against_rest": words}).write_csv(tmp_path / "t.csv")
    told = run(read_job(job), tmp_path / "run").folder / "report" / "tables" / "treated.csv"
    rows = pl.read_csv(told).select("name", "n_cases", "patients").rows()
    assert rows == [("alike", 19, 380), ("less", 12, 240)]  # nine HCPs with "more" are not told


def test_ids_that_fit_nobody_are_an_error(world: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(world / "study" / "hcps" / "hcps.parquet")
    table.with_columns(pl.col("case_id") + "x").write_parquet(tmp_path / "t.parquet")
    with pytest.raises(LogError, match="none of the 6 HCPs"):
        run(read_job(hcp_job(world, tmp_path, {"path": "t.parquet"})), tmp_path / "run")
    assert TreatmentInput("x").prefix == ""


def test_a_study_folder_is_whole_and_the_same_twice(world: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        api.treatment(world / "omop", drugs=DRUGS, focus="Alvastin", out=tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    page = (tmp_path / "one" / "treatment.html").read_text(encoding="utf-8")
    assert "<svg" in page and "http" not in page.replace("http://www.w3.org", "")
    api.treatment(world / "omop", drugs=DRUGS, focus="Alvastin", out=tmp_path / "one")  # replaced
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="holds other files"):
        api.treatment(world / "omop", drugs=DRUGS, out=tmp_path / "other")


def test_what_leaves_names_no_patient(world: Path) -> None:
    hcps = world / "study" / "hcps"
    people = set(pl.read_csv(world / "omop" / "PERSON.csv")["person_id"].cast(pl.String).to_list())
    for file in hcps.glob("*.parquet"):
        table = pl.read_parquet(file)
        assert not set(table["case_id"].to_list()) & people
        counts = [c for c in ("treated_patients", "n_patients", "n_focus") if c in table.columns]
        for column in counts:
            assert (table[column].drop_nulls() >= 10).all()


def test_the_command_as_typed(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drugs.toml").write_text(
        "".join(f'"{k}" = "{v}"\n' for k, v in DRUGS.items()), encoding="utf-8"
    )
    omop = str(world / "omop")
    done = CliRunner().invoke(cli, ["treatment", omop, "--drugs", "drugs.toml", "--out", "study"])
    assert done.exit_code == 0, done.output
    assert "Alvastin + Beloxan" in done.output and "written to study" in done.output
    for flag in ("--lines", "--mix", "--profiles", "--endings", "--log-rank"):
        shown = CliRunner().invoke(cli, ["treatment", omop, "--drugs", "drugs.toml", flag, "--json"])
        assert shown.exit_code == 0 and shown.output.startswith("["), shown.output


def test_a_study_file(world: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        f"""
[source.drugs]
kind = "omop.drug_exposure"
path = "{world}/omop/DRUG_EXPOSURE.csv"

[cases]
kind = "omop.person"
path = "{world}/omop/PERSON.csv"

[lines]
gap = "120d"
drugs = {{ "alvastin*" = "Alvastin" }}
""",
        encoding="utf-8",
    )
    found = api.treatment(tmp_path / "study.toml")
    assert found.settings.gap == "120d" and set(found.lines["regimen"]) == {"Alvastin"}
    assert any("records of other drugs" in n for n in found.notes)
