"""A flow as often as it was begun: by hand, against a slow twin, as typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.cli import cli
from behavio.conformance import ConformanceSettings, conform, plan_of, read_conformance, write_conformance
from behavio.sequences import OpenCases, SequenceSet

DAY = 86_400
WAVE = {
    "flow": [
        {
            "name": "wave",
            "allow_extra": True,
            "step": [
                {"activity": "sent"},
                {"activity": "open", "within": "7d"},
                {"activity": "click", "optional": True},
                {"activity": "visit", "within": "14d"},
            ],
        }
    ]
}


def told(log: SequenceSet, plan: dict = WAVE) -> list[tuple]:
    found = conform(log, plan_of(plan)).occurrences
    return list(found.select("case_id", "occurrence", "state", "reached", "next").iter_rows())


def test_a_campaign_of_several_waves_by_hand() -> None:
    # two waves, both opened and visited; one opened too late; one still in time at the end (day 60)
    log = SequenceSet.from_traces(
        [
            ["sent", "open", "visit", "sent", "open", "click", "visit"],
            ["sent", "open", "sent", "visit"],
            ["sent", "sent", "open", "visit"],
            ["sent", "other"],
        ],
        [
            [d * DAY for d in (0, 1, 5, 30, 31, 31, 40)],
            [d * DAY for d in (0, 9, 10, 12)],  # nine days are too late
            [d * DAY for d in (1, 20, 22, 23)],  # the open belongs to the newest mail
            [d * DAY for d in (58, 60)],
        ],
    )
    assert told(log) == [
        ("c0", 1, "finished", "visit", None),
        ("c0", 2, "finished", "visit", None),
        ("c1", 1, "stopped", "sent", "open"),
        ("c1", 2, "stopped", "sent", "open"),
        ("c2", 1, "stopped", "sent", "open"),
        ("c2", 2, "finished", "visit", None),
        ("c3", 1, "open", "sent", "open"),
    ]
    found = conform(log, plan_of(WAVE))
    assert found.walks().row(0) == ("wave", 4, 7, 3, 3, 1)
    steps = found.occurrence_steps
    assert steps["step"].to_list() == ["sent", "open", "click", "visit"]
    assert steps["occurrences"].to_list() == [7, 3, 1, 3] and steps["cases"].to_list() == [4, 2, 1, 2]
    assert steps["stopped"].to_list() == [3, 0, 0, 0] and steps["open"].to_list() == [1, 0, 0, 0]
    assert steps["share"][1] == pytest.approx(3 / 7) and steps["low"][1] < 3 / 7 < steps["high"][1]
    assert steps["median_s"].to_list() == [0.0, 1 * DAY, 1 * DAY, 5 * DAY]
    assert found.occurrences["duration_s"].to_list() == [5 * DAY, 10 * DAY, None, None, None, 3 * DAY, None]
    assert found.cases.height == 4  # the table of cases stays as it was


def test_a_step_that_must_come_twice_and_a_case_that_is_over() -> None:
    plan = {"flow": [{"name": "f", "step": [{"activity": "a"}, {"activity": "b", "at_least": 2}]}]}
    log = SequenceSet.from_traces([list("abab"), list("abb")])
    assert told(log, plan) == [  # the second b belongs to the newest one that waits for it
        ("c0", 1, "open", "b", "b"),
        ("c0", 2, "open", "b", "b"),
        ("c1", 1, "finished", "b", None),
    ]
    over = OpenCases(np.zeros(2, bool), (), 0.0)
    assert {r[2] for r in told(replace(log, running=over), plan)} == {"stopped", "finished"}


def slow(trace: str, times: list[int], steps: str, limit: int) -> list[str]:
    """Steps taken by each walk through `steps`, one event each, every one at most `limit` after the last."""
    walked: list[list[int]] = []  # places in the trace
    gone: set[int] = set()
    for i, name in enumerate(trace):
        for w in reversed(range(len(walked))):
            at = len(walked[w])
            if at == len(steps) or w in gone:
                continue
            if times[i] - times[walked[w][-1]] > limit:
                gone.add(w)
            elif steps[at] == name:
                walked[w].append(i)
                break
        else:
            if name == steps[0]:
                walked.append([i])
    return ["".join(trace[i] for i in w) for w in walked]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcx"), st.integers(0, 3)), min_size=1, max_size=14),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["abc", "ab", "aba", "aab"]),
    st.integers(1, 5),
)
def test_every_walk_is_that_of_the_twin(made: list, steps: str, limit: int) -> None:
    traces = [[a for a, _ in case] for case in made]
    times = [np.cumsum([g for _, g in case]).tolist() for case in made]
    if not set(steps) <= {a for t in traces for a in t}:
        return
    parts = [
        {"activity": a, "name": f"{i}{a}"} | ({"within": f"{limit}d"} if i else {})
        for i, a in enumerate(steps)
    ]
    plan = {"flow": [{"name": "f", "step": parts}]}
    log = SequenceSet.from_traces(traces, [[t * DAY for t in case] for case in times])
    found = conform(log, plan_of(plan)).occurrences
    mine = [int(r[0]) + 1 for r in found["reached"]]
    twin = [
        len(w) for t, when in zip(traces, times, strict=True) for w in slow("".join(t), when, steps, limit)
    ]
    assert mine == twin
    assert (found["state"] == "finished").to_list() == [n == len(steps) for n in twin]


def test_without_a_clock_there_are_no_times() -> None:
    plan = {"flow": [{"name": "f", "step": [{"activity": "a"}, {"activity": "b"}]}]}
    log = replace(SequenceSet.from_traces([list("abab"), list("ac")]), timed=False)
    found = conform(log, plan_of(plan))
    assert found.occurrences["state"].to_list() == ["finished", "finished", "open"]
    assert (
        found.occurrences["began"].null_count() == 3 and found.occurrence_steps["median_s"].null_count() == 2
    )


def test_files_and_the_command_line(tmp_path: Path) -> None:
    log = SequenceSet.from_traces([["sent", "open", "visit", "sent"], ["other"]])
    facts = write_conformance(log, plan_of(WAVE), ConformanceSettings(), tmp_path)
    assert facts["occurrences"] == [
        {"plan": "wave", "cases": 1, "begun": 2, "finished": 1, "stopped": 0, "open": 1}
    ]
    again = read_conformance(tmp_path)
    assert again.occurrences.height == 2 and again.occurrence_steps.height == 4
    (tmp_path / "conformance_occurrences.parquet").unlink()  # a run of an earlier version
    assert read_conformance(tmp_path).occurrences.height == 0
    names = log.vocabulary.names
    pl.DataFrame(
        {
            "case_id": [log.case_ids[int(c)] for c in log.case_of_event],
            "activity": [names[t] for t in log.tokens],
            "timestamp": pl.Series(log.times).cast(pl.Datetime("us", "UTC")),
        }
    ).write_csv(tmp_path / "log.csv")
    (tmp_path / "wave.toml").write_text(
        '[[flow]]\nname = "wave"\n[[flow.step]]\nactivity = "sent"\n[[flow.step]]\nactivity = "visit"\n'
    )
    asked = ["conform", str(tmp_path / "log.csv"), "--plan", str(tmp_path / "wave.toml")]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    assert "wave, each time it was begun: 2 times by 1 case, 1 finished, 0 stopped, 1 open" in done.output
    done = CliRunner().invoke(cli, [*asked, "--table", "occurrences", "--csv"])
    assert done.output.splitlines()[0].startswith("case_id,plan,occurrence,began,last,state")
    assert len(done.output.splitlines()) == 3
