"""The four questions of a segment: who they are, what moves them, which channel, which content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from behavio import words
from behavio.segments.fact import MIN_LIFT, MIN_Z, Fact
from behavio.segments.names import by_worth
from behavio.segments.phrases import OUTBOUND, full_text
from behavio.sequences import SequenceSet

SHOWN = 3
MIN_CASES = 10
CONTENT = ("content", "message", "brand")
MISSING = {
    "who": "unknown: nothing known of the cases but their events sets them apart",
    "moves": "unknown: nothing they do after something else sets them clearly apart",
    "channel": "unknown: the log has no channel, or none that sets them clearly apart",
    "content": "unknown: the log has no content, message or brand, or none that sets them clearly apart",
}


def four_answers(
    sequences: SequenceSet,
    label: np.ndarray,
    k: int,
    facts: Sequence[Sequence[Fact]],
    attributes: Sequence[Any],
) -> list[dict[str, Any]]:
    """For each segment who, moves, channel, content: {"text", "data"}; no data and "unknown: why" else."""
    inbound = _inbound(sequences)
    where = field_facts(sequences, label, k, "channel", inbound)
    content: list[list[dict[str, Any]]] = [[] for _ in range(k)]
    for name in CONTENT:
        found = field_facts(sequences, label, k, name, inbound)
        content = [own or more for own, more in zip(content, found, strict=True)]
    pages = []
    for g in range(k):
        moves = [f for f in by_worth(facts[g]) if f.more and f.kind in ("order", "until", "reaction")]
        moves = [f for f in moves if f.what[-1] not in OUTBOUND][:SHOWN]
        # what more of them are comes first; what fewer of them are says less about who they are
        of_them = sorted(attributes[g], key=lambda a: a["share"] <= a["rest"])[:SHOWN]
        who = [
            f"{str(a['attribute']).replace('_', ' ')} {a['value']}: {words.percent(a['share'])} "
            f"(others {words.percent(a['rest'])})"
            for a in of_them
        ]
        moving = [{"what": list(f.what), "lift": round(f.lift, 3), "text": full_text(f)} for f in moves]
        pages.append(
            {
                "who": _answer("who", who, of_them),
                "moves": _answer("moves", [m["text"] for m in moving], moving),
                "channel": _answer("channel", [c["text"] for c in where[g]], where[g]),
                "content": _answer("content", [c["text"] for c in content[g]], content[g]),
            }
        )
    return pages


def _answer(question: str, texts: Sequence[Any], data: Sequence[Any]) -> dict[str, Any]:
    text = words.capital("; ".join(str(t) for t in texts)) if texts else MISSING[question]
    return {"text": text, "data": list(data)}


def _inbound(sequences: SequenceSet) -> np.ndarray:
    """bool (n_events,): what cases do themselves, where the log tells; else every event."""
    direction = sequences.fields.get("direction")
    if direction is None:
        return np.ones(sequences.n_events, bool)
    theirs = direction.codes == direction.vocabulary.id("inbound")
    return theirs if theirs.any() else np.ones(sequences.n_events, bool)


def field_facts(
    sequences: SequenceSet, label: np.ndarray, k: int, name: str, counted: np.ndarray
) -> list[list[dict[str, Any]]]:
    """Values of a field that take a clearly larger share of a case's events than elsewhere, mean over cases.

    Rows: field, value, share, rest, low and high of their difference (95 %), text; at most three a segment.
    """
    field = sequences.fields.get(name)
    found: list[list[dict[str, Any]]] = [[] for _ in range(k)]
    if field is None:
        return found
    width = len(field.vocabulary)
    kept = counted & (field.codes >= 2)
    cells = sequences.case_of_event[kept] * width + field.codes[kept]
    cell, n = np.unique(cells, return_counts=True)
    case, value = cell // width, cell % width
    total = np.bincount(case, weights=n, minlength=sequences.n_cases)
    share = n / total[case]
    inside = (label >= 0) & (total > 0)
    size = np.bincount(label[inside], minlength=k).astype(float)
    ok = inside[case]
    place = label[case[ok]].astype(np.int64) * width + value[ok]
    x = np.bincount(place, weights=share[ok], minlength=k * width).reshape(k, width)
    xx = np.bincount(place, weights=share[ok] ** 2, minlength=k * width).reshape(k, width)
    for g in range(k):
        others = size.sum() - size[g]
        if size[g] < MIN_CASES or others < MIN_CASES:
            continue
        here, there = x[g] / size[g], (x.sum(0) - x[g]) / others
        error = np.sqrt(
            np.maximum(xx[g] / size[g] - here**2, 0) / size[g]
            + np.maximum((xx.sum(0) - xx[g]) / others - there**2, 0) / others
        )
        z = (here - there) / np.maximum(error, 1e-9)
        for v in np.argsort(-z, kind="stable")[:SHOWN]:
            if z[v] < MIN_Z or here[v] < MIN_LIFT * there[v] or here[v] < 0.05:
                continue
            what = field.vocabulary.names[v]
            found[g].append(
                {
                    "field": name,
                    "value": what,
                    "share": round(float(here[v]), 4),
                    "rest": round(float(there[v]), 4),
                    "low": round(float(here[v] - there[v] - 1.96 * error[v]), 4),
                    "high": round(float(here[v] - there[v] + 1.96 * error[v]), 4),
                    "text": f"{what}: {words.percent(here[v])} of what they do "
                    f"(others {words.percent(there[v])})",
                }
            )
    return found
