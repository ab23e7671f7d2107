"""Lines of therapy: eras, lines and endings by hand, time on treatment against a slow twin, planted truth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import behavio
from behavio import api, sources
from behavio.errors import JobError, LogError
from behavio.log import EventLog
from behavio.simulate.patients import PatientSettings, simulate_patients
from behavio.treatment import Treatment, TreatmentSettings, treatment
from behavio.treatment.exposures import records_of
from behavio.treatment.lines import Era, Rule, eras_of, patient_lines
from behavio.treatment.survival import incidence

START = datetime(2024, 1, 1, tzinfo=UTC)
DRUGS = {"alvastin*": "Alvastin", "beloxan*": "Beloxan", "corvidal*": "Corvidal"}


def log_of(*rows: tuple[str, str, int, int], until: int = 1_000) -> EventLog:
    """Rows of (patient, drug, day, days of supply); somebody is seen on the last day."""
    seen = [("zz", "visit", "visit", START + timedelta(until), 0)]
    events = [(p, "drug", d, START + timedelta(day), supply) for p, d, day, supply in rows]
    names = ["case_id", "activity", "name", "timestamp", "days_supply"]
    return EventLog.from_frame(pl.DataFrame(events + seen, schema=names, orient="row"))


def told(found: Treatment, case: str = "a") -> list[tuple[str, str, str, int, int]]:
    """Regimen, begun by, ended by, first and last day of each line of a patient."""
    rows = found.lines.filter(case_id=case).select("regimen", "begun_by", "ended_by", "start", "end")
    return [(r, b, e, (s - START).days, (t - START).days) for r, b, e, s, t in rows.iter_rows()]


def test_records_within_the_persistence_window_are_one_era() -> None:
    # supply until day 30; 30 days later is the same era, 31 days later is another
    for start, n in ((60, 1), (61, 2)):
        log = log_of(("a", "x", 0, 30), ("a", "x", start, 30))
        own = TreatmentSettings()
        assert eras_of(records_of(log, own).exposures, own).height == n


def test_a_long_supply_covers_the_short_one_inside_it() -> None:
    own = TreatmentSettings()
    log = log_of(("a", "x", 0, 200), ("a", "x", 10, 5), ("a", "x", 210, 30))
    eras = eras_of(records_of(log, own).exposures, own)
    assert [(e - s).days for s, e in eras.select("start", "end").iter_rows()] == [240]


def test_a_regimen_is_what_begins_in_its_window() -> None:
    found = treatment(log_of(("a", "x", 0, 60), ("a", "y", 28, 60)))
    assert told(found) == [("x + y", "start", "stop", 0, 88)]


def test_a_new_drug_beside_an_old_one_is_an_add_else_a_switch() -> None:
    # x lasts 30 days beyond the start of y: an add; 29 days: a switch
    add = treatment(log_of(("a", "x", 0, 130), ("a", "y", 100, 60)))
    assert told(add) == [("x", "start", "add", 0, 100), ("x + y", "add", "stop", 100, 160)]
    switch = treatment(log_of(("a", "x", 0, 129), ("a", "y", 100, 60)))
    assert told(switch) == [("x", "start", "switch", 0, 100), ("y", "switch", "stop", 100, 160)]


def test_an_add_drops_what_is_not_taken_any_more() -> None:
    found = treatment(log_of(("a", "x", 0, 200), ("a", "y", 0, 90), ("a", "z", 100, 60)))
    assert told(found)[1][0] == "x + z"


def test_a_gap_is_a_stop_and_what_follows_a_restart() -> None:
    found = treatment(log_of(("a", "x", 0, 30), ("a", "x", 120, 30), ("a", "x", 241, 30)))
    # day 30 to 120 is 90 days: still the same line; 150 to 241 is 91: a stop
    assert told(found) == [("x", "start", "stop", 0, 150), ("x", "restart", "stop", 241, 271)]


def test_a_stop_is_known_only_when_the_gap_has_passed() -> None:
    log = log_of(("a", "x", 0, 60), ("b", "x", 0, 61), until=150)
    assert told(treatment(log))[0][2] == "stop"
    assert told(treatment(log), "b")[0][2:] == ("", 0, 61)


def test_death_ends_a_line() -> None:
    log = log_of(("a", "x", 0, 60))
    dead = pl.DataFrame({"case_id": ["a"], "activity": ["death"], "timestamp": [START + timedelta(70)]})
    found = treatment(EventLog.from_frame(pl.concat([log.events.drop("event_index"), dead], how="diagonal")))
    assert told(found) == [("x", "start", "death", 0, 70)]


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(0, 400), st.integers(1, 90)), min_size=1, max_size=8
    )
)
def test_lines_follow_each_other_and_hold_every_drug(rows: list[tuple[str, int, int]]) -> None:
    eras = sorted((Era(d, s, s + n, None) for d, s, n in rows), key=lambda e: (e.start, e.drug))
    lines = patient_lines(eras, Rule(28, 30, 90), 2_000)
    for one, other in pairwise(lines):
        assert one.start < other.start and one.end <= other.start and one.ended_by
        begun = {"add": "add", "switch": "switch", "stop": "restart"}[one.ended_by]
        assert other.begun_by == begun
        if begun == "add":
            assert one.regimen & other.regimen
    assert {d for line in lines for d in line.regimen} == {d for d, _, _ in rows}
    assert lines[0].start == eras[0].start and lines[-1].ended_by == "stop"
    for era in eras:  # every era begins inside the line that holds it
        assert any(line.start <= era.start and era.start <= max(line.end, line.last) for line in lines)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["", "stop", "switch"])), min_size=2, max_size=30)
)
def test_incidence_is_that_of_counting_day_by_day(rows: list[tuple[int, str]]) -> None:
    days = np.array([float(d) for d, _ in rows])
    how = np.array([h for _, h in rows])
    free, share = 1.0, 0.0
    for day in range(1, 13):
        risk = (days >= day).sum()
        if risk:
            share += free * ((days == day) & (how == "stop")).sum() / risk
            free *= 1 - ((days == day) & (how != "")).sum() / risk
    found, half = incidence(days, how, "stop", 12.0)
    assert found == pytest.approx(share)
    assert half >= 0


def test_the_interval_of_an_incidence_is_that_of_a_resampled_log() -> None:
    rng = np.random.default_rng(1)
    days = np.minimum(rng.exponential(100, 300), rng.uniform(0, 300, 300)).round()
    how = rng.choice(["stop", "switch", ""], 300, p=[0.5, 0.3, 0.2])
    _, half = incidence(days, how, "stop", 120.0)
    picks = [rng.integers(0, 300, 300) for _ in range(400)]
    drawn = [incidence(days[p], how[p], "stop", 120.0)[0] for p in picks]
    assert half / 1.96 == pytest.approx(np.std(drawn), rel=0.15)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    simulate_patients(PatientSettings(n_patients=1_500, n_hcps=12, seed=3), folder)
    return folder


@pytest.fixture(scope="module")
def study(world: Path) -> Treatment:
    return api.treatment(
        world / "omop", drugs=DRUGS, comorbidities={"*diabetes*": "diabetes"}, focus="Alvastin"
    )


def test_planted_lines_are_found(world: Path, study: Treatment) -> None:
    truth = pl.read_parquet(world / "truth" / "lines.parquet").filter("in_tables")
    both = truth.join(study.lines, on=["case_id", "line"], how="full", suffix="_found")
    same = (pl.col("regimen") == pl.col("regimen_found")) & (pl.col("begun_by") == pl.col("begun_by_found"))
    share = both.select((same & (pl.col("start") == pl.col("start_found").dt.date())).fill_null(False).mean())
    # the last line of a patient may be cut off before its second drug, or before it is plainly an add
    assert share.item() > 0.99


def test_planted_time_on_treatment_and_endings_lie_in_their_intervals(world: Path, study: Treatment) -> None:
    truth = pl.read_parquet(world / "truth" / "lines.parquet")
    for row in study.time.times.iter_rows(named=True):
        planted = truth.filter(regimen=row["regimen"])["days"].to_numpy()
        assert row["low"] <= np.median(planted) <= (row["high"] or np.inf), row
    inside = []
    for row in study.time.endings.filter(pl.col("n") >= 10).iter_rows(named=True):
        own = truth.filter(regimen=row["regimen"])
        planted = ((own["ended_by"] == row["ended_by"]) & (own["days"] <= row["days"])).mean()
        inside.append(row["low"] <= planted <= row["high"])
    assert len(inside) > 15 and np.mean(inside) >= 0.9


def test_regimens_of_unlike_persistence_differ_by_log_rank(study: Treatment) -> None:
    table = study.time.log_rank
    assert table.row(0, named=True)["p_value"] < 1e-4
    pair = table.filter(a="Alvastin", b="Alvastin + Beloxan").row(0, named=True)
    assert pair["ratio"] < 0.8 and pair["q_value"] < 0.01
    alike = table.filter(a="Alvastin", b="Beloxan").row(0, named=True)
    assert alike["p_value"] > 0.01


def test_median_is_that_of_lifelines_own_table(study: Treatment) -> None:
    curve = study.time.curves.filter(regimen="Alvastin")
    reached = curve.filter(pl.col("share") <= 0.5)["days"][0]
    assert reached == study.time.times.filter(regimen="Alvastin")["median_days"][0]
    assert curve["n_at_risk"].to_list() == sorted(curve["n_at_risk"].to_list(), reverse=True)
    assert int(curve["n_at_risk"].min()) >= 10  # type: ignore[arg-type]


def test_a_claims_table_needs_no_mapping() -> None:
    rows = [(f"p{i}", "start", drug, f"2024-01-{i + 1:02d}", 90, "H1") for i in range(25) for drug in ("x",)]
    table = pl.DataFrame(
        rows, schema=["patient_id", "event", "drug", "date", "days_supply", "prescriber"], orient="row"
    )
    found = behavio.treatment(table, activities=("start",))
    assert found.lines["regimen"].to_list() == ["x"] * 25
    assert found.hcps.hcps["treated_patients"].to_list() == [25]


def test_nothing_that_is_a_treatment_is_an_error() -> None:
    log = EventLog.from_frame(pl.DataFrame({"case_id": ["a"], "activity": ["visit"], "timestamp": [START]}))
    with pytest.raises(JobError, match="nothing says which events are a treatment"):
        treatment(log)
    with pytest.raises(LogError, match="no record of a treatment"):
        treatment(log, TreatmentSettings(drugs={"*mab": "mab"}))
    with pytest.raises(JobError, match="no event is a 'drgu'"):
        treatment(log, TreatmentSettings(activities=("drgu",)))
    with pytest.raises(JobError, match="k is 5"):
        TreatmentSettings(k=5)
    with pytest.raises(JobError, match="shorter than the persistence"):
        TreatmentSettings(gap="10d")


def test_real_logs_of_patients(real_log: Callable[[str], Path]) -> None:
    # Synthea: three drugs for blood pressure, renewed yearly; S8 gets the third one 30 days after the others
    found = api.treatment(
        real_log("synthea_omop_27"),
        drugs={"*lisinopril*": "lisinopril", "*hydrochlorothiazide*": "HCTZ", "*amlodipine*": "amlodipine"},
        supply="372d",
    )
    own = found.lines.filter(case_id="S8").select("regimen", "begun_by").rows()
    assert own == [("HCTZ + lisinopril", "start"), ("HCTZ + amlodipine + lisinopril", "add")]
    assert found.time.times.height == 0 and any("no regimen has 10 patients" in n for n in found.notes)


def test_real_hospital_logs(real_log: Callable[[str], Path]) -> None:
    hospital = api.treatment(
        real_log("bpic2011_hospital"),
        drugs={"paclitaxel": "paclitaxel", "teletherapie*": "radiotherapy", "brachy*": "brachytherapy"},
        supply="21d",
        prescriber="producer_code",
    )
    times = {r["regimen"]: r["median_days"] for r in hospital.time.times.iter_rows(named=True)}
    assert times["paclitaxel"] > times["radiotherapy"] > times["brachytherapy"] > 0
    sepsis = api.treatment(
        real_log("sepsis"),
        activities=("IV Antibiotics", "IV Liquid", "Admission NC", "Admission IC"),
        prescriber="group",
        persistence="2d",
        gap="3d",
        regimen_window="1d",
        overlap="12h",
        observed="case",
    )
    assert sepsis.lines.height > 900 and sepsis.hcps.hcps["treated_patients"].min() >= 10  # type: ignore[operator]


def test_persons_and_conditions_make_profiles(study: Treatment) -> None:
    kinds = set(study.hcps.profiles["profile"].str.split(" ").list.first())
    assert kinds == {"age", "sex", "diabetes"}
    assert study.hcps.profiles["n_patients"].min() >= 10  # type: ignore[operator]


def test_what_hcps_do_is_found(world: Path, study: Treatment) -> None:
    planted = pl.read_parquet(world / "truth" / "patients.parquet").group_by("hcp").agg(pl.first("reluctant"))
    both = study.hcps.hcps.join(planted, left_on="case_id", right_on="hcp")
    less = both.filter(pl.col("focus_against_rest") == "less")
    assert less.height >= 2 and less["reluctant"].all()
    assert not both.filter(pl.col("focus_against_rest") == "more")["reluctant"].any()
    assert less["focus_profile"].null_count() < less.height


def test_omop_tables_in_capitals_or_not(world: Path, tmp_path: Path) -> None:
    for file in (world / "omop").iterdir():
        text = file.read_text(encoding="utf-8")
        head, _, rest = text.partition("\n")
        (tmp_path / file.name.lower()).write_text(head.upper() + "\n" + rest, encoding="utf-8")
    found = api.treatment(tmp_path, drugs=DRUGS)
    same = api.treatment(world / "omop", drugs=DRUGS)
    assert found.lines.equals(same.lines)
    assert found.hcps.hcps.equals(same.hcps.hcps)


def test_a_source_keeps_what_lines_need(world: Path) -> None:
    from behavio.api.patients import omop_inputs

    inputs = omop_inputs(world / "omop")
    assert inputs is not None and inputs.log.patients
    log = sources.read_log(inputs)
    assert {"name", "prescriber", "days_supply", "supply_end"} <= set(log.events.columns)
