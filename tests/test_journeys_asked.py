"""Journey maps per segment, the journeys of Python and of the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from conftest import traces
from hypothesis import given, settings
from oracles_journeys import load

import behavio
from behavio import api
from behavio.cli import cli
from behavio.distances.medoids import central
from behavio.errors import JobError
from behavio.journeys import JourneySettings, ask, journey_map, write_journeys
from behavio.journeys.phases import PHASE_SCHEMA, REPRESENTATIVE_SCHEMA
from behavio.kernels.responses import first_responses
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400


def mailed() -> SequenceSet:
    """c0: sent(0 d) open(1 d) sent(40 d) | c1: sent(0 d) sent(2 d) open(30 d) | c2: visit(0 d)."""
    made = [["sent", "open", "sent"], ["sent", "sent", "open"], ["visit"]]
    log = SequenceSet.from_traces(made, [[0, DAY, 40 * DAY], [0, 2 * DAY, 30 * DAY], [0]])
    sides = Vocabulary.of(["inbound", "outbound"])
    side = {"sent": "outbound", "open": "inbound", "visit": "inbound"}
    codes = np.array([sides.id(side[a]) for t in made for a in t], dtype=np.int32)
    return dataclasses.replace(log, fields={"direction": Field(codes, sides)})


def test_answers_belong_to_the_newest_touch_and_come_once():
    #        t  a  a | t  t  a: the second a answers nothing, the touch before the last gets none
    touch = np.array([1, 0, 0, 1, 1, 0], dtype=bool)
    found = first_responses(~touch, touch, np.array([0, 3, 6]), np.array([0, 1, 2, 0, 5, 9]), -1)
    assert found.tolist() == [1, -1, -1, -1, 5, -1]
    assert first_responses(~touch, touch, np.array([0, 3, 6]), np.array([0, 1, 2, 0, 5, 9]), 3).tolist() == [
        1, -1, -1, -1, -1, -1,
    ]  # fmt: skip


def test_journey_map_by_hand():
    segments = pl.DataFrame({"case_id": ["c0", "c1", "c2"], "segment": ["Mail", "Mail", None]})
    found = journey_map(mailed(), segments, phases=("30d",), within="14d")
    assert dict(found.phases.schema) == PHASE_SCHEMA
    columns = ["phase", "from", "until", "activity", "events", "cases", "phase_cases", "answered", "answer"]
    everybody = found.phases.filter(pl.col("segment").is_null())
    assert everybody.select(columns).rows() == [
        # the open of c1 came 28 days after the newest mail: no answer; it lies in phase 2, as does c0's mail
        (1, None, "30d", "sent", 3, 2, 3, 1, "open"),
        (1, None, "30d", "open", 1, 1, 3, None, None),
        (1, None, "30d", "visit", 1, 1, 3, None, None),
        (2, "30d", None, "open", 1, 1, 2, None, None),
        (2, "30d", None, "sent", 1, 1, 2, 0, None),
    ]
    mail = found.phases.filter(pl.col("segment") == "Mail")
    assert mail["events"].sum() == 6 and mail["phase_cases"].to_list() == [2] * 4
    sent = everybody.row(0, named=True)
    assert (sent["share"], sent["reach"], sent["answered_share"]) == (3 / 5, 2 / 3, 1 / 3)
    assert (sent["median_answer_s"], sent["direction"]) == (DAY, "outbound")


def test_the_representative_is_the_medoid_of_the_cases():
    # a b ×2, a c ×2, a b c ×2: a b c is one edit from each of the others, these are one from each other too,
    # but of two events: 1/2 and 1/3 against 1/3 and 1/3
    log = SequenceSet.from_traces([["a", "b"], ["a", "c"], ["a", "b", "c"]] * 2)
    case, distance = central(log)
    assert case == 2 and distance == pytest.approx(2 / 9)
    frame = journey_map(log).representatives
    assert dict(frame.schema) == REPRESENTATIVE_SCHEMA
    assert frame.rows() == [(None, "a → b → c", ["a", "b", "c"], "c2", 2, 1 / 3, pytest.approx(2 / 9))]


@settings(max_examples=30)
@given(traces)
def test_the_medoid_is_what_comparing_all_with_all_finds(made):
    """Levenshtein by the book, over the longer journey, every case with every other."""

    def edits(x, y):
        row = list(range(len(y) + 1))
        for i, a in enumerate(x):
            last, row[0] = row[0], i + 1
            for j, b in enumerate(y):
                last, row[j + 1] = row[j + 1], min(last + (a != b), row[j] + 1, row[j + 1] + 1)
        return row[-1] / max(len(x), len(y))

    means = [sum(edits(x, y) for y in made) / len(made) for x in made]
    case, distance = central(SequenceSet.from_traces(made))
    assert distance == pytest.approx(min(means), abs=1e-6) and means[case] == pytest.approx(
        distance, abs=1e-6
    )


def test_a_representative_of_many_cases_is_one_of_a_sample():
    log = SequenceSet.from_traces([list("ab" * (1 + i % 5)) for i in range(300)])
    case, distance = central(log, sample=50)
    assert (case, distance) == central(log, sample=50)
    assert log.lengths[case] in (4, 6, 8) and 0 < distance < 1


def test_a_log_without_clock_or_direction_has_a_map_too():
    log = dataclasses.replace(SequenceSet.from_traces([list("abcdabcd")]), timed=False)
    found = journey_map(log).phases
    assert found.select("phase", "from", "until").unique(maintain_order=True).rows() == [
        (1, None, "3 events"),
        (2, "3 events", "10 events"),
    ]
    assert found["answered"].null_count() == found["direction"].null_count() == found.height
    assert found["events"].sum() == 8 and found["median_answer_s"].null_count() == found.height


@pytest.mark.parametrize("phases", [("90d", "30d"), (), ("30d", "30d"), ("0d",)])
def test_phases_that_do_not_rise(phases):
    with pytest.raises(JobError, match="do not rise"):
        journey_map(mailed(), phases=phases)


def test_phases_hold_every_event(real_log):
    log = load(real_log("complete_journey"))
    half = pl.DataFrame({"case_id": log.case_ids, "segment": ["x", "y"] * (log.n_cases // 2) + ["x"]})
    found = journey_map(log, half)
    total = found.phases.group_by("segment").agg(pl.col("events").sum())
    assert dict(total.rows())[None] == log.n_events == sum(n for s, n in total.rows() if s)
    assert found.representatives["cases"].min() >= 1 and found.representatives.height == 3


def test_journeys_writes_the_map_only_with_segments(tmp_path):
    segments = pl.DataFrame({"case_id": ["c0", "c1", "c2"], "segment": ["Mail", "Mail", "Web"]})
    for name, groups in (("with", segments), ("without", None)):
        (tmp_path / name).mkdir()
        write_journeys(mailed(), JourneySettings(), tmp_path / name, segments=groups)
    assert pl.read_parquet(tmp_path / "with" / "phases.parquet")["segment"].n_unique() == 3
    left = {p.name for p in (tmp_path / "without").iterdir()}
    assert {"waiting.parquet", "eventually.parquet", "steps.parquet", "rework.parquet"} <= left
    assert not left & {"phases.parquet", "representatives.parquet"}


def test_a_setting_that_is_no_duration():
    with pytest.raises(JobError, match="no duration"):
        JourneySettings(answer_within="soon")
    with pytest.raises(JobError, match="steps is 0"):
        JourneySettings(steps=0)


# ---------------------------------------------------------------- Python and the command line

VISITS = """case_id,activity,timestamp
a,mail,2026-01-01 09:00
a,call_f2f,2026-01-01 09:10
a,portal,2026-02-03 09:00
b,mail,2026-01-02 09:00
b,call_video,2026-01-02 09:05
b,call_f2f,2026-01-02 09:06
c,portal,2026-01-05 09:00
"""


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    (tmp_path / "visits.csv").write_text(VISITS)
    (tmp_path / "groups.toml").write_text('"call_*" = "call"\n')
    return tmp_path / "visits.csv"


def told(*words: object) -> tuple[str, str]:
    done = CliRunner().invoke(cli, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_a_log_is_asked_again_and_again(visits):
    asked = behavio.journeys(visits, groups={"call_*": "call"}, sessions="1h")
    assert asked.notes == (
        "2 of 4 activities in 1 group",
        "4 sessions of 3 cases, cut at gaps above 1h",
    )
    assert asked.graph().edges.select("source", "target", "frequency").rows() == [
        ("mail", "call", 2),
        ("call", "call", 1),
    ]
    assert asked.graph(quantiles=False).edges["mean_s"].to_list() == [450.0, 60.0]
    assert asked.eventually(2).height == 2 and asked.steps(1)["cases"].sum() == 4
    assert asked.variants().cases.tolist() == [2, 1, 1]
    # a#1 is over, since a second session followed; the last sessions of a, b and c may go on
    assert asked.durations().select("state", "cases").rows() == [("all", 4), ("over", 1), ("open", 3)]
    assert asked.waiting()["activity"].to_list() == ["call"] and asked.rework()["extra_events"][0] == 1
    assert asked.funnel(["mail", "call"])["cases"].to_list() == [2, 2]
    assert asked.retention()["cases"].to_list() == [3, 0, 1] and asked.lifecycle()["cases"].sum() == 7
    assert asked.map().phases["events"].sum() == 7
    assert ask(asked.sequences).notes == ()


def test_similar_activities_from_python(visits):
    assert behavio.journeys(visits, groups=2).sequences.own_vocabulary().activities != ()
    assert len(behavio.journeys(visits, groups=2).sequences.own_vocabulary().activities) <= 2


def test_graph_on_the_command_line(visits):
    out, err = told("graph", visits, "--group", visits.parent / "groups.toml", "--sessions", "1h", "--json")
    rows = json.loads(out)
    assert [(r["source"], r["target"], r["frequency"]) for r in rows] == [
        ("mail", "call", 2),
        ("call", "call", 1),
    ]
    assert "4 sessions of 3 cases" in err and "2 of 4 activities" in err
    pairs = json.loads(told("graph", visits, "--eventually", "--json")[0])
    assert {(r["source"], r["target"]) for r in pairs} >= {("mail", "portal"), ("mail", "call_f2f")}
    assert "max" not in told("graph", visits)[0] and "max" in told("graph", visits, "--performance")[0]
    assert json.loads(told("variants", visits, "--sessions", "1h", "--json")[0])[0]["cases"] == 2


def test_steps_funnel_and_retention_on_the_command_line(visits):
    matrix = told("steps", visits, "--n", "2")[0].splitlines()
    assert matrix[0].split() == ["activity", "1", "2"]
    assert next(line for line in matrix if line.startswith("mail")).split() == ["mail", "67", "·"]
    assert json.loads(told("steps", visits, "--n", "1", "--json")[0])[0]["share"] == pytest.approx(2 / 3)
    out, _ = told("funnel", visits, "mail", "call_*", "portal", "--within", "60d", "--json")
    assert [r["cases"] for r in json.loads(out)] == [2, 2, 1]
    assert "50.0 %" in told("funnel", visits, "mail", "call_*", "portal")[0]
    out, err = told("retention", visits)
    assert "2026-01-01" in out and "February 2026" in err
    rows = json.loads(told("retention", visits, "--active", "portal", "--json")[0])
    assert [(r["cohort"], r["cases"]) for r in rows] == [
        ("2026-01-01", 1),
        ("2026-01-01", 0),
        ("2026-02-01", 1),
    ]


def test_a_run_answers_and_is_cut_when_asked_to(visits, tmp_path):
    (tmp_path / "j.toml").write_text('[source.a]\npath = "visits.csv"\n[journeys]\nprocess_model = false\n')
    behavio.run(tmp_path / "j.toml", out=tmp_path / "run")
    assert api.graph(tmp_path / "run").height == 4
    assert api.graph(tmp_path / "run", eventually=True).height == 5
    assert api.graph(tmp_path / "run", sessions="1h").height == 3
    assert api.funnel(tmp_path / "run", ["mail", "portal"])["cases"].to_list() == [2, 1]
    with pytest.raises(JobError, match="would change nothing"):
        api.funnel(tmp_path / "run", ["mail", "portal"], case_id="x")


def typed(*words: str) -> str:
    done = CliRunner().invoke(cli, list(words))
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    return done.output


@pytest.fixture
def mailings(tmp_path: Path) -> str:
    """anna: mail_a(1.) mail_b(3.) open(4.) mail_a(9.) | ben: mail_a(1.) mail_b(2.), January 2026."""
    rows = [("anna", "mail_a", 1), ("anna", "mail_b", 3), ("anna", "open", 4), ("anna", "mail_a", 9)]
    rows += [("ben", "mail_a", 1), ("ben", "mail_b", 2)]
    lines = [f"{who},{what},2026-01-{day:02d}" for who, what, day in rows]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(["case_id,activity,timestamp", *lines]))
    (tmp_path / "mail.toml").write_text('"mail_*" = "mail"')
    return str(path)


def test_waits_rework_and_lifecycle_as_typed(mailings):
    rules = str(Path(mailings).with_name("mail.toml"))
    waits = json.loads("[" + typed("waits", mailings, "--group", rules, "--json").partition("[")[2])
    by_name = {row["activity"]: row for row in waits}
    # mail waited for three times, 2, 5 and 1 days; open once, 1 day; 9 days in all
    assert (by_name["mail"]["waits"], by_name["mail"]["share"]) == (3, pytest.approx(8 / 9))
    again = typed("rework", mailings, "--group", rules).splitlines()
    assert any(line.split()[:4] == ["mail", "5", "2", "2"] for line in again)  # 5 events, 2 cases, both again
    states = json.loads(typed("lifecycle", mailings, "--json"))
    assert sum(r["cases"] for r in states if r["date"] == states[-1]["date"]) == 2
    assert "2026-01-09" in typed("lifecycle", mailings)


def test_rules_for_groups_and_names_of_communications_as_typed(mailings):
    rules = str(Path(mailings).with_name("mail.toml"))
    assert "mail × 2" in typed("patterns", mailings, "--group", rules, "--min-support", "0.1")
    grouped = typed("compare", mailings, mailings, "--table", "activities", "--group", rules, "--csv")
    assert grouped.splitlines()[1].startswith("mail,") and "mail_a" not in grouped
    sent = typed("patterns", mailings, "--communications", "--outbound", "mail_*", "--json")
    assert "answered: any inbound event" in sent
    alone = CliRunner().invoke(cli, ["patterns", mailings, "--outbound", "mail_*"])
    assert alone.exit_code == 2 and "--communications" in alone.output
    wrong = CliRunner().invoke(cli, ["patterns", mailings, "--communications", "--outbound", "male_*"])
    assert isinstance(wrong.exception, JobError) and "male_*" in str(wrong.exception)
