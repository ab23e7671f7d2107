"""Answers of a sample, learned from behaviour: what is planted is found, what is not there is refused."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.audience import audience
from behavio.cli import cli
from behavio.errors import JobError, ModelError
from behavio.job import read_job
from behavio.log import SURVEY_SCHEMA, EventLog
from behavio.perceptions import (
    Perceptions,
    PerceptionSettings,
    combined,
    newest,
    perceptions,
    read_perceptions,
    write_perceptions,
)
from behavio.perceptions.inputs import case_inputs
from behavio.perceptions.learn import Answers, folds, skill
from behavio.perceptions.sample import raters, shift
from behavio.run import run
from behavio.simulate.history import live
from behavio.simulate.settings import SimulateSettings
from behavio.simulate.survey import SERVICE, survey_answers
from behavio.sources import LogInputs, SourceSettings, SurveySettings, read_log
from behavio.view import story
from behavio.view.page import page as page_of

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def log_of(likes: np.ndarray, seed: int = 1) -> EventLog:
    """20 events of each case: emails with the probability `likes`, else visits."""
    rng = np.random.default_rng(seed)
    mails = rng.random((len(likes), 20)) < likes[:, None]
    rows = [
        (f"h{i:04d}", "email" if mail else "visit", START + dt.timedelta(days=int(d)))
        for i, own in enumerate(mails)
        for d, mail in enumerate(own)
    ]
    return EventLog.from_frame(pl.DataFrame(rows, ["case_id", "activity", "timestamp"], orient="row"))


def survey_of(answers: dict[str, dict[int, object]], rater: dict[int, str] | None = None) -> pl.DataFrame:
    rows = [
        {
            "case_id": f"h{i:04d}",
            "question": q,
            "answer": str(a),
            "rater": (rater or {}).get(i),
            "source": "s",
        }
        for q, given in answers.items()
        for i, a in given.items()
    ]
    table = pl.DataFrame(rows).with_row_index("source_row").with_columns(timestamp=pl.lit(START))
    return table.select(*SURVEY_SCHEMA).cast(SURVEY_SCHEMA)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def asked() -> EventLog:
    """600 cases, 240 asked: one perception follows the taste for email, one nothing, one only the rater."""
    rng = np.random.default_rng(3)
    likes = rng.uniform(0.1, 0.9, 600)
    log = log_of(likes)
    some = rng.choice(600, 240, replace=False)
    rater = {int(i): f"rep{i % 8}" for i in some}
    planted = {int(i): "yes" if rng.random() < likes[i] else "no" for i in some}
    none = {int(i): "yes" if rng.random() < 0.4 else "no" for i in some}
    by_rater = {int(i): "yes" if int(i) % 8 < 4 else "no" for i in some}
    scale = {int(i): round(1 + 4 * likes[i] + rng.normal(0, 0.4)) for i in some}
    answers = {"Prefers mail": planted, "Price matters": none, "Trusts us": by_rater, "Reads (1-5)": scale}
    return replace(log, survey=survey_of(answers, rater))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(asked: EventLog) -> Perceptions:
    return perceptions(asked)


def test_what_is_planted_is_projected_and_what_is_not_there_is_refused(found: Perceptions) -> None:
    status = dict(found.questions.select("question", "status").iter_rows())
    assert status == {
        "Prefers mail": "projected",
        "Price matters": "refused",
        "Reads (1-5)": "projected",
        "Trusts us": "refused",
    }
    by_name = {r["question"]: r for r in found.questions.iter_rows(named=True)}
    assert 0.02 < by_name["Prefers mail"]["low"] < by_name["Prefers mail"]["skill"] < 0.5
    assert by_name["Reads (1-5)"]["skill"] > 0.5 and by_name["Reads (1-5)"]["kind"] == "scale"
    assert "may be nothing" in by_name["Price matters"]["reason"]
    assert any("who rated explains" in w for w in by_name["Trusts us"]["warnings"])
    assert not any("who rated" in w for w in by_name["Prefers mail"]["warnings"])


def test_everybody_has_a_row_and_what_is_projected_says_so(found: Perceptions) -> None:
    cases = found.cases
    own = cases.filter(question="Prefers mail")
    answered, projected = own.filter(basis="answered"), own.filter(basis="projected")
    assert answered.height == 240 and (answered["probability"] == 1).all()
    assert projected.height == 2 * 360  # two answers each
    sums = projected.group_by("case_id").agg(pl.col("probability").sum())["probability"]
    assert np.allclose(sums, 1) and set(answered["case_id"]).isdisjoint(projected["case_id"])
    assert cases.filter(question="Price matters", basis="projected").height == 0
    scale = cases.filter(question="Reads (1-5)", basis="projected")
    assert scale.height == 360 and scale["answer"].null_count() == 360
    assert (scale["low"] < scale["value"]).all() and (scale["value"] < scale["high"]).all()


def test_projected_answers_are_right_for_those_who_were_never_asked() -> None:
    rng = np.random.default_rng(8)
    likes = rng.uniform(0.05, 0.95, 900)
    truth = rng.random(900) < likes
    survey = survey_of({"Q": {i: "yes" if truth[i] else "no" for i in range(300)}})
    found = perceptions(replace(log_of(likes), survey=survey))
    said = found.cases.filter(basis="projected", answer="yes").sort("case_id")["probability"].to_numpy()
    seen = truth[300:]
    assert abs(said.mean() - seen.mean()) < 0.06
    top = said > np.quantile(said, 0.8)
    assert abs(said[top].mean() - seen[top].mean()) < 0.12 and seen[top].mean() > 0.7


def test_shares_per_group_are_told_of_ten_people_or_more(asked: EventLog) -> None:
    ids = asked.cases["case_id"]
    small = ids.head(12).to_list()  # about five of them answered
    labels = ids.to_frame().with_columns(
        segment=pl.when(pl.col("case_id").is_in(small)).then(pl.lit("Few")).otherwise(pl.lit("Many"))
    )
    groups = perceptions(asked, segments=labels).groups
    few = groups.filter(segment="Few", question="Prefers mail", answer="yes").row(0, named=True)
    assert few["answered"] is None and few["n_answered"] == 0
    many = groups.filter(segment="Many", question="Prefers mail")
    answers = asked.survey.filter(question="Prefers mail").join(labels, on="case_id").filter(segment="Many")
    own = dict(answers.group_by("answer").len().iter_rows())
    for row in many.iter_rows(named=True):
        assert row["answered"] == pytest.approx(own[row["answer"]] / answers.height)
        assert row["low"] < row["answered"] < row["high"]
    assert many["projected"].sum() == pytest.approx(1)
    scale = groups.filter(segment="Many", question="Reads (1-5)").row(0, named=True)
    assert 1 < scale["low"] < scale["answered"] < scale["high"] < 5 and scale["answer"] is None


def test_the_newest_answer_counts() -> None:
    survey = survey_of({"Q": {1: "no"}}).vstack(survey_of({"Q": {1: "yes"}}))
    later = survey.with_columns(timestamp=pl.Series([START + dt.timedelta(1), START]))
    assert newest(later)["answer"].to_list() == ["no"]
    assert newest(survey)["answer"].to_list() == ["yes"]  # the same time: the later row


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (dict.fromkeys(range(40), "yes"), "40 cases answered, 60 are needed"),
        (dict.fromkeys(range(90), "yes"), "everybody gave the same answer"),
        ({i: f"I think {i}" for i in range(90)}, "free text"),
        ({i: "no" if i < 4 else "yes" for i in range(90)}, "all but 4 cases gave the same answer"),
    ],
)
def test_questions_that_cannot_be_learned_say_why(given: dict[int, object], why: str) -> None:
    log = replace(log_of(np.full(100, 0.5)), survey=survey_of({"Q": given}))
    row = perceptions(log).questions.row(0, named=True)
    assert row["status"] == "refused" and why in row["reason"] and row["skill"] is None


def test_a_log_without_a_survey_or_with_other_ids(tmp_path: Path) -> None:
    log = log_of(np.full(20, 0.5))
    with pytest.raises(ModelError, match="no survey"):
        perceptions(log)
    other = replace(log, survey=survey_of({"Q": {5_000: "yes"}}))
    with pytest.raises(ModelError, match="nobody who answered"):
        perceptions(other)
    facts = write_perceptions(other, None, None, PerceptionSettings(), 7, tmp_path)
    assert "nobody who answered" in facts["note"]


def test_written_and_read_back_with_the_same_bytes(asked: EventLog, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        facts = write_perceptions(asked, None, None, PerceptionSettings(), 7, tmp_path / name)
    assert facts["projected"] == ["Prefers mail", "Reads (1-5)"]
    for file in ("questions", "cases", "groups"):
        a, b = ((tmp_path / n / f"{file}.parquet").read_bytes() for n in ("a", "b"))
        assert a == b
    assert read_perceptions(tmp_path / "a").questions.height == 4


def test_attributes_are_used_only_when_asked_for() -> None:
    log = log_of(np.full(300, 0.5))
    cases = log.cases.with_columns(
        specialty=pl.Series(["Heart", "Lung", None] * 100), age=pl.Series(range(300))
    )
    given = {i: "yes" if i % 3 == 0 else "no" for i in range(0, 300)}
    log = replace(log, cases=cases, survey=survey_of({"Q": given}))
    plain = perceptions(log).questions.row(0, named=True)
    told = perceptions(log, settings=PerceptionSettings(attributes=("specialty",))).questions.row(
        0, named=True
    )
    assert plain["status"] == "refused" and told["skill"] > 0.8
    assert not any("specialty" in n for n in case_inputs(log, None, ()).names)
    with pytest.raises(JobError, match="no attribute 'speciality'"):
        perceptions(log, settings=PerceptionSettings(attributes=("speciality",)))


def test_folds_keep_groups_together_and_are_even() -> None:
    groups = np.repeat(np.arange(23), np.arange(1, 24))
    fold = folds(len(groups), 3, groups)
    assert all(len(np.unique(fold[groups == g])) == 1 for g in range(23))
    sizes = np.bincount(fold, minlength=5)
    assert sizes.max() - sizes.min() <= 23 and len(sizes) == 5


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_noise_is_hardly_ever_believed(seed: int) -> None:
    """The interval of a perception that behaviour does not tell holds nothing, or worse than nothing."""
    rng = np.random.default_rng(seed)
    answers = Answers(rng.normal(size=(120, 30)), rng.integers(0, 2, 120), np.ones(120), 2)
    assert skill(answers, 7, 0.999).low <= 0


def test_who_was_asked_is_told_and_weighted() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4_000, 3))
    asked = rng.random(4_000) < 1 / (1 + np.exp(2.5 - x[:, 0]))  # the first column decides
    found = shift(x, asked, ("a", "b", "c"), 7)
    name, before, after = found.differ[0]
    assert name == "a" and before > 0.5 and abs(after) < before / 2 and 0.65 < found.auc < 0.85
    assert found.weight.mean() == pytest.approx(1) and found.effective < asked.sum()
    same = shift(x, rng.random(4_000) < 0.1, ("a", "b", "c"), 7)
    assert abs(same.auc - 0.5) < 0.06
    assert np.isnan(shift(x, np.ones(4_000, bool), ("a", "b", "c"), 7).auc)


def test_raters_by_hand() -> None:
    # two raters of six, all yes and all no: everything lies between them
    value, who = np.array([1.0] * 6 + [0.0] * 6), np.array(["a"] * 6 + ["b"] * 6)
    found = raters(value, who, 7)
    assert (
        found.n == 2 and found.largest == 0.5 and found.explains == pytest.approx(1) and found.p_value < 0.02
    )
    mixed = raters(np.array([1.0, 0.0] * 6), who, 7)
    assert mixed.explains == 0 and mixed.p_value > 0.5
    assert raters(np.ones(12), who, 7).p_value == 1


def test_a_survey_is_read_counted_and_its_bad_rows_kept(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(
        "case_id,activity,timestamp\nh1,email,2026-01-05\nh2,visit,2026-01-06\n"
    )
    (tmp_path / "answers.csv").write_text(
        "hcp;Question;Answer;rep;date\nh1;Q;yes;r1;2026-02-01\nh2;;no;r1;2026-02-01\nh2;Q;;r2;2026-02-01\n"
        "h2;Q;no;r2;31.02.2026\nh2;Q;no;r2;2026-02-03\n"
    )
    own = SurveySettings(path="answers.csv", case_id="hcp", columns={"rater": "rep", "timestamp": "date"})
    log = read_log(LogInputs({"e": SourceSettings(path="events.csv")}, tmp_path, survey=own))
    assert dict(log.survey.schema) == SURVEY_SCHEMA
    assert log.survey.select("case_id", "question", "answer", "rater").rows() == [
        ("h1", "Q", "yes", "r1"),
        ("h2", "Q", "no", "r2"),
    ]
    count = next(s for s in log.sources if s.role == "survey")
    assert (count.read, count.accepted, count.rejected) == (5, 2, 3)
    reasons = sorted(r["reason"] for r in log.reasons())
    assert reasons == ["the answer is empty", "the question is empty", "the timestamp cannot be read"]
    log.write(tmp_path / "log")
    assert EventLog.read(tmp_path / "log").survey.equals(log.survey)


def test_perceptions_as_typed(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    likes = rng.uniform(0.05, 0.95, 300)
    log_of(likes).events.select("case_id", "activity", "timestamp").write_csv(tmp_path / "log.csv")
    rows = [(f"h{i:04d}", "Likes mail", "yes" if rng.random() < likes[i] else "no") for i in range(200)]
    rows.append(("h0001", "", "yes"))
    pl.DataFrame(rows, ["hcp", "question", "answer"], orient="row").write_csv(tmp_path / "answers.csv")
    command = ["perceptions", str(tmp_path / "log.csv"), "--survey", str(tmp_path / "answers.csv")]
    shown = CliRunner().invoke(cli, command)
    assert shown.exit_code == 0, shown.output
    assert "Likes mail: projected, 200 answers" in shown.output
    assert "1 of 201 answers are left out: the question is empty" in shown.output
    table = CliRunner().invoke(cli, [*command, "--cases", "--json"])
    cases = json.loads(table.stdout)
    assert len(cases) == 200 + 2 * 100 and {c["basis"] for c in cases} == {"answered", "projected"}
    missing = CliRunner().invoke(cli, ["perceptions", str(tmp_path / "log.csv")])
    assert missing.exit_code != 0 and "no survey" in str(missing.exception)


def test_the_simulated_survey_is_planted_in_behaviour() -> None:
    history = live(SimulateSettings(n_cases=400, months=4, seed=3))
    answers = survey_answers(history)
    asked = answers.filter(asked=True)
    assert asked["case_id"].n_unique() == 200 and answers.height == 4 * 400
    assert answers.equals(survey_answers(history))
    by_rater = (
        asked.filter(question=SERVICE).group_by("rater").agg((pl.col("answer") == "yes").mean().alias("p"))
    )
    assert by_rater["p"].std() > 0.15  # made by who asks


def rows_of(likes: np.ndarray, seed: int) -> EventLog:
    """`log_of` with a survey of the first third: likes mail, and a second question that says the same."""
    rng = np.random.default_rng(seed)
    n = len(likes)
    given = {
        "Prefers mail": {i: "yes" if rng.random() < likes[i] else "no" for i in range(n // 3)},
        "Reads (1-5)": {i: round(1 + 4 * likes[i] + rng.normal(0, 0.4)) for i in range(n // 3)},
    }
    return replace(log_of(likes), survey=survey_of(given))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def both() -> tuple[Perceptions, pl.DataFrame]:
    """900 cases: two tastes for mail, and two groups of behaviour that have nothing to do with them."""
    rng = np.random.default_rng(6)
    likes = np.where(rng.random(900) < 0.5, 0.1, 0.9)
    log = rows_of(likes, 6)
    groups = log.cases.select("case_id").with_columns(segment=pl.Series(rng.choice(["Early", "Late"], 900)))
    return perceptions(log), groups


def test_either_weight_alone_gives_that_side_as_it_is(both: tuple[Perceptions, pl.DataFrame]) -> None:
    found, groups = both
    behaviour = combined(found.cases, found.questions, groups, 0.0, 7)
    assert behaviour.cases.select("case_id", segment="profile").equals(groups.sort("case_id"))
    assert behaviour.facts["agreement"]["behaviour"] == 1.0
    answers = combined(found.cases, found.questions, groups, 1.0, 7)
    assert answers.facts["agreement"]["research"] == 1.0
    shuffled = groups.with_columns(
        segment=pl.col("segment").reverse()
    )  # answers alone do not know the groups
    again = combined(found.cases, found.questions, shuffled, 1.0, 7)
    assert again.cases.select("case_id", "profile").equals(answers.cases.select("case_id", "profile"))


def test_weights_move_the_profiles_and_stand_beside_them(both: tuple[Perceptions, pl.DataFrame]) -> None:
    found, groups = both
    by = {w: combined(found.cases, found.questions, groups, w, 7).facts for w in (0.2, 0.5, 0.8)}
    assert by[0.2]["weights"] == {"behaviour": 0.8, "research": 0.2}
    assert by[0.2]["agreement"]["behaviour"] > by[0.8]["agreement"]["behaviour"]
    assert by[0.2]["agreement"]["research"] < by[0.8]["agreement"]["research"]
    assert by[0.5]["projected_share"] == pytest.approx(2 / 3, abs=0.01)
    one, other = (combined(found.cases, found.questions, groups, 0.5, 7) for _ in range(2))
    assert one.cases.equals(other.cases) and one.profiles.equals(other.profiles)
    assert set(one.cases["basis"]) == {"answered", "projected"}


def test_nothing_is_combined_where_nothing_is_projected() -> None:
    rng = np.random.default_rng(2)
    log = log_of(rng.uniform(0.1, 0.9, 200))
    survey = survey_of({"Price": {i: "yes" if rng.random() < 0.4 else "no" for i in range(100)}})
    found = perceptions(replace(log, survey=survey))
    groups = log.cases.select("case_id").with_columns(segment=pl.lit("All"))
    with pytest.raises(ModelError, match="no question is projected"):
        combined(found.cases, found.questions, groups, 0.5, 7)
    with pytest.raises(JobError, match="research is"):
        PerceptionSettings(research=1.5)


JOB = """
[source.log]
path = "log.csv"
[survey]
path = "answers.csv"
case_id = "hcp"
[segments]
kind = "kmeans"
k = 2
[perceptions]
"""


@pytest.fixture(scope="module")
def projected_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("says")
    rng = np.random.default_rng(5)
    likes = np.where(rng.random(400) < 0.5, 0.15, 0.85)
    events = log_of(likes).events.select("case_id", "activity", "timestamp")
    channel = pl.lit("email").alias("channel")
    events.with_columns(channel, direction=pl.lit("outbound")).write_csv(folder / "log.csv")
    rows = [(f"h{i:04d}", "Likes mail?", "yes" if rng.random() < likes[i] else "no") for i in range(160)]
    pl.DataFrame(rows, ["hcp", "question", "answer"], orient="row").write_csv(folder / "answers.csv")
    (folder / "plain.toml").write_text(JOB, encoding="utf-8")
    (folder / "both.toml").write_text(JOB + "research = 0.5\n[report]\n", encoding="utf-8")
    run(read_job(folder / "both.toml"), folder / "run")
    return folder


def test_audiences_ask_for_answers_and_say_which_are_projected(projected_run: Path) -> None:
    folder = projected_run / "run"
    asked = audience(folder, "says_likes_mail = 'yes'")
    assert asked.members.columns == ["case_id", "says_likes_mail", "says_likes_mail_basis"]
    counts = dict(asked.members["says_likes_mail_basis"].value_counts().iter_rows())
    assert set(counts) == {"answered", "projected"} and asked.projected == counts["projected"]
    sure = audience(folder, "says_likes_mail = 'yes' and says_likes_mail_basis = 'answered'")
    assert sure.projected == 0 and sure.members.height == counts["answered"]
    listed = projected_run / "yes.csv"
    shown = CliRunner().invoke(
        cli,
        ["audience", str(folder), "says_likes_mail = 'yes'", "--channel", "email", "--export", str(listed)],
    )
    assert shown.exit_code == 0 and f"{counts['projected']} of them by a projected answer" in shown.output
    assert set(pl.read_csv(listed)["says_likes_mail_basis"]) == {"answered", "projected"}
    profile = audience(folder, "profile is not null")
    assert profile.members.columns[-1] == "profile_basis" and profile.projected == 240
    described = CliRunner().invoke(cli, ["audience", str(folder)]).output
    assert "says_likes_mail" in described


def test_the_view_says_what_was_said_and_what_is_projected(projected_run: Path) -> None:
    told = dict(story(projected_run / "run", "h0001").facts)["Likes mail?"]
    assert told.endswith("(said so)")
    told = dict(story(projected_run / "run", "h0300").facts)["Likes mail?"]
    assert "(projected, " in told and "never asked" in told
    assert "never asked" in page_of(story(projected_run / "run", "h0300"))


def test_the_report_shows_weights_and_switched_off_nothing_is_left(projected_run: Path) -> None:
    text = (projected_run / "run/report/report.html").read_text(encoding="utf-8")
    assert "Behaviour and answers together" in text and "By projected answers" in text
    plain = run(read_job(projected_run / "plain.toml"), projected_run / "plain").manifest["stages"]
    assert not (projected_run / "plain/perceptions/combined.parquet").exists()
    again = run(read_job(projected_run / "plain.toml"), projected_run / "run").manifest["stages"]
    assert {n: s["outputs"] for n, s in plain.items()} == {n: s["outputs"] for n, s in again.items()}
    shown = CliRunner().invoke(cli, ["perceptions", str(projected_run / "plain"), "--combine", "0.3"])
    assert shown.exit_code == 0 and "weights: behaviour 70%, answers 30%" in shown.output


def test_weights_need_groups(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(
        JOB.replace('[segments]\nkind = "kmeans"\nk = 2\n', "") + "research = 0.5\n"
    )
    with pytest.raises(JobError, match="against groups of behaviour"):
        read_job(tmp_path / "job.toml")
