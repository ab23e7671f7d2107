"""Two periods of the same cases: hand-worked, against a slow twin, with and without a change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import behavio
from behavio.cli import cli
from behavio.contrasts import larger, larger_alike
from behavio.errors import JobError, LogError
from behavio.journeys.periods import paired, periods
from behavio.sequences import OpenCases, SequenceSet

DAY = 86_400


def row(table: pl.DataFrame, **wanted: str) -> dict:
    (found,) = table.filter(*(pl.col(k) == v for k, v in wanted.items())).to_dicts()
    return found


def test_by_hand() -> None:
    # days 0–9 and 10–19, the log ends on day 19. x: mail, open | mail; y: mail | mail, open; z: only before
    log = SequenceSet.from_traces(
        [["mail", "open", "mail"], ["mail", "mail", "open"], ["mail", "open"], ["call"]],
        [[0, DAY, 12 * DAY], [2 * DAY, 11 * DAY, 13 * DAY], [3 * DAY, 5 * DAY], [20 * DAY - 1]],
    )
    found = periods(log, "10d")
    assert found.names == ("1970-01-01 to 1970-01-10", "1970-01-10 to 1970-01-20")
    assert found.n_cases == (3, 4) and found.n_events == (5, 4)  # z may go on: it is watched to the end
    mail = row(found.activities, activity="mail")
    assert (mail["cases_a"], mail["cases_b"], mail["a"], mail["b"]) == (3, 2, 1.0, 0.5)
    # 3 mails in 10 + 8 + 7 days, 2 in 10 + 10 + 10 and the least of one day
    assert mail["per_30_days_a"] == pytest.approx(3 / 25 * 30, rel=1e-4)
    assert mail["per_30_days_b"] == pytest.approx(2 / 31 * 30, rel=1e-4)
    step = row(found.edges, source="mail", target="open")
    assert (step["frequency_a"], step["frequency_b"], step["a"], step["b"]) == (2, 1, 1.0, 1.0)
    wait = row(found.waits, source="mail", target="open")
    assert (wait["median_s_a"], wait["median_s_b"]) == (1.5 * DAY, 2 * DAY)
    way = row(found.variants, variant="mail → open")
    assert (way["cases_a"], way["cases_b"], way["a"], way["b"]) == (2, 1, 2 / 3, 1 / 3)
    closed = replace(log, running=OpenCases(np.array([True, True, False, True]), (), 0.0))
    assert periods(closed, "10d").n_cases == (3, 3)  # z was over before the second period


traces = st.lists(
    st.tuples(st.lists(st.sampled_from("ab"), max_size=4), st.lists(st.sampled_from("ab"), max_size=4)),
    min_size=4,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(traces)
def test_variances_are_those_of_what_single_cases_add(made: list) -> None:
    """Each case: how often a, of how many; the twin adds up what every case adds to the difference."""
    sides = []
    for k in (0, 1):
        rows = [(i, "a", float(t[k].count("a"))) for i, t in enumerate(made) if "a" in t[k]]
        below = [(i, float(len(t[k]))) for i, t in enumerate(made) if t[k]]
        sides.append(
            (
                pl.DataFrame(rows, {"case": pl.Int64, "key": pl.String, "x": pl.Float64}, orient="row"),
                pl.DataFrame(below, {"case": pl.Int64, "n": pl.Float64}, orient="row"),
            )
        )
    keys = pl.DataFrame({"key": ["a"]})
    a, b, covariance = paired(keys, [], (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1]))
    total = [sum(len(t[k]) for t in made) for k in (0, 1)]
    if not all(total):
        assert covariance[0] == 0
        return
    share = [sum(t[k].count("a") for t in made) / total[k] for k in (0, 1)]
    added = [[(t[k].count("a") - share[k] * len(t[k])) / total[k] for t in made] for k in (0, 1)]
    assert (a.value[0], b.value[0]) == (pytest.approx(share[0]), pytest.approx(share[1]))
    twin = sum(x * y for x, y in zip(*added, strict=True))
    assert covariance[0] == pytest.approx(twin, abs=1e-12)
    m = sum(1 for t in made if t[0])
    if m > 1:
        assert a.variance[0] == pytest.approx(sum(x * x for x in added[0]) * m / (m - 1), abs=1e-12)


def test_larger_with_other_cases_is_that_of_strangers_and_with_the_same_surer() -> None:
    rng = np.random.default_rng(3)
    person = rng.normal(0, 2, 200)
    before, after = person + rng.normal(0, 0.3, 200), person + 0.2 + rng.normal(0, 0.3, 200)
    cases = np.arange(200)
    area, low, high, p = larger_alike(before, cases, after, cases)
    apart = larger_alike(before, cases, after, cases + 200)
    assert area == pytest.approx(larger(before, after)[0]) == pytest.approx(apart[0])
    assert apart[3] == pytest.approx(larger(before, after)[3], rel=0.2)
    assert high - low < 0.3 * (apart[2] - apart[1]) and p < 1e-6 < 0.1 < apart[3]
    assert np.isnan(larger_alike(before[:3], cases[:3], after, cases)[0])


def made(seed: int, change: bool) -> SequenceSet:
    """150 people, each with a habit of their own: how often they open mail. Later they open it more."""
    rng = np.random.default_rng(seed)
    traces, times = [], []
    for habit in rng.beta(1, 1, 150):
        names, when = [], []
        for week in range(40):
            share = habit + (1 - habit) / 2 if change and week >= 20 else habit
            names.append("mail")
            when.append(week * 7 * DAY + int(rng.integers(0, DAY)))
            if rng.random() < share:
                names.append("open")
                when.append(when[-1] + int(rng.integers(DAY, 2 * DAY)))
        traces.append(names)
        times.append(when)
    return SequenceSet.from_traces(traces, times)


def test_without_a_change_hardly_anything_differs_and_intervals_hold() -> None:
    crying, inside = 0, 0
    for seed in range(20):
        found = periods(made(seed, change=False), "140d")
        tables = [found.activities, found.edges, found.waits, found.variants]
        crying += any((t["q_value"] <= 0.05).any() for t in tables)
        step = row(found.edges, source="mail", target="open")
        inside += step["low"] <= 0 <= step["high"]
    assert crying <= 4 and inside >= 17  # four tables, each with a rate of 5 %


def test_a_planted_change_is_found_with_its_size() -> None:
    found = periods(made(1, change=True), "60d")  # both after the change
    assert not (found.edges["q_value"] <= 0.05).any()
    found = periods(made(1, change=True), "140d")
    step = row(found.edges, source="mail", target="open")
    # habits are uniform: half of the mails opened before, three quarters after
    assert step["low"] < 0.25 < step["high"] and step["q_value"] < 1e-6 and step["high"] - step["low"] < 0.07
    opened = row(found.activities, activity="open")
    assert opened["rate_low"] < 1.5 < opened["rate_high"] and opened["rate_q_value"] < 1e-6


def test_wrong_lengths_are_refused() -> None:
    log = made(0, change=False)
    with pytest.raises(JobError, match="too few for two periods of 200d"):
        periods(log, "200d")
    with pytest.raises(LogError, match="no clock"):
        periods(replace(log, timed=False))
    alone = SequenceSet.from_traces([["a", "b"]], [[0, DAY]])
    assert periods(alone).n_events == (1, 1)
    with pytest.raises(LogError, match="nothing happened"):
        periods(SequenceSet.from_traces([["a", "b", "c"]], [[0, 90 * DAY, 100 * DAY]]), "20d")


def test_the_command_line_says_it(tmp_path) -> None:
    log = made(1, change=True)
    names = log.vocabulary.names
    frame = pl.DataFrame(
        {
            "case_id": [log.case_ids[int(c)] for c in log.case_of_event],
            "activity": [names[t] for t in log.tokens],
            "timestamp": pl.Series(log.times).cast(pl.Datetime("us", "UTC")),
        }
    )
    frame.write_csv(tmp_path / "log.csv")
    done = CliRunner().invoke(cli, ["compare", str(tmp_path / "log.csv"), "--last", "140d"])
    assert done.exit_code == 0, done.output
    assert "150 cases were watched in both periods" in done.output and "mail" in done.output
    found = behavio.compare(tmp_path / "log.csv", last="140d")
    assert found.edges.equals(periods(log, "140d").edges)
    done = CliRunner().invoke(
        cli, ["compare", str(tmp_path / "log.csv"), "--last", "140d", "--split", "1971-01-01"]
    )
    assert isinstance(done.exception, JobError) and "--last" in done.exception.hint
