"""From a log to named segments: number, names, sentences, files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from oracles_segments import planted
from sklearn.metrics import adjusted_rand_score

from behavio.errors import JobError, ModelError, RunError
from behavio.files import read_json
from behavio.log import CONSENT_SCHEMA, REJECTED_SCHEMA, EventLog, empty
from behavio.segments import Segmentation, SegmentSettings, assign, find, find_segments, write_segments
from behavio.segments.attributes import attribute_facts, describing_columns
from behavio.segments.fact import Fact
from behavio.segments.facts import facts_of
from behavio.segments.names import EVERYONE, name_segments
from behavio.segments.phrases import full_text, sentence
from behavio.sequences import SequenceSet

QUICK = SegmentSettings(max_k=6, restarts=4)
BRIEF = SegmentSettings(max_k=5, restarts=3)
DAY = 86_400
LABELS = ["case_id", "segment_id", "segment", "strength"]


def log_of(
    traces: Sequence[Sequence[str]], times: Sequence[Sequence[float]] | None = None, **cases: list[object]
) -> EventLog:
    """An event log from lists of activities and of seconds (default: one day apart)."""
    if times is None:
        times = [[float(DAY * i) for i in range(len(t))] for t in traces]
    ids = [f"c{i:05d}" for i, t in enumerate(traces) for _ in t]
    events = pl.DataFrame(
        {
            "case_id": ids,
            "activity": [a for t in traces for a in t],
            "timestamp": pl.Series([int(s * 1e6) for t in times for s in t]).cast(pl.Datetime("us", "UTC")),
            "event_index": pl.Series(range(len(ids)), dtype=pl.Int64),
        }
    )
    table = pl.DataFrame({"case_id": sorted(set(ids)), **cases})
    return EventLog(events, table, empty(CONSENT_SCHEMA), empty(REJECTED_SCHEMA))


def hcp_log(n: int = 240, seed: int = 0) -> tuple[EventLog, list[str]]:
    """Quick openers, late openers, and those who only see the rep; specialty goes with the group."""
    rng = np.random.default_rng(seed)
    traces, times, truth, specialty = [], [], [], []
    for i in range(n):
        kind = ("quick", "late", "rep")[i % 3]
        trace, when, now = [], [], 0.0
        for _ in range(int(rng.integers(8, 16))):
            now += rng.exponential(6) + 1
            if rng.random() < (0.8 if kind == "rep" else 0.3):
                trace.append("call_f2f")
                when.append(now)
                continue
            trace.append("email_sent")
            when.append(now)
            if kind != "rep":
                now += float(np.exp(rng.normal(np.log(0.05 if kind == "quick" else 3.0), 0.4)))
                trace.append("email_open")
                when.append(now)
                if kind == "quick" and rng.random() < 0.6:
                    now += 0.01
                    trace.append("portal_visit")
                    when.append(now)
        traces.append(trace)
        times.append([w * DAY for w in when])
        truth.append(kind)
        specialty.append("Cardiology" if (kind == "quick") == (rng.random() < 0.9) else "Nephrology")
    ids = list(range(n))
    return log_of(traces, times, specialty=specialty, npi=[str(i % 7) for i in ids]), truth


def written(
    log: EventLog, folder: Path, settings: SegmentSettings = QUICK, seed: int = 7
) -> tuple[dict, dict]:
    folder.mkdir()
    facts = write_segments(log, SequenceSet.from_log(log), settings, seed, folder)
    return facts, read_json(folder / "profiles.json")


def test_hcp_segments_are_found_named_and_described(tmp_path: Path) -> None:
    log, truth = hcp_log()
    facts, page = written(log, tmp_path / "s")
    table = pl.read_parquet(tmp_path / "s" / "segments.parquet")
    assert table.columns[:4] == LABELS
    assert table.schema["segment_id"] == pl.Int32 and table["case_id"].is_sorted()
    assert adjusted_rand_score(truth, table["segment_id"]) > 0.95
    assert facts["k"] == page["k"] == 3 and facts["rows_out"] == 240
    names = {s["segment"] for s in page["segments"]}
    assert {"Quick openers", "Late openers"} <= names
    quick = next(s for s in page["segments"] if s["segment"] == "Quick openers")
    assert quick["sentence"].startswith("They open emails 1") and "others" in quick["sentence"]
    assert quick["n_cases"] == 80 and quick["share"] == pytest.approx(1 / 3, abs=1e-4)
    kinds = {d["kind"] for s in page["segments"] for d in s["distinguishing"]}
    assert kinds <= {"order", "gap", "share", "reaction"} and {"gap", "order"} <= kinds
    who = [a for a in quick["attributes"] if a["value"] == "Cardiology"]
    assert len(who) == 1 and who[0]["share"] > 0.8 > who[0]["rest"]
    assert not any(a["attribute"] == "npi" for s in page["segments"] for a in s["attributes"])
    for segment in page["segments"]:
        events = segment["typical"]["events"]
        days = [e["day"] for e in events]
        assert 2 <= len(events) <= 12 and days == sorted(days) and days[0] == 0 and days[-1] <= 84
    points = page["curve"]
    assert [p["k"] for p in points] == list(range(1, 7))
    assert (
        min(points[1:], key=lambda p: p["held_out_nll_per_event"])["held_out_nll_per_event"]
        < points[0]["held_out_nll_per_event"]
    )


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    log, _ = hcp_log(90)
    for name in ("one", "two"):
        written(log, tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert {f.as_posix() for f in files} == {
        "model/labels.json",
        "model/learned.npz",
        "model/model.json",
        "borders.parquet",
        "profiles.json",
        "rules.json",
        "segments.parquet",
        "stability.parquet",
        "subgroups.parquet",
    }
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_frozen_model_places_cases_as_before(tmp_path: Path) -> None:
    log, _ = hcp_log(150)
    written(log, tmp_path / "s")
    table = pl.read_parquet(tmp_path / "s" / "segments.parquet")
    sequences = SequenceSet.from_log(log)
    assert assign(tmp_path / "s" / "model", sequences).to_frame().equals(table[LABELS])
    some = np.array([3, 7, 100])
    assert (
        assign(tmp_path / "s" / "model", sequences.select(some))
        .to_frame()
        .equals(table[LABELS][some.tolist()])
    )
    with pytest.raises(RunError, match="holds no segments model"):
        assign(tmp_path, sequences)


def test_one_homogeneous_population_is_one_segment(tmp_path: Path) -> None:
    log, _ = planted("none", 400, 0)
    found = find(log, BRIEF, 0)
    assert found.choice.k == 1 and found.segmentation.names == (EVERYONE,)
    assert (found.segmentation.segment_id == 0).all()
    assert "no stable groups" in found.notes[0]


@pytest.mark.parametrize("seed", range(4))
def test_no_confident_split_of_noise_in_small_logs(seed: int) -> None:
    log, _ = planted("none", 80, seed)
    assert find(log, QUICK, seed).choice.k == 1


@pytest.mark.parametrize(("kind", "k"), [("mix", 4), ("order", 4)])
def test_the_number_of_planted_segments_is_found(kind: str, k: int) -> None:
    log, truth = planted(kind, 600, 1)
    found = find(log, BRIEF, 3)
    assert found.choice.k == k
    assert adjusted_rand_score(truth, found.segmentation.segment_id) > 0.8


def test_too_few_cases_and_identical_cases() -> None:
    few = log_of([["a", "b", "c"], ["c", "b"], ["a"]])
    assert find_segments(few)["segment"].to_list() == [EVERYONE] * 3
    same = log_of([["a", "b", "c", "d"]] * 100)
    assert find_segments(same)["segment_id"].n_unique() == 1
    with pytest.raises(ModelError, match="cannot make 5 segments"):
        find_segments(few, SegmentSettings(k=5))


def test_one_activity_and_one_case() -> None:
    assert find_segments(log_of([["a"] * 30] * 60))["segment"].unique().to_list() == [EVERYONE]
    assert find_segments(log_of([["a"]])).height == 1


def test_two_named_segments_on_request() -> None:
    log = log_of([["a", "b"] * 5] * 30 + [["b", "b", "a", "a"] * 3] * 30)
    table = find_segments(log, SegmentSettings(k=2))
    assert table["segment"].n_unique() == 2 and table["segment_id"].n_unique() == 2


def test_short_cases_are_unassigned(tmp_path: Path) -> None:
    log, _ = hcp_log(120)
    short = log_of([["email_sent", "call_f2f"]] * 5)
    events = pl.concat([log.events, short.events.with_columns(pl.format("x{}", "case_id").alias("case_id"))])
    cases = pl.DataFrame({"case_id": events["case_id"].unique().sort()})
    both = replace(log, events=events, cases=cases)
    facts, page = written(both, tmp_path / "s")
    table = pl.read_parquet(tmp_path / "s" / "segments.parquet")
    short_ones = table.filter(pl.col("case_id").str.starts_with("x"))
    assert short_ones["segment_id"].to_list() == [-1] * 5
    assert short_ones["segment"].unique().to_list() == ["Unassigned"]
    assert facts["n_unassigned"] == page["n_unassigned"] >= 5
    assert "fewer than 3 events" in page["notes"][0]
    json.dumps(page, allow_nan=False)


def test_kmeans_goes_through_the_same_door(tmp_path: Path) -> None:
    log, _ = hcp_log(150)
    facts, page = written(log, tmp_path / "s", replace(QUICK, kind="kmeans"))
    assert page["method"] == "ActivityKMeans" and facts["k"] >= 2
    assert assign(tmp_path / "s" / "model", SequenceSet.from_log(log)).k == facts["k"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "hdbscan", "k": 3},
        {"kind": "best"},
        {"frozen": True},
        {"review": "soon"},
        {"view": "all"},
        {"k": 0},
        {"k": "some"},
        {"k": True},
        {"max_k": 0},
        {"min_strength": 1.5},
    ],
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(JobError) as refused:
        SegmentSettings(**wrong)
    assert refused.value.hint


def test_facts_by_hand() -> None:
    # segment 0: b comes one day after every a; segment 1: ten days after two in three, else c comes
    near = [["a", "b"] * 3] * 40
    far = [["a", "b", "a", "c", "a", "b"]] * 40
    times = [[0, 1, 2, 3, 4, 5]] * 40 + [[0, 10, 11, 12, 13, 23]] * 40
    log = SequenceSet.from_traces(near + far, [[DAY * t for t in row] for row in times])
    label = np.repeat([0, 1], 40).astype(np.int32)
    found = facts_of(log, label, 2, 200)
    gap = next(f for f in found[0] if f.kind == "gap" and f.what == ("a", "b"))
    assert (gap.value, gap.rest) == (DAY, 10 * DAY) and gap.lift == pytest.approx(0.1)
    reach = next(f for f in found[1] if f.kind == "reach" and f.what == ("c",))
    assert (reach.value, reach.rest) == (1.0, 0.0) and reach.low > 1
    share = next(f for f in found[0] if f.kind == "share" and f.what == ("b",))
    assert (share.value, share.rest) == pytest.approx((1 / 2, 1 / 3))
    never = next(f for f in found[0] if f.kind == "reach" and f.what == ("c",))
    assert (never.value, never.lift, never.high) == (0, 0, 3 / 40) and full_text(never).endswith(
        "never seen here"
    )
    order = next(f for f in found[1] if f.kind in ("order", "until") and f.what == ("b", "c"))
    assert order.lift > 1 and order.rest == 0 and full_text(order).endswith("seen only here")
    assert all(f.low <= f.lift <= f.high or f.lift == 0 for own in found for f in own)


def test_facts_are_none_where_groups_are_drawn_by_chance() -> None:
    log, _ = planted("none", 500, 3)
    label = np.random.default_rng(0).integers(0, 2, 500).astype(np.int32)
    assert sum(map(len, facts_of(log, label, 2, 200))) <= 4  # some 1,000 looked at, each at about 0.1 %


ODD = [
    "😀🩺",
    "x" * 200,
    "<script>alert(1)</script>",
    "שלום",
    "a\nb\t c",
    "Unassigned",
    "cluster 0",
    "_",
    "%s{0}",
]


def test_names_are_unique_and_never_empty_whatever_activities_are_called() -> None:
    facts = [
        [Fact(kind, what, 0.5, 0.2, lift, lift * 0.9, lift * 1.1, 50, 1.0 + 0.1 * i)]
        for i, name in enumerate(ODD)
        for kind, what in (("share", (name,)), ("order", (name, ODD[i - 1])), ("gap", (ODD[i - 1], name)))
        for lift in (2.5, 0.4)
    ]
    names = name_segments(facts, hcp=False)
    assert len(names) == len({n.casefold() for n in names}) == len(facts)
    for name in names:
        assert name.strip() == name and 0 < len(name) <= 70
        assert "\n" not in name and "\t" not in name
    assert "Unassigned" not in names


def test_segments_that_nothing_sets_apart_still_get_different_names() -> None:
    names = name_segments([[], [], [], []], hcp=True)
    assert len(set(names)) == 4 and all(names)


def test_a_taken_name_gives_way_to_the_next_telling_fact() -> None:
    def fact(what: tuple[str, ...], telling: float) -> Fact:
        return Fact("until", what, 0.5, 0.2, 2.5, 2.0, 3.1, 50, telling)

    opens, portal = ("email_sent", "email_open"), ("email_open", "portal_visit")
    names = name_segments([[fact(opens, 1.0), fact(portal, 0.5)], [fact(opens, 2.0)]], hcp=True)
    assert names == ("Portal after opening email", "Email openers")


def test_facts_in_plain_words() -> None:
    quick = Fact("gap", ("email_sent", "email_open"), 0.6 * DAY, 3.1 * DAY, 0.2, 0.18, 0.22, 90, 3.0)
    often = Fact("until", ("email_open", "portal_visit"), 0.41, 0.18, 2.3, 2.0, 2.6, 90, 2.0)
    assert full_text(quick) == (
        "They open emails 14 h after they are sent (median, others 3.1 days): 5 times sooner (4.5–5.6)"
    )
    assert full_text(often) == (
        "41 % of email opens have a portal visit before the next one (others 18 %): "
        "2.3 times as often (2–2.6)"
    )
    assert sentence([quick, often]) == (
        "They open emails 14 h after they are sent (median, others 3.1 days); "
        "and 41 % of email opens have a portal visit before the next one (others 18 %)."
    )


def test_attributes_skip_what_finds_a_person() -> None:
    cases = pl.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(100)],
            "LastName": ["Kim", "Lee"] * 50,
            "zip3": ["522", "503"] * 50,
            "owner_id": ["u1", "u2"] * 50,
            "OwnerId": ["u1", "u2"] * 50,
            "Account_ID_vod__c": ["1", "2"] * 50,
            "specialty": ["Cardiology", "Oncology"] * 50,
            "total_usd": [float(i) for i in range(100)],
            "free_text": [f"text {i}" for i in range(100)],
            "consent": [True, False] * 50,
            "constant": ["x"] * 100,
        }
    )
    assert describing_columns(cases) == ["specialty", "consent"]
    label = np.array([0, 1] * 50, dtype=np.int32)
    mine = attribute_facts(cases, cases["case_id"], label, 2)[0]
    assert {"attribute": "specialty", "value": "Cardiology", "share": 1.0, "rest": 0.0} in mine


def test_a_segmentation_shows_itself_and_refuses_nonsense() -> None:
    ids = pl.Series("case_id", ["a", "b", "c"])
    shown = Segmentation(ids, np.array([0, -1, 1], np.int32), np.ones(3), ("A <b>", "B"))
    assert "A &lt;b&gt;" in shown._repr_html_() and "Unassigned" in shown._repr_html_()
    assert shown.to_frame()["segment"].to_list() == ["A <b>", "Unassigned", "B"]
    assert shown.sizes.tolist() == [1, 1] and shown.n_unassigned == 1
    for wrong in ((np.array([0, 2, 0], np.int32), ("A", "B")), (np.zeros(3, np.int32), ("A", "A"))):
        with pytest.raises(ModelError):
            Segmentation(ids, wrong[0], np.ones(3), wrong[1])


@pytest.mark.parametrize("name", ["open_payments_iowa", "complete_journey"])
def test_real_logs_give_named_segments(real_log: object, name: str, tmp_path: Path) -> None:
    table = pl.read_parquet(real_log(name)).select("case_id", "activity", "timestamp")  # type: ignore[operator]
    table = table.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC")).with_row_index("event_index")
    table = table.with_columns(pl.col("event_index").cast(pl.Int64)).sort(
        "case_id", "timestamp", "event_index"
    )
    log = replace(log_of([["a"]]), events=table, cases=table.select(pl.col("case_id").unique().sort()))
    facts, page = written(log, tmp_path / "s", SegmentSettings(restarts=3, max_k=5, subgroups=False))
    assert (
        2 <= facts["k"] <= 10
        and sum(s["n_cases"] for s in page["segments"]) + page["n_unassigned"] == log.n_cases
    )
    for segment in page["segments"]:
        assert 3 <= len(segment["segment"]) <= 70 and segment["sentence"].endswith(".")
        assert min(len(segment["distinguishing"]), 1) == 1


def test_two_cases_of_different_length_have_a_typical_one(tmp_path):
    log = log_of([["x", "y", "z"], ["x", "y", "z", "x", "y"]])
    write_segments(log, SequenceSet.from_log(log), SegmentSettings(k=1), 7, tmp_path)
    (group,) = read_json(tmp_path / "profiles.json")["segments"]
    assert group["typical"]["case_id"] in ("c00000", "c00001")
