"""Stages: a hidden ladder against brute force, rules by hand, planted stages found again."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.cli import cli
from behavio.errors import JobError, ModelError
from behavio.kernels import ladder
from behavio.log import EventLog
from behavio.simulate import SimulateSettings
from behavio.sources import read
from behavio.stages import StageRule, StageSettings, read_stages, stages, write_stages
from behavio.stages.learn import Ladders, StageLadder

START = datetime(2025, 1, 1, tzinfo=UTC)


def model(rng: np.random.Generator, n: int, marks: int, drivers: int) -> tuple[np.ndarray, ...]:
    """Random odds; nobody steps below the first or above the last stage."""
    moves = rng.dirichlet(np.ones(3), (n, drivers))
    moves[0, :, 1] += moves[0, :, 0]
    moves[0, :, 0] = 0
    moves[-1, :, 1] += moves[-1, :, 2]
    moves[-1, :, 2] = 0
    return rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(marks), n), moves


def every_path(mark, driver, first, marks, moves):
    """The slow twin: each path of stages, before every event and today, with its probability."""
    n = len(first)
    for path in itertools.product(range(n), repeat=len(mark) + 1):
        p = first[path[0]]
        for t, (m, d) in enumerate(zip(mark, driver, strict=True)):
            p *= marks[path[t], m] if m >= 0 else 1.0
            step = path[t + 1] - path[t] + 1
            p *= moves[path[t], d, step] if 0 <= step <= 2 else 0.0
        yield path, p


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 3), length=st.integers(1, 4))
def test_probabilities_are_those_of_all_paths(seed: int, n: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    first, marks, moves = model(rng, n, 3, 2)
    mark = rng.integers(-1, 3, length).astype(np.int32)
    driver = rng.integers(0, 2, length).astype(np.int32)
    paths = list(every_path(mark, driver, first, marks, moves))
    total = sum(p for _, p in paths)
    offsets = np.array([0, length])
    path, now = np.empty(length + 1, np.int8), np.empty((1, n))
    found = ladder.climb(offsets, mark, driver, first, marks, moves, path, now)
    assert found == pytest.approx(np.log(total))
    today = [sum(p for q, p in paths if q[-1] == s) / total for s in range(n)]
    assert now[0] == pytest.approx(today)
    best = max(p for _, p in paths)
    assert next(p for q, p in paths if q == tuple(path)) == pytest.approx(best)
    seen = np.zeros(n), np.zeros((n, 3)), np.zeros((n, 2, 3))
    again = ladder.expect(offsets, 0, 1, mark, driver, first, marks, moves, *seen)
    assert again == pytest.approx(np.log(total))
    for s in range(n):
        assert seen[0][s] == pytest.approx(sum(p for q, p in paths if q[0] == s) / total)
        for m in range(3):
            share = sum(p * sum(q[t] == s and mark[t] == m for t in range(length)) for q, p in paths)
            assert seen[1][s, m] == pytest.approx(share / total)
    # the step after the last event is seen by nobody yet: it is not counted
    assert seen[2].sum() == pytest.approx(length - 1)


def planted(n_cases: int, seed: int) -> tuple[Ladders, np.ndarray, np.ndarray]:
    """Three stages that show marks {0, 1}, {1, 2}, {3}; driver 0 lifts in 1 of 10, driver 1 sets back."""
    rng = np.random.default_rng(seed)
    marks = np.array([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1.0]])
    rows, offsets, today, before = [], [0], [], []
    for _ in range(n_cases):
        z = int(rng.integers(0, 3))
        for _ in range(30):
            driver = int(rng.random() < 0.3)
            shown = int(rng.choice(4, p=marks[z])) if rng.random() < 0.7 else -1
            rows.append((shown, driver, float(shown == 3) - float(shown == 0)))
            before.append(z)
            u = rng.random()
            z = min(2, z + (u < 0.1)) if driver == 0 else max(0, z - (u < 0.15))
        offsets.append(len(rows))
        today.append(z)
    mark, driver, favour = (np.array(c) for c in zip(*rows, strict=True))
    seen = Ladders(np.array(offsets), mark.astype(np.int32), driver.astype(np.int32), favour, 4, 2)
    return seen, np.array(today), np.array(before)


def test_planted_stages_are_found_again_in_their_order() -> None:
    seen, today, _ = planted(300, 1)
    fitted = StageLadder(3).fit(seen)
    path, now, _ = fitted.paths(seen)
    there = path[seen.offsets[1:] + np.arange(300)]
    assert (there == today).mean() > 0.85
    assert fitted.marks_[2, 3] > 0.95 and fitted.marks_[0, 0] > 0.4
    assert fitted.moves_[0, 0, ladder.UP] == pytest.approx(0.1, abs=0.05)
    assert fitted.moves_[2, 1, ladder.DOWN] == pytest.approx(0.15, abs=0.07)
    assert now.sum(axis=1) == pytest.approx(np.ones(300))
    again = StageLadder(3).fit(seen)
    assert all(np.array_equal(getattr(fitted, n), getattr(again, n)) for n in StageLadder.learned)


def test_a_ladder_is_saved_and_read_back(tmp_path: Path) -> None:
    seen, _, _ = planted(60, 2)
    fitted = StageLadder(3).fit(seen)
    fitted.save(tmp_path)
    assert np.array_equal(StageLadder.load(tmp_path).paths(seen)[0], fitted.paths(seen)[0])


def by_hand(*rows: tuple[str, str, float]) -> EventLog:
    """Events (case, activity, day)."""
    table = [(c, a, START + timedelta(days=d)) for c, a, d in rows]
    return read(pl.DataFrame(table, schema=["case_id", "activity", "timestamp"], orient="row"))


RULES = (
    StageRule("aware", ("open",)),
    StageRule("interested", ("visit",), times=2, within="10d"),
    StageRule("adopter", ("order",)),
)


def test_rules_lift_and_set_back() -> None:
    log = by_hand(
        ("a", "open", 0),  # unaware → aware
        ("a", "visit", 1),
        ("a", "visit", 20),  # 19 days apart: not within 10
        ("a", "visit", 25),  # 5 days: aware → interested
        ("a", "refuse", 26),  # interested → aware, counts start again
        ("a", "visit", 27),
        ("b", "order", 0),  # straight to adopter
        ("b", "open", 100),  # after a silence of 100 days: a step back; opening lifts nobody on interested
        ("c", "call", 0),  # nothing
    )
    found = stages(log, StageSettings(rule=RULES, back_on=("refuse",), silence="90d"))
    moves = [(m["case_id"], m["from_stage"], m["to_stage"], m["back"]) for m in found.moves.to_dicts()]
    assert moves == [
        ("a", "unaware", "aware", False),
        ("a", "aware", "interested", False),
        ("a", "interested", "aware", True),
        ("b", "unaware", "adopter", False),
        ("b", "adopter", "interested", True),
    ]
    assert found.cases["stage"].to_list() == ["aware", "interested", "unaware"]
    assert found.cases["since"].to_list() == [START + timedelta(days=26), START + timedelta(days=100), None]
    assert found.cases["steps_back"].to_list() == [1, 1, 0]
    rung = {r["stage"]: r for r in found.ladder.to_dicts()}
    assert [rung[s]["n_cases"] for s in found.names] == [1, 1, 1, 0]
    assert [rung[s]["reached"] for s in found.names] == [3, 1, 2, 1]
    assert rung["aware"]["median_days"] == 25 and rung["interested"]["back"] == 1.0
    assert found.cases["evidence_row"][0] == "frame:5"  # rows are counted from 1


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=12),
    times=st.lists(st.integers(1, 3), min_size=2, max_size=2),
    within=st.sampled_from([None, 5, 40]),
    silence=st.sampled_from([None, 20]),
)
def test_rules_are_those_of_a_plain_loop(events, times, within, silence) -> None:
    names = ["up1", "up2", "back", "other"]
    rows, day = [], 0
    for activity, gap in events:
        day += gap
        rows.append(("a", names[activity], float(day)))
    days = None if within is None else f"{within}d"
    present = {r[1] for r in rows}
    rules = [StageRule(f"s{k}", (f"up{k}",), times[k - 1], days) for k in (1, 2)]
    if not {"up1", "up2", "back"} <= present:
        rows += [("z", n, 0.0) for n in names]
    found = stages(
        by_hand(*rows),
        StageSettings(
            rule=tuple(rules), back_on=("back",), silence=None if silence is None else f"{silence}d"
        ),
    )
    at, counted, last = 0, {1: [], 2: []}, None
    for case, activity, when in rows:
        if case != "a":
            continue
        to = at - (silence is not None and last is not None and when - last > silence) - (activity == "back")
        to = max(to, 0)
        for k in (1, 2):
            if activity == f"up{k}":
                counted[k].append(when)
                enough = counted[k][-times[k - 1] :]
                if len(enough) == times[k - 1] and (within is None or when - enough[0] <= within) and k > at:
                    to = k
        if to != at:
            counted = {1: [], 2: []}
        at, last = to, when
    assert found.cases.filter(case_id="a")["stage_id"][0] == at


def test_nothing_is_learned_where_nothing_is_talked_about(tmp_path: Path) -> None:
    log = by_hand(("a", "open", 0), ("b", "visit", 1))
    with pytest.raises(ModelError, match="nothing shows a stage"):
        stages(log)
    facts = write_stages(log, StageSettings(), tmp_path)
    assert facts["rows_out"] == 0 and "nothing shows a stage" in facts["note"]
    with pytest.raises(ModelError, match="nothing shows a stage"):
        read_stages(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"count": 1}, "no ladder"),
        ({"names": ("a",)}, "no ladder"),
        ({"names": ("a", "a")}, "named twice"),
        ({"names": ("a", "b"), "rule": RULES}, "name their stages themselves"),
        ({"silence": "0d"}, "longer than nothing"),
    ],
)
def test_wrong_settings_say_what_is_wrong(wrong: dict, said: str) -> None:
    with pytest.raises(JobError, match=said):
        StageSettings(**wrong)


def test_a_rule_of_an_unknown_activity_is_named() -> None:
    with pytest.raises(JobError, match="'opne'"):
        stages(by_hand(("a", "open", 0)), StageSettings(rule=(StageRule("x", ("opne",)),)))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with stages on simulated extracts."""
    from behavio import api

    folder = tmp_path_factory.mktemp("stages")
    api.simulate(folder, n_cases=600, seed=3)
    job = folder / "job.toml"
    sources = [("calls", "veeva.call"), ("messages", "veeva.key_message"), ("emails", "veeva.sent_email")]
    table = "".join(f'[source.{n}]\nkind = "{k}"\npath = "extracts"\n' for n, k in sources)
    portal = '[source.portal]\nkind = "ga4"\npath = "extracts"\n'
    job.write_text(
        f'{table}{portal}[stages]\nnames = ["unaware", "aware", "interested", "trial", "adopter"]\n'
    )
    api.run(job, out=folder / "run")
    return folder


