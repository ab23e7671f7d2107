"""The story of one case as HTML: a part for notebooks, or a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio.words import days, percent, touchpoint

if TYPE_CHECKING:
    from behavio.view import CaseStory

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;color:#1c2b33}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1.2rem}dt{color:#5b6b73}dd{margin:0}"
    "table{border-collapse:collapse;width:100%;font-size:14px;margin:.3rem 0 1.4rem}"
    "th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #dde4e7}th{color:#5b6b73}"
    "h4{margin:1.4rem 0 .2rem}.held{color:#5b6b73}"
)


def part(story: CaseStory) -> str:
    """The story without a page around it; every text of the log is escaped."""
    head = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in story.facts)
    told = "".join(f"<p>{escape(line)}</p>" for line in suggested(story))
    held = "".join(f'<p class="held">{escape(line)}</p>' for line in held_back(story))
    blocks = [f"<h3>{escape(story.case_id)}</h3><dl>{head}</dl>{told}{held}"]
    titled: tuple[tuple[str, tuple[str, ...], list[tuple[str, ...]]], ...] = (
        ("What comes next", ("step", "probability", "in", "because"), next_rows(story)),
        ("Most alike", ("case", "likeness", "group", "next"), alike_rows(story)),
        ("What happened", ("when", "touchpoint", "channel", "about", "who", "source row"), story.rows),
    )
    for title, columns, rows in titled:
        if rows or title == "What happened":
            blocks.append(f"<h4>{title}</h4>{_table(columns, rows)}")
    return "".join(blocks)


def page(story: CaseStory) -> str:
    """The story as a whole HTML page, nothing fetched from anywhere."""
    head = f'<meta charset="utf-8"><title>{escape(story.case_id)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{part(story)}</body></html>\n'


def said(perceptions: pl.DataFrame) -> list[tuple[str, str]]:
    """(question, answer in words) with whether it was given or is projected; the likeliest answer of each."""
    if perceptions.is_empty():
        return []
    best = perceptions.sort("question", "probability", descending=[False, True], nulls_last=True)
    out = []
    for row in best.unique("question", keep="first", maintain_order=True).iter_rows(named=True):
        if row["basis"] == "answered":
            given = row["answer"] if row["answer"] is not None else f"{row['value']:g}"
            told = f"{given} (said so)"
        elif row["answer"] is None:
            told = f"{row['value']:.1f} (projected, {row['low']:.1f} to {row['high']:.1f}; never asked)"
        else:
            told = f"{row['answer']} (projected, {percent(row['probability'])} sure; never asked)"
        out.append((row["question"], told))
    return out


def suggested(story: CaseStory) -> list[str]:
    """Every open suggestion in words: what, about what, until when, why."""
    lines = []
    for s in story.suggestions.iter_rows(named=True):
        about = f", “{s['message']}”" if s.get("message") else ""
        due = f", from {s['due_from']}, shown until {s['expires_on']}" if s.get("due_from") else ""
        lines.append(f"Suggested: {touchpoint(s['action'])}{about}{due}. {s['reason']}")
    return lines


def held_back(story: CaseStory) -> list[str]:
    """Every action held back, with the rule and its detail."""
    return [
        f"Held back: {touchpoint(s['action'] or 'every action')} ({s['reason']}) {s['detail'] or ''}".strip()
        for s in story.suppressed.iter_rows(named=True)
    ]


def next_rows(story: CaseStory) -> list[tuple[str, ...]]:
    """The next steps: what, how likely, when, and the neighbours it was seen with."""
    rows: list[tuple[str, ...]] = []
    for s in story.next_steps.iter_rows(named=True):
        span: list[Any] = [s.get(c) for c in ("median_days", "low_days", "high_days")]
        when = "" if None in span else f"{days(span[0])} ({days(span[1])} to {days(span[2])})"
        rows.append((touchpoint(s["activity"]), percent(s["probability"]), when, s.get("evidence") or ""))
    return rows


def alike_rows(story: CaseStory) -> list[tuple[str, ...]]:
    """The cases most alike, and what comes next for them."""
    rows: list[tuple[str, ...]] = []
    for a in story.alike.iter_rows(named=True):
        then = a.get("next_activity")
        told = f"{touchpoint(then)} ({percent(a['next_probability'])})" if then else ""
        rows.append((a["case_id"], f"{a['likeness']:.2f}", a.get("segment") or "", told))
    return rows


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{c}</th>" for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
