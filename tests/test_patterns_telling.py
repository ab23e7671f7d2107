"""Patterns that tell segments found in the same journeys: nothing where there is nothing, else the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from behavio.patterns import PatternSettings, find, frequent, write_patterns
from behavio.patterns.chance import beyond_mix
from behavio.patterns.tables import LATER
from behavio.patterns.telling import Place, halves, telling, told_later
from behavio.segments import Found, Segmentation, SegmentSettings
from behavio.segments import find as find_segments
from behavio.segments.finding import assign_labels
from behavio.sequences import SequenceSet

HOUR = 3_600


def grouped(log: SequenceSet, k: int) -> tuple[Found, Place]:
    """Segments of a log, and their model as a function of any cases."""
    found = find_segments(log, SegmentSettings(k=k, restarts=2), 7, verify=False)

    def place(cases: SequenceSet) -> pl.DataFrame:
        label, strength = assign_labels(found.model, cases, 0.5, 3)
        return Segmentation(cases.case_ids, label, strength, found.segmentation.names).to_frame()

    return found, place


def random_order(seed: int) -> SequenceSet:
    """All cases alike, their activities in any order: what segments are made of is noise."""
    rng = np.random.default_rng([seed, 3])
    return SequenceSet.from_traces([rng.choice(list("abcd"), 12).tolist() for _ in range(400)])


SETTINGS = PatternSettings(permutations=30, max_length=3, max_gap_events=2)


def test_on_shuffled_logs_no_order_tells_segments_found_anew() -> None:
    crying = 0
    for seed in range(5):
        log = random_order(seed)
        found, place = grouped(log, 3)
        crying += told_later(log, found.segmentation.to_frame(), place, SETTINGS).frame.height > 0
    assert crying <= 1


def by_noise(cases: SequenceSet) -> pl.DataFrame:
    """Segments made of nothing but chance: whether a case happens to go more often from a to b or back."""
    a, b = cases.vocabulary.id("a"), cases.vocabulary.id("b")
    more = [
        int(((t[:-1] == a) & (t[1:] == b)).sum()) - int(((t[:-1] == b) & (t[1:] == a)).sum()) for t in cases
    ]
    names = ["there" if n > 0 else "back" if n < 0 else "even" for n in more]
    return pl.DataFrame({"case_id": cases.case_ids, "segment": names})


def test_segments_made_of_noise_are_told_by_it_but_not_in_what_came_later() -> None:
    crying = 0
    for seed in range(6):
        log = random_order(seed)
        labels = by_noise(log)
        mined = frequent(log, SETTINGS.rules(log))
        before = telling(log, mined.select(mined.lengths > 1), labels, SETTINGS.top, 30)
        assert before.height > 0  # the events that made the segments cannot prove them
        crying += told_later(log, labels, by_noise, SETTINGS).frame.height > 0
    assert crying <= 1


def test_a_planted_order_is_told_from_the_first_half_and_found_in_the_later() -> None:
    # same activities, as often: half of the cases go email, visit, portal, the others portal, visit, email
    rng = np.random.default_rng(8)
    ways = (["email", "visit", "portal"], ["portal", "visit", "email"])
    made = []
    for c in range(200):
        made.append([a for _ in range(rng.integers(4, 8)) for a in (*ways[c % 2], "call")])
    log = SequenceSet.from_traces(made)
    found, place = grouped(log, 2)
    said = find(log, PatternSettings(permutations=30), 1, found.segmentation.to_frame(), place=place)
    told = said.frame.filter(pl.col("segment").is_not_null())
    assert said.facts["telling_cases"] == said.facts["telling_same_segment"] == 200
    assert set(told["segment"]) == set(found.segmentation.names) and set(told["counted_in"]) == {LATER}
    assert said.frame.filter(pl.col("segment").is_null())["counted_in"].unique().to_list() == [
        "whole journey"
    ]
    truth = dict(zip(log.case_ids, (w[0] for w in ways * 100), strict=True))
    for name in found.segmentation.names:
        mine = found.segmentation.to_frame().filter(pl.col("segment") == name)["case_id"]
        first = {truth[c] for c in mine}
        assert len(first) == 1
        more = told.filter((pl.col("segment") == name) & (pl.col("lift") > 1))["activities"].to_list()
        wanted = ways[0] if first == {"email"} else ways[1]
        assert any(list(p[:2]) in (wanted[:2], wanted[1:]) for p in more)
    assert any("later half of each journey" in note and "200 cases (100" in note for note in said.notes)


def test_halves_by_hand() -> None:
    # 5 events: 2 and 3; 1 event: only a later half; the second event at the time of the third: 3 and 1
    log = SequenceSet.from_traces(
        [list("abcde"), ["x"], list("pqrs"), list("yz")],
        [[0, 1, 2, 3, 4], [0], [0, HOUR, HOUR, 2 * HOUR], [5, 5]],
    )
    first, later = halves(log)
    assert first is not None and later is not None
    names = log.vocabulary.names
    assert {c: "".join(names[t] for t in trace) for c, trace in zip(first.case_ids, first, strict=True)} == {
        "c0": "ab", "c2": "pqr", "c3": "yz",
    }  # fmt: skip
    assert {c: "".join(names[t] for t in trace) for c, trace in zip(later.case_ids, later, strict=True)} == {
        "c0": "cde", "c1": "x", "c2": "s",
    }  # fmt: skip


@pytest.mark.parametrize("made", [[["a"]], [["a"], ["b"]] * 3])
def test_a_log_without_halves_tells_nothing(made: list[list[str]]) -> None:
    log = SequenceSet.from_traces(made)
    labels = pl.DataFrame({"case_id": log.case_ids, "segment": ["s"] * log.n_cases})
    told = told_later(log, labels, lambda cases: pytest.fail("nothing to place"), PatternSettings())
    assert told.frame.is_empty() and told.placed and told.n_cases == 0


def test_segments_that_need_whole_journeys_are_not_judged(tmp_path: Path) -> None:
    log = SequenceSet.from_traces([list("abab"), list("baba")] * 30)
    labels = pl.DataFrame({"case_id": log.case_ids, "segment": ["x", "y"] * 30})
    facts = write_patterns(log, PatternSettings(), 1, tmp_path, labels, place=lambda cases: None)
    assert facts["n_telling_rows"] == 0 and facts["telling_counted_in"] is None
    assert "not judged" in (tmp_path / "notes.json").read_text(encoding="utf-8")
    frame = pl.read_parquet(tmp_path / "patterns.parquet")
    assert frame["segment"].null_count() == frame.height > 0


def test_nobody_where_a_few_are_expected_is_no_wonder() -> None:
    # of 8 holders expected inside none is there, and 40 of 40 outside: exp(−8) or so, not exp(−36)
    inside = np.array([[0.0], [8.0], [7.0], [1.0], [0.0]])
    outside = np.array([[40.0], [40.0], [35.0], [5.0], [5.0]])
    p = float(beyond_mix(inside, outside, 100)[0])
    assert 1e-5 < p < 0.05
    same = float(beyond_mix(outside, outside, 100)[0])
    assert same > 0.9
