"""First steps, flows, weeks and bands of journeys: by hand, against slow twins, on the page."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folder import build

from behavio.report import ReportSettings, write_report
from behavio.report.numbers import write
from behavio.report.traces import DAY, Traces, answered_after, flow, prefix_tree, states, walk


def traces(journeys: list[list[tuple[str, int]]], inbound: set[str] | None = None) -> Traces:
    """Journeys of (activity, day)."""
    names = tuple(sorted({a for j in journeys for a, _ in j}))
    tokens = np.array([names.index(a) for j in journeys for a, _ in j], np.int32)
    times = np.array([d * DAY for j in journeys for _, d in j], np.int64)
    offsets = np.cumsum([0, *(len(j) for j in journeys)]).astype(np.int64)
    acts = None if inbound is None else np.array([a in inbound for j in journeys for a, _ in j])
    return Traces(tokens, offsets, times, acts, names)


FOUR = [
    [("mail", 0), ("open", 1), ("visit", 50)],
    [("mail", 0), ("open", 40)],
    [("mail", 0)],
    [("visit", 0), ("mail", 3), ("open", 4)],
]


def test_first_steps_by_hand() -> None:
    """Three of four begin with a mail: two of these open it, one within 30 days, and one has no more."""
    tree = prefix_tree(traces(FOUR, {"open"}), 3, k=1, least=0)
    mail, visit = tree.children
    assert (mail.activity, mail.n, mail.answered) == ("mail", 3, 1)
    assert (visit.activity, visit.n, visit.answered) == ("visit", 1, 1)
    opened, ended = mail.children
    assert (opened.activity, opened.n, opened.answered) == ("open", 2, 0)
    assert (ended.ended, ended.n) == (True, 1)


def test_rare_first_steps_are_one_box() -> None:
    tree = prefix_tree(traces(FOUR), 2, k=2)
    assert [(c.activity, c.ended, c.n) for c in tree.children] == [("mail", False, 3), (None, False, 1)]


letters = st.sampled_from("abcde")
logs = st.lists(
    st.lists(st.tuples(letters, st.integers(0, 45)), min_size=1, max_size=6), min_size=1, max_size=12
).map(lambda log: [sorted(j, key=lambda e: e[1]) for j in log])


@settings(max_examples=60, deadline=None)
@given(log=logs)
def test_the_tree_holds_every_prefix_as_often_as_it_comes(log: list[list[tuple[str, int]]]) -> None:
    wanted: Counter[tuple[str, ...]] = Counter()
    for journey in log:
        for d in range(1, min(len(journey), 4) + 1):
            wanted[tuple(a for a, _ in journey[:d])] += 1
    tree = prefix_tree(traces(log), 4, k=1, least=0)
    found = {(*path, node.activity): node.n for _, path, node in walk(tree) if node.activity is not None}
    assert found == dict(wanted)


@settings(max_examples=60, deadline=None)
@given(log=logs)
def test_answers_are_something_inbound_within_thirty_days(log: list[list[tuple[str, int]]]) -> None:
    found = answered_after(traces(log, {"a", "b"}), 3)
    assert found is not None
    for i, journey in enumerate(log):
        for d in range(3):
            later = journey[d + 1 :] if d < len(journey) else []
            assert found[i, d] == any(a in "ab" and day - journey[d][1] <= 30 for a, day in later)


@settings(max_examples=60, deadline=None)
@given(log=logs)
def test_flows_add_up_to_all_journeys(log: list[list[tuple[str, int]]]) -> None:
    found = flow(traces(log), 4, k=1, most=3)
    assert int(found.sizes[0].sum()) == len(log)
    for d, counts in enumerate(found.counts, start=1):
        here = [sum(len(j) > d for j in log), sum(len(j) == d for j in log)]
        assert [int(counts[:, :-1].sum()), int(counts[:, -1].sum())] == here
        assert counts.sum(axis=1).tolist() == found.sizes[d - 1].tolist()


@settings(max_examples=60, deadline=None)
@given(log=logs, k=st.integers(1, 3))
def test_states_are_shares_of_people_week_by_week(log: list[list[tuple[str, int]]], k: int) -> None:
    t = traces(log)
    place = {a: i % 2 for i, a in enumerate(t.names)}
    found = states(t, np.array([place[a] for a in t.names]), 2, 0, 7 * DAY, 5, k)
    kinds: dict[tuple[int, int], set[int]] = defaultdict(set)
    for i, journey in enumerate(log):
        for a, day in journey:
            kinds[i, day // 7].add(place[a])
    for week in range(5):
        for kind in (0, 1):
            have = [i for i in range(len(log)) if kind in kinds[i, week]]
            want = sum(1 / len(kinds[i, week]) for i in have) / len(log)
            if 0 < len(have) < k:
                assert np.isnan(found[week, kind])
            else:
                assert found[week, kind] == pytest.approx(want)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build(tmp_path_factory.mktemp("run"))
    write_report(folder, ReportSettings(), folder / "report")
    return folder


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    text = (folder / f"report/tables/{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def html(folder: Path) -> str:
    return (folder / "report/report.html").read_text(encoding="utf-8")


def test_first_steps_of_the_page_are_those_of_the_log(run: Path) -> None:
    events = pl.read_parquet(run / "log/events.parquet").group_by("case_id", maintain_order=True)
    begun = Counter(journey["activity"][0] for _, journey in events)
    told = {r["path"]: int(r["cases"]) for r in rows(run, "first_steps") if r["step"] == "1"}
    assert told == {"rep visit": begun["call_f2f"], "email sent": begun["email_sent"]}


def test_nothing_under_k_people_in_the_new_tables(run: Path) -> None:
    for name in ("first_steps", "flows"):
        assert rows(run, name) and all(int(r["cases"]) >= 10 for r in rows(run, name))
    assert all(int(r["smallest"]) >= 10 for r in rows(run, "journey_bands"))


def test_the_map_says_what_each_setting_hides(run: Path) -> None:
    """Hidden shares counted again from the run's own tables."""
    graph = pl.read_parquet(run / "journeys/graph.parquet")
    activities = pl.read_parquet(run / "journeys/activities.parquet")
    levels = rows(run, "map_levels")
    drawn = [int(r["activities"]) for r in levels]
    assert drawn == sorted(drawn) and len(drawn) >= 2
    hidden = [float(r["steps_hidden"]) for r in levels]
    assert all(a >= b for a, b in pairwise(hidden)) and 0 < hidden[0] < 1
    assert {int(r["of_activities"]) for r in levels} == {activities.height}
    assert {int(r["of_steps"]) for r in levels} == {graph.height}
    most = activities.sort("frequency", descending=True)["frequency"]
    for r in levels:
        least = 1 - sum(most[: int(r["activities"])]) / most.sum()
        assert float(r["events_hidden"]) >= least - 1e-9
    page = html(run)
    assert page.count('class="level') == len(levels) and page.count('class="level usual"') == 1
    assert 'type="range"' in page and "</span>hidden" not in page