def test_planted_stages_of_the_simulator_are_recovered(simulated: Path) -> None:
    found = read_stages(simulated / "run" / "stages")
    true = pl.read_parquet(simulated / "truth" / "stages.parquet").sort("case_id", "time")
    last = true.group_by("case_id", maintain_order=True).last().select("case_id", truth="stage")
    both = found.cases.join(last, on="case_id")
    right = (both["stage"] == both["truth"]).mean()
    assert right >= 0.75, right
    assert found.cases["probability"].mean() == pytest.approx(right, abs=0.08)
    steps = found.moves.filter(pl.col("evidence").str.starts_with("positive reaction"))
    assert not steps["back"].any() and steps.height > found.moves.height / 4


def test_the_command_view_and_audience_tell_the_stage(simulated: Path) -> None:
    def typed(*words: str) -> str:
        done = CliRunner().invoke(cli, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    run = str(simulated / "run")
    assert "adopter" in typed("stages", run, "--ladder")
    assert "evidence_row" in typed("stages", run, "--moves", "--csv")
    case = read_stages(simulated / "run" / "stages").moves["case_id"][0]
    assert " sure) since " in typed("view", run, case)
    assert "cases fit" in typed("audience", run, "stage = 'adopter'")
    assert SimulateSettings().n_cases > 0
