"""Ways to find segments: views of a journey, vectors, dense places, medoids; rules; questions; odd logs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_segments import BRIEF, hcp_log, log_of

from behavio.errors import JobError, ModelError
from behavio.segments import (
    Segmenter,
    SegmentSettings,
    SemiMarkovMixture,
    find,
    find_segments,
    write_segments,
)
from behavio.segments.agreement import adjusted_rand
from behavio.segments.chains import Habits
from behavio.segments.choose import CurvePoint, ranked
from behavio.segments.em import tempos
from behavio.segments.facts import facts_of
from behavio.segments.medoids import MatchingMedoids
from behavio.segments.proof import Yardstick, shuffled
from behavio.segments.questions import four_answers
from behavio.segments.rules import NEVER, Feature, Rules, learn_rules, measure, told
from behavio.segments.spaces import Embeddings
from behavio.segments.subgroups import likest, subgroups
from behavio.segments.vectors import DensitySegmenter, VectorKMeans
from behavio.segments.views import View, is_state_log, phase_of, spells, views_of
from behavio.sequences import Field, SequenceSet, Vocabulary
from experiments.regimes import simulated

ROOT = Path(__file__).parents[1]
DAY = 86_400


def test_spells_by_hand() -> None:
    # a a a b b a, one a day: a lasts 3 days, b 2, a is still going on after 1 at the end
    days = [DAY * i for i in range(6)]
    log = SequenceSet.from_traces([["a", "a", "a", "b", "b", "a"], ["b", "b"]], [days, days[:2]])
    shown = spells(log)
    names = [shown.vocabulary.names[t] for t in shown.tokens]
    assert names == ["a", "b", "a", "a", "b", "b"] and shown.offsets.tolist() == [0, 4, 6]
    assert (np.diff(shown.times[:4]) / 86_400e6).tolist() == [3, 2, 1]
    assert is_state_log(
        SequenceSet.from_traces([["a"] * 5 + ["b"] * 5] * 3, [[DAY * i for i in range(10)]] * 3)
    )
    assert not is_state_log(SequenceSet.from_traces([["a", "b", "c", "a"]] * 3))


def test_phases_by_hand() -> None:
    log = SequenceSet.from_traces([["a"] * 7, ["b"] * 2])
    assert phase_of(log).tolist() == [0, 0, 0, 1, 1, 2, 2, 0, 1]


def test_answers_by_hand() -> None:
    # mail, visit, open, mail, mail, open: after the first mail an open comes later (not directly, before the
    # next mail): yes after 2 days; the second mail has none before the third; the third is followed directly
    log = SequenceSet.from_traces(
        [["mail", "visit", "open", "mail", "mail", "open"]], [[DAY * i for i in range(6)]]
    )
    v = log.vocabulary
    given = np.array([n == "mail" for n in v.names])
    target = np.where(given, 0, np.arange(len(v)))
    view = View.of("answers", log, target.astype(np.int32), given)
    steps = view.steps(log)
    later = steps.source >= len(v)
    kinds = [v.names[t] for t in view.answers]
    at_open = len(v) + kinds.index("open")
    rows = [
        (int(t), g / DAY)
        for s, t, g in zip(steps.source, steps.target, steps.gap, strict=True)
        if s == at_open
    ]
    assert rows == [(v.id("open"), 2.0), (0, 0.0)]
    assert (~later).sum() == 5  # the direct steps are all there as well


@pytest.mark.parametrize("view", ["events", "phases", "answers", "spells"])
def test_every_view_is_fitted_saved_and_read_back(view: str, tmp_path: Path) -> None:
    log, _ = simulated("campaign", 80, 0, size=8)
    model = SemiMarkovMixture(k=2, restarts=2, view=view).fit(log)
    model.save(tmp_path)
    again = SemiMarkovMixture.load(tmp_path)
    assert np.allclose(again.posterior(log), model.posterior(log))
    one = model.posterior(log.select(np.array([5])))
    assert np.allclose(one[0], model.posterior(log)[5])


def test_stages_are_seen_by_thirds_of_the_journey_only() -> None:
    log, truth = simulated("stages", 400, 1, size=6)
    found = find(log, BRIEF, 3)
    assert found.model.view == "phases" and found.choice.k >= 2  # type: ignore[attr-defined]
    assert adjusted_rand(truth, found.segmentation.segment_id) > 0.3
    events = SemiMarkovMixture(k=4, restarts=3).fit(log).predict(log)[0]
    assert adjusted_rand(truth, events) < 0.1
    assert views_of(log) == ("events", "phases")


def test_state_logs_get_medoids() -> None:
    rng = np.random.default_rng(0)
    rows, truth = [], []
    for i in range(120):  # school to work early, late, or never
        change = int(rng.normal((8, 16, 30)[i % 3], 1))
        rows.append((["school"] * max(change, 1) + ["work"] * 40)[:30])
        truth.append(i % 3)
    log = SequenceSet.from_traces(rows)
    found = find(replace(log, timed=False), BRIEF, 7)
    assert isinstance(found.model, MatchingMedoids) and found.choice.k >= 3
    assert adjusted_rand(np.array(truth), found.segmentation.segment_id) > 0.6
    assert adjusted_rand(np.array(truth), MatchingMedoids(k=3).fit(log).predict(log)[0]) > 0.9


@pytest.mark.parametrize("kind", ["vectors", "hdbscan", "medoids", "kmeans"])
def test_every_kind_finds_clear_groups_and_places_them_again(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [[*"abcabcab"[: int(rng.integers(5, 9))]] for _ in range(60)]
    rows += [[*"xyyxyyxy"[: int(rng.integers(5, 9))]] for _ in range(60)]
    log = SequenceSet.from_traces(rows)
    found = find(log, replace(BRIEF, kind=kind), 7)
    label = found.segmentation.segment_id
    kept = label >= 0
    assert found.choice.k >= 2 and kept.mean() > 0.8
    truth = np.repeat([0, 1], 60)
    for g in range(found.choice.k):  # no group holds cases of both kinds
        assert len(set(truth[label == g])) == 1
    found.model.save(tmp_path)
    again = type(found.model).load(tmp_path)
    assert np.allclose(again.posterior(log), found.model.posterior(log))


def test_vectors_of_another_model(tmp_path: Path) -> None:
    log, truth = hcp_log(90)
    sequences = SequenceSet.from_log(log)
    codes = {"quick": [5.0, 0.0], "late": [0.0, 5.0], "rep": [-5.0, -5.0]}
    noise = np.random.default_rng(0).normal(0, 0.5, (90, 2))
    table = pl.DataFrame(
        {"case_id": sequences.case_ids, "vector": (np.array([codes[t] for t in truth]) + noise).tolist()}
    )
    given = Embeddings.of(table)
    found = find(sequences, replace(BRIEF, kind="vectors", space="model"), 7, vectors=given)
    assert found.choice.k == 3
    assert adjusted_rand(np.unique(truth, return_inverse=True)[1], found.segmentation.segment_id) > 0.95
    with pytest.raises(ModelError, match="needs vectors"):
        find(sequences, replace(BRIEF, kind="vectors", space="model"), 7)
    with pytest.raises(ModelError, match="1 of 60 cases have no vector"):
        find(sequences, replace(BRIEF, kind="vectors", space="model"), 7, vectors=Embeddings.of(table[1:]))
    for wrong in (table.drop("vector"), table.head(0)):
        with pytest.raises(ModelError):
            Embeddings.of(wrong)


def test_density_leaves_out_what_lies_between() -> None:
    rng = np.random.default_rng(0)
    points = np.vstack(
        [rng.normal(0, 0.1, (60, 2)), rng.normal(5, 0.1, (60, 2)), rng.uniform(-20, 20, (12, 2))]
    )
    log = SequenceSet.from_traces([["a", "b", "a"]] * 132)
    table = Embeddings(log.case_ids, points)
    model = DensitySegmenter(space="table").given(table).fit(log)
    posterior = model.posterior(log)
    assert model.k == 2 and (posterior[:120].sum(axis=1) == 1).mean() > 0.95
    assert (posterior[120:].sum(axis=1) == 0).mean() > 0.8
    assert VectorKMeans(k=2, space="table").given(table).fit(log).posterior(log).shape == (132, 2)


def test_k_is_weighed_by_gain_and_stability() -> None:
    def point(k: int, gain: float, stability: float, spread: float = 0.0) -> CurvePoint:
        return CurvePoint(k, 3.0 - gain, 3.0 - gain, gain, gain - 0.01, 0.2, stability, spread)

    one = CurvePoint(1, 3.0, 3.0, 0.0, 0.0, 1.0)
    assert ranked((one,), 0.02) == ()
    assert ranked((one, point(2, 0.5, 0.9), point(3, 1.0, 0.9)), 0.02)[0] == 3
    assert ranked((one, point(2, 0.9, 0.95), point(3, 1.0, 0.3)), 0.02) == (2,)  # 3 is not found again
    assert ranked((one, point(2, 0.9, 0.5), point(3, 1.0, 0.3)), 0.02) == (2,)  # nothing firm: the firmest
    assert ranked((one, point(2, -0.1, 0.9)), 0.02) == ()


def test_features_by_hand() -> None:
    # a at day 0, b at day 2, a at day 3, c at day 4
    log = SequenceSet.from_traces([["a", "b", "a", "c"], ["c"]], [[0, 2 * DAY, 3 * DAY, 4 * DAY], [0]])
    features = (
        *(Feature("share", ("a",)), Feature("times", ("c",)), Feature("follows", ("a", "b"))),
        *(Feature("wait", ("a", "b")), Feature("wait", ("a", "c")), Feature("pace", ())),
    )
    values = measure(features, log)
    assert values[0].tolist() == pytest.approx([0.5, 1, 0.5, 2, 1, 1])
    assert values[1].tolist() == pytest.approx([0, 1, 0, NEVER, NEVER, 0])


def test_rules_assign_what_they_print() -> None:
    often, soon = Feature("share", ("a",)), Feature("wait", ("a", "b"))
    rules = Rules(((often, 0.5, 1, -1), (soon, 2.0, -2, -3)), ("P", "Q", "R"), 0.9, 0.4, (1.0, 0.8, 0.9), 50)
    values = np.array([[0.4, 1.0], [0.6, 1.0], [0.6, 3.0], [0.6, NEVER]])
    assert rules.assign((often, soon), values).tolist() == [0, 1, 2, 2]
    page = rules.to_json()
    assert page["questions"][0]["yes"] == {"ask": 2} and page["questions"][0]["no"] == {"segment": "P"}
    text = told(page)
    assert text.startswith("1. Are more than 50 % of all events a events?\n   yes: question 2   no: “P”")
    assert "Right for 90 % of 50 cases" in text and page["picklist"] == ["P", "Q", "R"]


def test_seven_questions_find_clear_segments_and_state_their_accuracy() -> None:
    log, truth = hcp_log(240)
    sequences = SequenceSet.from_log(log)
    label = np.unique(truth, return_inverse=True)[1].astype(np.int32)
    rules = learn_rules(sequences, label, ("late", "quick", "rep"), facts_of(sequences, label, 3, 200), 7)
    assert rules is not None and len(rules.nodes) <= 7
    assert rules.accuracy > 0.9 > 0.6 > rules.usual and rules.n_tried == 72
    assert learn_rules(sequences, np.zeros(240, np.int32), ("all",), [[]], 7) is None
    dice = np.random.default_rng(0).integers(0, 2, 240).astype(np.int32)
    chance = learn_rules(sequences, dice, ("x", "y"), [[], []], 7)
    assert chance is not None and chance.accuracy < 0.7  # stated on cases not learned from


def test_four_questions_have_data_or_say_unknown() -> None:
    rows = [["mail", "open"] * 4] * 40 + [["call", "web"] * 4] * 40
    log = SequenceSet.from_traces(rows)
    channel = Vocabulary.of(["email", "portal", "f2f"])
    of = {"mail": "email", "open": "email", "call": "f2f", "web": "portal"}
    codes = np.array([channel.id(of[log.vocabulary.names[t]]) for t in log.tokens], np.int32)
    log = replace(log, fields={"channel": Field(codes, channel)})
    label = np.repeat([0, 1], 40).astype(np.int32)
    first, second = four_answers(log, label, 2, facts_of(log, label, 2, 200), [[], []])
    assert first["channel"]["data"][0]["value"] == "email" and first["channel"]["data"][0]["rest"] == 0
    assert {d["value"] for d in second["channel"]["data"]} == {"f2f", "portal"}
    assert first["who"]["text"].startswith("unknown") and first["content"]["data"] == []
    assert first["content"]["text"].startswith("unknown: the log has no content")


def test_subgroups_and_the_cases_most_alike() -> None:
    log, truth = hcp_log(360)
    sequences = SequenceSet.from_log(log)
    kind = np.unique(truth, return_inverse=True)[1]
    label = np.where(kind == 2, 1, 0).astype(np.int32)  # quick and late openers in one segment
    found = subgroups(sequences, label, ("Email", "Rep"), 7)
    email = found.filter(pl.col("segment") == "Email")
    assert email["subgroup_id"].n_unique() == 2
    inside = adjusted_rand(kind[label == 0], email["subgroup_id"].to_numpy())
    assert inside > 0.9 and found.height == 360
    near = likest(sequences, 0, np.flatnonzero(label == 0), 10, 7)
    same = [truth[int(c[1:])] == truth[0] for c in near["case_id"]]
    assert near.height == 10 and sum(same) >= 8 and near["distance"].is_sorted()


def test_a_shuffled_log_keeps_what_and_when() -> None:
    log, _ = simulated("order", 30, 0)
    mixed = shuffled(log, 1)
    assert (mixed.times == log.times).all() and (mixed.tokens != log.tokens).any()
    for case in range(30):
        a, b = log.offsets[case], log.offsets[case + 1]
        assert sorted(log.tokens[a:b]) == sorted(mixed.tokens[a:b])


def test_the_yardstick_prefers_the_truth_to_dice() -> None:
    log, truth = simulated("order", 400, 0, size=8)
    measured = Yardstick.on(log, "events", 7)
    dice = np.random.default_rng(0).integers(0, 4, 400)
    assert measured.of(truth) > 0.02 > measured.of(dice)
    assert measured.of(np.zeros(400, int)) == 0.0


def test_one_giant_case_draws_no_segment_to_itself() -> None:
    log, _ = hcp_log(120)
    rng = np.random.default_rng(0)
    names = ["email_sent", "email_open", "call_f2f"]
    giant = log_of([[names[int(i)] for i in rng.integers(0, 3, 20_000)]])
    events = pl.concat([log.events, giant.events.with_columns(pl.lit("giant").alias("case_id"))])
    both = replace(log, events=events, cases=pl.DataFrame({"case_id": events["case_id"].unique().sort()}))
    found = find(SequenceSet.from_log(both), BRIEF, 7)
    assert found.segmentation.sizes.min() > 10


@pytest.mark.parametrize("kind", ["semi_markov", "vectors", "hdbscan", "medoids"])
def test_identical_and_few_cases_make_one_segment(kind: str) -> None:
    same = log_of([["a", "b", "c", "d"]] * 60)
    assert find_segments(same, SegmentSettings(kind=kind))["segment_id"].n_unique() == 1
    few = log_of([["a", "b", "c"], ["c", "b"], ["a"]])
    assert find_segments(few, SegmentSettings(kind=kind))["segment_id"].n_unique() == 1


def test_settings_that_make_no_sense_together() -> None:
    with pytest.raises(JobError, match="finds the number of segments itself"):
        SegmentSettings(kind="hdbscan", k=3)


def test_the_experiment_as_typed(tmp_path: Path) -> None:
    log, truth = hcp_log(120)
    log.events.select("case_id", "activity", "timestamp").write_parquet(tmp_path / "log.parquet")
    ids = [f"c{i:05d}" for i in range(120)]
    pl.DataFrame({"case_id": ids, "group": truth}).write_csv(tmp_path / "truth.csv")
    command = [sys.executable, "-m", "experiments.segments", "--log", str(tmp_path / "log.parquet")]
    quick = ["--methods", "kmeans_shares"]
    asked = [*command, "--truth", str(tmp_path / "truth.csv"), "--json", str(tmp_path / "out.json"), *quick]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads((tmp_path / "out.json").read_text())
    assert {"ari", "nmi", "k", "stability", "seconds"} <= set(answer["methods"]["kmeans_shares"])
    assert answer["default"]["k"] == answer["methods"]["default"]["k"] == 3
    assert answer["methods"]["default"]["ari"] > 0.9
    pl.DataFrame({"case_id": ["q"], "group": ["a"]}).write_csv(tmp_path / "other.csv")
    wrong = subprocess.run(
        [*command, "--truth", str(tmp_path / "other.csv")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 1 and "no case of" in wrong.stderr and "hint" in wrong.stderr


def test_vectors_learned_by_contrast_are_those_of_a_saved_model(tmp_path: Path) -> None:
    log, truth = hcp_log(150)
    sequences = SequenceSet.from_log(log)
    found = find(sequences, replace(BRIEF, kind="vectors", space="contrast", k=3), 7)
    label = found.segmentation.segment_id
    assert adjusted_rand(np.unique(truth, return_inverse=True)[1], label) > 0.8
    again = find(sequences, replace(BRIEF, kind="vectors", space="contrast", k=3), 7)
    assert (again.segmentation.segment_id == label).all()
    found.model.save(tmp_path)
    read = Segmenter.load(tmp_path)
    some = sequences.select(np.arange(0, 150, 3))
    assert np.allclose(read.posterior(some), found.model.posterior(some), atol=1e-4)
    # a case that has gone on is read again, not looked up
    cut = sequences.select(np.arange(20)).until(int(np.median(sequences.times)))
    assert np.allclose(read.posterior(cut), found.model.posterior(cut), atol=1e-4)
    assert read.posterior(cut).shape == (cut.n_cases, 3)


def test_a_frozen_run_makes_vectors_with_last_years_encoder(tmp_path: Path) -> None:
    log, _ = hcp_log(90)
    sequences = SequenceSet.from_log(log)
    own = replace(BRIEF, kind="vectors", space="contrast", k=3, subgroups=False)
    for name in ("one", "two"):
        (tmp_path / name / "segments").mkdir(parents=True)
    write_segments(log, sequences, own, 7, tmp_path / "one" / "segments")
    next_year = replace(own, previous=str(tmp_path / "one"), frozen=True)
    write_segments(log, sequences, next_year, 7, tmp_path / "two" / "segments")
    one, two = (pl.read_parquet(tmp_path / n / "segments/segments.parquet") for n in ("one", "two"))
    assert (one["segment"] == two["segment"]).all()
    assert (tmp_path / "two/segments/model/encoder/learned.npz").is_file()


def test_the_most_that_were_tried_is_said() -> None:
    rows = [[c, d] * 4 for c, d in zip("abcdef" * 30, "bcdefa" * 30, strict=True)]
    found = find(SequenceSet.from_traces(rows), replace(BRIEF, max_k=2), 7)
    assert found.choice.k == 2
    assert any("2 segments are the most that were tried" in n for n in found.notes)


def test_groups_beside_wards_clusters_of_optimal_matching() -> None:
    from experiments.segments import typology

    rng = np.random.default_rng(0)
    rows = [(["s"] * int(c) + ["w"] * 30)[:30] for c in rng.choice([6, 15, 26], 120)]
    log = replace(SequenceSet.from_traces(rows), timed=False)
    truth = np.array([r.count("s") for r in rows])
    found = typology(log, [3], np.unique(truth, return_inverse=True)[1], 7)["3"]
    assert sum(found["sizes"]) == 120 and found["ari_default"] == 1.0
    assert found["ari_same_k"] == 1.0 and sum(found["sizes_same_k"]) == 120


def test_tempo_alone_tells_groups_that_differ_in_it() -> None:
    log, truth = simulated("time", 300, 1, size=8)
    model = SemiMarkovMixture()
    model.lay_out(log)
    cases, edges = model.gather(log), model.edges
    slower, irregular = tempos(cases, Habits.of(cases.total(edges.n_features), edges), edges).T
    # groups 1 and 3 are slower, groups 2 and 3 more irregular
    assert slower[truth % 2 == 1].mean() - slower[truth % 2 == 0].mean() > 1
    assert irregular[truth >= 2].mean() - irregular[truth < 2].mean() > 1
    model.lay_out(replace(log, timed=False))
    blind = model.gather(replace(log, timed=False))
    habits = Habits.of(blind.total(model.edges.n_features), model.edges)
    assert tempos(blind, habits, model.edges).shape == (300, 0)
