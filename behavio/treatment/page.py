"""A study in words and as one HTML page: nothing on it rests on fewer than k patients."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import polars as pl

from behavio.treatment.result import Treatment
from behavio.words import percent

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2b33}"
    "table{border-collapse:collapse;width:100%;font-size:14px;margin:.3rem 0 1.4rem}"
    "th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #dde4e7}th{color:#5b6b73}"
    "td.n,th.n{text-align:right}svg{max-width:100%;height:auto}.note{color:#5b6b73}"
)
COLOURS = ("#1f6f8b", "#c8553d", "#588b3a", "#7a4f9a", "#b8860b", "#2f4858", "#a23b72", "#5b6b73", "#999999")
WIDTH, HEIGHT, LEFT, BOTTOM = 760, 320, 50, 40
ROWS = 40
"""HCPs listed on the page; the table holds all."""


Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def tables_of(found: Treatment, variants: pl.DataFrame) -> list[Section]:
    """Title, columns and rows of everything that is told."""
    sizes = found.hcps.hcps.sort("treated_patients", "case_id", descending=[True, False]).head(ROWS)
    times: list[tuple[str, ...]] = [
        (r["regimen"], f"{r['n_patients']:,}", f"{r['n_ended']:,}", _days(r))
        for r in found.time.times.iter_rows(named=True)
    ]
    begun: list[tuple[str, ...]] = [
        (r["begun_by"], r["regimen"], f"{r['n_patients']:,}", percent(r["share"]))
        for r in found.regimens.head(ROWS).iter_rows(named=True)
    ]
    ends: list[tuple[str, ...]] = [
        (r["regimen"], r["ended_by"], f"{r['days']:.0f}", _interval(r))
        for r in found.time.endings.iter_rows(named=True)
    ]
    ways: list[tuple[str, ...]] = [
        (r["variant"], f"{r['cases']:,}", percent(r["share"])) for r in variants.iter_rows(named=True)
    ]
    hcps: list[tuple[str, ...]] = [_hcp(r) for r in sizes.iter_rows(named=True)]
    heads = ("HCP", "patients", "main regimen", f"on {found.hcps.focus}", "against the rest")
    return [
        ("Time on treatment", ("regimen", "patients", "lines ended", "median days (95 %)"), times),
        ("How lines begin", ("begun by", "regimen", "patients", "share of such lines"), begun),
        ("How lines end", ("regimen", "ended by", "until day", "share (95 %)"), ends),
        ("Journeys that many share", ("journey", "patients", "share"), ways),
        ("How HCPs treat", (*heads, "profile to look at"), hcps),
    ]


def _hcp(row: dict[str, Any]) -> tuple[str, ...]:
    words = [row[c] or "–" for c in ("main_regimen", "focus_against_rest", "focus_profile")]
    share = "–" if row["focus_share"] is None else percent(row["focus_share"])
    return (row["case_id"], f"{row['treated_patients']:,}", words[0], share, *words[1:])


def _interval(row: dict[str, Any]) -> str:
    share, low, high = (percent(row[c]) for c in ("share", "low", "high"))
    return f"{share} ({low} to {high})"


def _days(row: dict[str, Any]) -> str:
    if row["median_days"] is None:
        return "not reached"
    digits = 0 if row["median_days"] >= 10 else 1
    low, high = (f"{row[c]:.{digits}f}" if row[c] is not None else "…" for c in ("low", "high"))
    return f"{row['median_days']:.{digits}f} ({low} to {high})"


def head_of(found: Treatment, facts: dict[str, Any]) -> str:
    """One sentence: how many patients, lines, how lines began."""
    many = {"start": "starts", "add": "adds", "switch": "switches", "restart": "restarts"}
    begun = [f"{n:,} {how if n == 1 else many[how]}" for how, n in facts["begun_by"].items()]
    return f"{facts['n_patients']:,} patients, {facts['n_lines']:,} lines of therapy: {', '.join(begun)}."


def definition(found: Treatment) -> str:
    """What a line is here, in words."""
    s = found.settings
    return (
        f"A line begins with a drug while none is taken; drugs begun within {s.regimen_window} are its "
        f"regimen. A new drug later on is an add where an old one is still taken {s.overlap} after, else a "
        f"switch. Nothing taken for longer than {s.gap} is a stop, what follows a restart. Records within "
        f"{s.persistence} of each other are one era. Time on treatment ends with stop, switch, add or death; "
        f"lines are followed until {s.gap} before the end of observation."
    )


def summary(found: Treatment, facts: dict[str, Any], variants: pl.DataFrame) -> str:
    """The study as Markdown."""
    parts = ["# Treatment journeys", head_of(found, facts), definition(found)]
    for title, columns, rows in tables_of(found, variants):
        if rows:
            lines = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(r) for r in rows)]
            parts.append(f"## {title}\n\n" + "\n".join(f"| {line} |" for line in lines))
    if found.notes:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in found.notes))
    return "\n\n".join(parts) + "\n"


def page(found: Treatment, facts: dict[str, Any], variants: pl.DataFrame) -> str:
    """The study as a whole HTML page, nothing fetched from anywhere."""
    blocks = ["<h1>Treatment journeys</h1>", f"<p>{escape(head_of(found, facts))}</p>"]
    blocks.append(f'<p class="note">{escape(definition(found))}</p>')
    blocks.append(curves(found.time.curves))
    blocks += [_table(*one) for one in tables_of(found, variants) if one[2]]
    blocks += [f'<p class="note">{escape(note)}</p>' for note in found.notes]
    head = f'<meta charset="utf-8"><title>Treatment journeys</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(blocks)}</body></html>\n'


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def curves(table: pl.DataFrame) -> str:
    """Share still on treatment, a step curve per regimen, with the numbers at risk below; "" without any."""
    if not table.height:
        return ""
    names = table["regimen"].unique(maintain_order=True).to_list()
    end = max(float(table["days"].max()), 1.0)  # type: ignore[arg-type]
    ticks = [end * i / 4 for i in range(5)]
    height = HEIGHT + BOTTOM + 18 * (len(names) + 1)
    parts = [_axes(ticks, end)]
    for number, name in enumerate(names):
        own, colour = table.filter(regimen=name), COLOURS[number % len(COLOURS)]
        path = f"M{_x(0.0, end):.1f},{_y(1.0):.1f}"
        for days, share in own.select("days", "share").iter_rows():
            path += f"H{_x(days, end):.1f}V{_y(share):.1f}"
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = HEIGHT + BOTTOM + 18 * (number + 1)
        parts.append(
            f'<text x="{LEFT + WIDTH + 12}" y="{y}" fill="{colour}" font-size="12">{escape(name)}</text>'
        )
        days, risk = own["days"].to_list(), own["n_at_risk"].to_list()
        for tick in ticks:
            later = [n for d, n in zip(days, risk, strict=True) if d >= tick]
            text = f"{later[0]:,}" if later else "–"
            where = f'x="{_x(tick, end):.1f}" y="{y}"'
            parts.append(f'<text {where} font-size="12" text-anchor="middle">{text}</text>')
    said = f"Share still on treatment by days since the line began: {', '.join(names)}"
    size = f"0 0 {LEFT + WIDTH + 260} {height + 10}"
    place = f'x="{LEFT}" y="{HEIGHT + BOTTOM}"'
    note = f'<text {place} font-size="12" fill="#5b6b73">lines still followed</text>'
    return f'<svg viewBox="{size}" role="img" aria-label="{escape(said)}">{"".join(parts)}{note}</svg>'


def _x(days: float, end: float) -> float:
    return LEFT + WIDTH * days / end


def _y(share: float) -> float:
    return 10 + (HEIGHT - 30) * (1 - share)


def _axes(ticks: Sequence[float], end: float) -> str:
    lines = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        lines.append(f'<path d="M{LEFT},{y:.1f}H{LEFT + WIDTH}" stroke="#dde4e7"/>')
        lines.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" font-size="12" text-anchor="end">{share:.0%}</text>'
        )
    for tick in ticks:
        label = f"{tick:.0f} d" if end >= 10 else f"{tick:.1f} d"
        lines.append(
            f'<text x="{_x(tick, end):.1f}" y="{HEIGHT}" font-size="12" text-anchor="middle">{label}</text>'
        )
    return "".join(lines)
