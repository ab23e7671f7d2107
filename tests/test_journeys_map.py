"""The process map: what it keeps, where things lie, what it says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st
from oracles_journeys import load

from behavio.journeys import directly_follows, process_map
from behavio.journeys.choice import choose
from behavio.journeys.layout import forward_order, layered
from behavio.journeys.map import percent, span, text_width, touchpoint_colour, wrap
from behavio.sequences import SequenceSet

SVG = "{http://www.w3.org/2000/svg}"


def graph_of(made: list[list[str]]):
    return directly_follows(SequenceSet.from_traces(made))


def test_choice_by_hand():
    # a b c ×3, a c ×1: a→b 3, b→c 3, a→c 1; all needed or wanted, everything drawn
    chosen = choose(graph_of([list("abc")] * 3 + [list("ac")]), 12)
    assert [chosen.names[i] for i in chosen.order] == ["a", "b", "c"]
    assert {(chosen.names[k.first], chosen.names[k.second], k.frequency) for k in chosen.links} == {
        ("a", "b", 3),
        ("b", "c", 3),
        ("a", "c", 1),
    }
    assert (chosen.share, chosen.n_edges, chosen.loops) == (1.0, 3, {})


def test_ways_there_and_back_are_one_link():
    chosen = choose(graph_of([list("abab")]), 12)
    (link,) = chosen.links
    assert (link.there.frequency, link.back.frequency) == (2, 1)


@given(traces, st.integers(1, 4))
def test_every_node_drawn_is_reached_from_a_start(made, max_nodes):
    found = graph_of(made)
    chosen = choose(found, max_nodes)
    assert len(chosen.names) == min(max_nodes, found.activities.height)
    assert sorted(chosen.order) == list(range(len(chosen.names)))
    starts = dict(found.activities.select("activity", "starts").rows())
    reached = {i for i, name in enumerate(chosen.names) if starts[name]}
    for _ in chosen.names:
        for link in chosen.links:
            reached |= {link.second} if link.there and link.first in reached else set()
            reached |= {link.first} if link.back and link.second in reached else set()
    inner = {(a, b) for a, b in found.edges.select("source", "target").rows()}
    for i, name in enumerate(chosen.names):
        if any((other, name) in inner for other in chosen.names if other != name):
            near = [chosen.names.index(a) for a, b in inner if b == name and a in chosen.names and a != name]
            assert i in reached or not set(near) & reached
    drawn = sum(s.frequency for k in chosen.links for s in (k.there, k.back) if s is not None) + sum(
        s.frequency for s in chosen.loops.values()
    )
    assert chosen.share == pytest.approx(drawn / max(found.edges["frequency"].sum(), 1))


def test_order_moves_nodes_against_backward_weight():
    assert forward_order([2, 1, 0], {(0, 1): 5.0, (1, 2): 5.0, (2, 0): 1.0}) == [0, 1, 2]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


@given(st.integers(1, 9), st.integers(0, 10_000))
def test_boxes_labels_and_lines_never_meet(n, seed):
    rng = np.random.default_rng(seed)
    order = [int(i) for i in rng.permutation(n)]
    pairs = sorted({(min(a, b), max(a, b)) for a, b in rng.integers(0, n, (2 * n, 2)).tolist() if a != b})
    place = {node: i for i, node in enumerate(order)}
    edges = [(a, b) if place[a] < place[b] else (b, a) for a, b in pairs]
    sizes = [(float(w), float(h)) for w, h in rng.integers(30, 90, (n, 2))]
    drawing = layered(sizes, edges, [(60.0, 12.0, 12.0)] * len(edges), order)
    boxes = [
        (u - w / 2, u + w / 2, v - h / 2, v + h / 2)
        for (u, v), (w, h) in zip(drawing.boxes, sizes, strict=True)
    ]
    slots = [(u - 30, u + 30, v - 12, v + 12) for u, v in drawing.labels]
    rooms = boxes + slots
    assert not any(overlap(a, b) for i, a in enumerate(rooms) for b in rooms[i + 1 :])
    assert len(slots) == len(edges)
    for e, line in enumerate(drawing.lines):
        u, v = drawing.labels[e]
        assert any(
            a[1] == v == b[1] and a[0] <= u <= b[0] for a, b in zip(line[::2], line[1::2], strict=True)
        )
        for a, b in zip(line[::2], line[1::2], strict=True):  # straight parts, inside layers
            flat = (min(a[0], b[0]) + 0.01, max(a[0], b[0]) - 0.01, a[1] - 0.5, a[1] + 0.5)
            others = [room for k, room in enumerate(rooms) if k != n + e]
            assert flat[0] >= flat[1] or not any(overlap(flat, room) for room in others)
    assert all(0 <= x <= drawing.extent[0] + 1e-6 for a, b, *_ in rooms for x in (a, b))


def test_svg_is_whole_escaped_and_legible():
    odd = ["<script>alert(1)</script>", 'say "hi" & go', "🙂 smile", "x" * 200, "שלום", "nul\x00"]
    made = [odd, odd[::-1], [odd[0], odd[0], odd[3]]]
    text = process_map(graph_of(made), 12, 700)
    root = ET.fromstring(text)
    assert root.get("role") == "img" and "3 cases" in root.get("aria-label")
    assert "<script>" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    shown = "".join(e.text for e in root.iter(f"{SVG}text"))
    assert "x" * 20 in shown and shown.count("x") == 200  # broken into lines, not cut
    sizes = [float(s) for s in re.findall(r"font-size:([\d.]+)px", text)]
    assert sizes and min(sizes) >= 11
    assert "prefers-color-scheme:dark" in text and "var(--ink,#1d2126)" in text


def test_texts_lie_inside_the_page_and_inside_their_boxes():
    made = [["W_Completeren aanvraag+COMPLETE", "Compensation for services other than consulting", "b"]] * 3
    for width in (None, 980, 360):
        root = ET.fromstring(process_map(graph_of(made), 12, width))
        page = float(root.get("width"))
        for group in root.iter(f"{SVG}g"):
            box = group.find(f"{SVG}rect")
            right = float(box.get("x")) + float(box.get("width"))
            for line in group.iter(f"{SVG}text"):
                bold = line.get("class") == "name"
                end = float(line.get("x")) + text_width(line.text, 13 if bold else 11.5, bold)
                assert end <= right <= page


def test_a_map_says_what_it_hides():
    made = [list("abcdefgh")] * 5 + [list("ax")] * 2
    text = process_map(graph_of(made), 3)
    assert "Drawn: 3 of 9 activities and 2 of 8 different steps" in text
    assert "They hold 27\u00a0% of all 37 steps; 73\u00a0% hidden" in text
    assert "hidden" not in process_map(graph_of([list("ab")]), 3)


def test_layers_run_down_where_they_do_not_fit_across():
    long = graph_of([list("abcdefghij")] * 2)
    size = {w: re.search(r'width="(\d+)" height="(\d+)"', process_map(long, 12, w)) for w in (None, 700)}
    assert int(size[None][1]) > int(size[None][2]) and int(size[700][1]) <= 700 < int(size[700][2])


def test_same_graph_same_svg_and_the_repr_holds_it():
    found = graph_of([list("abcab"), list("acb")])
    assert process_map(found) == process_map(found)
    assert process_map(found) in found._repr_html_() and "2 cases, 8 events" in found._repr_html_()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0, "same time"), (0.4, "< 1 s"), (1, "1 s"), (75, "75 s"), (96, "1.6 min"),
     (5_400, "1.5 h"), (86_400, "24 h"), (3.7 * 86_400, "3.7 d"), (400 * 86_400, "400 d"),
     (5_000 * 86_400, "5,000 d")],
)  # fmt: skip
def test_durations_are_said_in_their_unit(seconds, said):
    assert span(seconds).replace("\u00a0", " ") == said


def test_small_words():
    assert [percent(s).replace("\u00a0", " ") for s in (0, 0.001, 0.256, 1)] == [
        "0 %",
        "< 1 %",
        "26 %",
        "100 %",
    ]
    assert wrap("email open", 60, 13) == ["email", "open"] and wrap("", 90, 13) == ["(no name)"]
    assert touchpoint_colour("call_f2f") == "#4477AA" and touchpoint_colour("Gift") == "#8C887F"
    assert (
        touchpoint_colour("email_click") == "#B8344A" and touchpoint_colour("email_unsubscribe") == "#EE6677"
    )


@pytest.mark.parametrize("name", ["bpic2012", "open_payments_iowa", "complete_journey"])
def test_real_maps_fit_the_page(real_log, name):
    found = directly_follows(load(real_log(name)))
    root = ET.fromstring(process_map(found, 12, 980))
    assert float(root.get("width")) <= 980
    assert len(list(root.iter(f"{SVG}g"))) == min(12, found.activities.height)