def test_bands_show_no_person_and_no_rare_cell(run: Path, tmp_path: Path) -> None:
    page = html(run)
    assert len(re.findall(r'class="index-group"', page)) == 2  # two groups of ten or more
    assert 'id="journeys-of-0"' in page and 'href="#journeys-of-0"' in page
    write_report(run, ReportSettings(k_anonymity=1), tmp_path / "report")

    def strokes(text: str) -> int:
        drawn = re.findall(r'class="index-rows".*?</svg>', text, re.DOTALL)
        return sum(int(n) for d in drawn for n in re.findall(r"h(\d+)", d))

    assert 0 < strokes(page) < strokes(html(tmp_path))  # with k of one, rare cells are drawn too


def test_every_drawing_of_journeys_has_three_widths(run: Path) -> None:
    page = html(run)
    for name in ("icicle", "sankey"):
        assert page.count(f'class="{name}"') == 3


def test_every_number_in_a_drawing_stands_in_its_table(run: Path) -> None:
    page = html(run)
    for name, table, columns in (
        ("icicle", "first_steps", ("share", "answered")),
        ("sankey", "flow_steps", ("share",)),
    ):
        known = {write(float(r[c]), "share") for r in rows(run, table) for c in columns if r[c]}
        drawn = re.findall(rf'class="{name}".*?</svg>', page, re.DOTALL)
        said = [n for d in drawn for n in re.findall(r"(?:under |over )?\d+\u00a0%", d)]
        assert len(said) > 10 and set(said) <= known


def test_everybody_of_a_group_stands_in_a_band_of_ten_or_more(run: Path) -> None:
    told = rows(run, "journey_bands")
    assert [(int(r["looked_at"]), int(r["n_cases"])) for r in told] == [(30, 30), (24, 24)]
    assert all(1 <= int(r["bands"]) <= int(r["n_cases"]) // 10 for r in told)
