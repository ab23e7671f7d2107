"""What was planned and what happened: what is left out, who gets too little, attainment beside response."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import polars as pl
from markupsafe import Markup

from behavio import words
from behavio.conformance import parse_rule
from behavio.durations import seconds
from behavio.errors import JobError
from behavio.report.blocks import Block, Figure, Section
from behavio.report.charts.track import Row, ShareAxis, track
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.language import t
from behavio.report.numbers import period, write
from behavio.report.sections import walked
from behavio.report.tables import Column, Table
from behavio.words import capital, touchpoint

SHOWN = 14
DATES = re.compile(r"(\d{4}-\d{2}-\d{2}) to (\d{4}-\d{2}-\d{2})")
PHRASES = {
    "at_least": "{a}: {times} or more",
    "at_most": "{a}: {times} at most",
    "exactly": "{a}: {times}",
    "init": "{a} comes first",
    "end": "{a} comes last",
    "responded_existence": "with {a} there is {b}",
    "coexistence": "{a} and {b} together or not at all",
    "not_coexistence": "{a} or {b}, not both",
    "response": "after {a} comes {b}",
    "precedence": "before {b} comes {a}",
    "succession": "after {a} comes {b}, before {b} comes {a}",
    "alternate_response": "after each {a} comes {b} before the next",
    "alternate_precedence": "before each {b} comes {a} anew",
    "alternate_succession": "{a} and {b} take turns",
    "chain_response": "right after {a} comes {b}",
    "chain_precedence": "right before {b} comes {a}",
    "chain_succession": "{a} and {b} come right after each other",
    "not_succession": "no {b} after {a}",
    "not_chain_succession": "no {b} right after {a}",
}
"""Rules as the page says them."""
KINDS = {
    "skipped": "left out",
    "too_late": "too late",
    "wrong_order": "in another place",
    "extra": "not planned",
    "under": "too seldom",
    "over": "too often",
}
"""How a step went wrong, as the page says it."""
AXIS = ShareAxis(((0.0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")))


def section(c: Context) -> Section | None:
    """The plan held against the journeys; None in a run without a plan."""
    held = c.run.conformance
    if held is None:
        return None
    steps, bands = _steps(c, held["steps"]), _bands(c, held["response"])
    blocks: list[Block] = []
    if steps is not None:
        blocks.append(_kept(c, steps, held["steps"]))
    walks = walked.flow(c, held)
    if walks is not None:
        blocks.append(walks)
    if bands is not None:
        blocks.append(_answers(c, bands))
    tables = tuple(t for t in (steps, walks.table if walks else None, bands) if t is not None)
    return Section("plan", "Plan", _heading(c, held), _sub(c, held), tuple(blocks), tables)


def _heading(c: Context, held: dict[str, Any]) -> Markup:
    """Contacts first, then the step that is left out most, then how many went as planned."""
    steps: pl.DataFrame = held["steps"]
    contacts = steps.filter(pl.col("kind") == "contacts")
    planned = float(contacts["planned"].sum())
    if planned > 0:
        reached = float((contacts["attainment"].fill_null(0) * contacts["planned"]).sum())
        share = c.facts.add(
            "plan_attainment",
            reached / planned,
            "share",
            "contacts made of those due so far; more than planned for one does not make up for another",
            n=round(planned),
        )
        return say("Of the contacts due so far, {s} were made", s=share.shown)
    missed = steps.filter((pl.col("skipped") >= c.k) & (pl.col("cases") >= c.k) & (pl.col("kind") != "rule"))
    if missed.height:
        row = missed.sort("skipped", "place", descending=[True, False]).row(0, named=True)
        share = c.facts.add(
            "plan_most_skipped",
            row["skipped"] / row["cases"],
            "share",
            f"{c.many} without the step that is left out most",
            n=row["cases"],
        )
        return say(
            "The step left out most is {step}: by {s} of {many}",
            step=_named(row["step"], row["kind"]),
            s=share.shown,
            many=c.many,
        )
    good, _, base = _states(c, held)
    return say("{n} of {m} {many} went as planned", n=good.shown, m=base.shown, many=c.many)


def _states(c: Context, held: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Cases that conform to every part of the plan that applies, those still open, and all it applies to."""
    cases: pl.DataFrame = held["cases"].filter(pl.col("state") != "not started")
    per_case = cases.group_by("case_id").agg(
        (pl.col("state") == "deviates").any().alias("deviates"),
        (pl.col("state") == "open").any().alias("open"),
    )
    deviates, open_ = per_case["deviates"], per_case["open"]
    n_open = int((~deviates & open_).sum())
    good = int((~deviates & ~open_).sum())
    return (
        c.facts.add("plan_conforming", good, "count", f"{c.many} that went as planned"),
        c.facts.add("plan_open", n_open, "count", f"{c.many} with something still to come, nothing overdue"),
        c.facts.add("plan_cases", per_case.height, "count", f"{c.many} the plan applies to"),
    )


def _sub(c: Context, held: dict[str, Any]) -> Markup:
    good, still, base = _states(c, held)
    return say(
        "The plan{plan} held against the journeys of {m} {many}, {p}: {n} went as planned in everything, "
        "{o} are open: something is still to come, nothing is overdue.",
        plan="" if held["plan"] in ("plan", "contacts") else f" “{held['plan']}”",
        m=base.shown,
        many=c.many,
        p=c.period,
        n=good.shown,
        o=still.shown,
    )


def _named(step: str, kind: str = "") -> str:
    """A step in human words: an activity, or a rule as a sentence; anything else as it is written."""
    if kind == "rule":
        return _sentence(step)
    if " " not in step and "(" not in step:
        return _word(step)
    return DATES.sub(_dates, step)


def _dates(found: re.Match[str]) -> str:
    """A goal's days as the page writes days."""
    first, last = (date.fromisoformat(d) for d in found.groups())
    return period(first, last)


def _word(name: str) -> str:
    """One activity, or several: "call_*" is "any call", "a|b" is "a or b"."""
    parts = [f"any {p[:-2]}" if p.endswith("_*") else touchpoint(p) for p in name.split("|")]
    return " or ".join(parts)


def _sentence(text: str) -> str:
    """A rule in words; as it is written where it has a name of its own."""
    try:
        rule = parse_rule(text)
    except JobError:
        return text
    a, b = _word(rule.activity), _word(rule.target or "")
    phrase = PHRASES[rule.template].format(
        a=a, b=b, n=rule.n, times="once" if rule.n == 1 else f"{rule.n} times"
    )
    limit = f" within {words.duration(seconds(rule.within))}" if rule.within else ""
    return sentence_case(phrase + limit)


def _steps(c: Context, found: pl.DataFrame) -> Table | None:
    kept = found.filter((pl.col("conforming") + pl.col("deviating") >= c.k) & (pl.col("cases") >= c.k))
    if kept.height == 0:
        return None
    contacts = (kept["kind"] == "contacts").any()
    columns = [
        Column("plan", "Plan"),
        Column("step", "Step, rule or goal"),
        Column("cases", sentence_case(c.many), "count"),
        Column("share", "As planned", "share"),
        Column("low", "from", "share"),
        Column("high", "to", "share"),
        Column("open", "Still open", "count"),
        *(Column(k, sentence_case(how), "count") for k, how in KINDS.items()),
    ]
    if contacts:
        columns += [Column("planned", "Due so far", "count"), Column("done", "Done", "count")]
        columns += [Column("attainment", "Attainment", "share")]
    shown = kept if kept.height <= SHOWN else kept.sort("deviating", "place", descending=[True, False])
    rows = []
    for row in shown.head(SHOWN).iter_rows(named=True):
        small = {k: None for k in (*KINDS, "open") if 0 < row[k] < c.k}
        rows.append({**row, **small, "step": _named(row["step"], row["kind"])})
    used = [
        column
        for column in columns
        if column.name not in (*KINDS, "open") or any(row[column.name] for row in rows)
    ]
    return Table.of("plan_steps", "Plan and what happened", used, rows, "behavio conform RUN --table steps")


def _wrong(c: Context, table: Table, i: int) -> Markup:
    """The most frequent way in which a row of the table went wrong; the table has them all."""
    row = table.rows[i]
    told = sorted(((row.get(k) or 0, k) for k in KINDS if k in row), reverse=True)[:1]
    parts = [say("{how} {n}", how=KINDS[k], n=table.show(i, k)) for n, k in told if n]
    return Markup(", ").join(parts) or say("of {n}", n=table.show(i, "cases"))


def _kept(c: Context, table: Table, found: pl.DataFrame) -> Figure:
    lines = []
    for i, row in enumerate(table.rows):
        interval = table.between(i, "low", "high")
        value = say("{s} {ci}", s=table.show(i, "share"), ci=interval)
        lines.append(
            Row(say("{s}", s=row["step"]), value, _wrong(c, table, i), row["share"], row["low"], row["high"])
        )
    worst = min(range(len(table.rows)), key=lambda i: table.rows[i]["share"])
    title = say(
        "Least kept: {step}, as planned for {s} of {many}",
        step=table.rows[worst]["step"],
        s=table.show(worst, "share"),
        many=c.many,
    )
    more = found.height - len(table.rows)
    caption = say(
        "Share of the {many} decided for whom each part of the plan went as planned, with its interval; "
        "those still open are not counted. {more}",
        many=c.many,
        more=say(
            "{n} more in the table of the run; parts of fewer than {k} {many} are left out.",
            n=more,
            k=c.k,
            many=c.many,
        )
        if more
        else "",
    )
    alt = "; ".join(
        f"{t(r['step'])}: {table.text(i, 'share')} {t('as planned')}" for i, r in enumerate(table.rows[:6])
    )
    return Figure(
        title, track(lines, AXIS, ("Planned", "As planned", "What went wrong")), alt, caption, table
    )


def _bands(c: Context, found: pl.DataFrame) -> Table | None:
    kept = found.filter(pl.col("cases") >= c.k)
    kept = kept.sort(pl.col("plan") != "contacts", maintain_order=True)  # the title is about the first
    if kept.height < 2:
        return None
    columns = [
        Column("plan", "Plan"),
        Column("band", "Done of the plan"),
        Column("cases", f"{sentence_case(c.many)} (contacts: in each period)", "count"),
        Column("share", "Answered", "share"),
        Column("low", "from", "share"),
        Column("high", "to", "share"),
        Column("responses", "Answers each", "ratio"),
    ]
    rows = kept.iter_rows(named=True)
    return Table.of(
        "plan_response", "Plan and answers", columns, rows, "behavio conform RUN --table response"
    )


def _answers(c: Context, table: Table) -> Figure:
    several = len({r["plan"] for r in table.rows}) > 1
    steps: pl.DataFrame = (c.run.conformance or {})["steps"]
    periods = set(steps.filter(pl.col("kind") == "contacts")["plan"].to_list())
    contacts = table.rows[0]["plan"] in periods
    lines = []
    for i, row in enumerate(table.rows):
        name = f"{row['plan']}: {row['band']}" if several else sentence_case(row["band"])
        value = say("{s} {ci}", s=table.show(i, "share"), ci=table.between(i, "low", "high"))
        what = f"{c.one} periods" if row["plan"] in periods else c.many
        base = say("{n} {what}", n=table.show(i, "cases"), what=what)
        lines.append(Row(say("{s}", s=name), value, base, row["share"], row["low"], row["high"]))
    first, last = 0, max(i for i, r in enumerate(table.rows) if r["plan"] == table.rows[0]["plan"])
    apart = (
        table.rows[last]["low"] > table.rows[first]["high"]
        or table.rows[last]["high"] < table.rows[first]["low"]
    )
    title = (
        say(
            "Where {a} of the plan was done {x} answered afterwards, where {b}, {y}",
            a=_done(table.rows[first]["band"]),
            x=table.show(first, "share"),
            b=_done(table.rows[last]["band"]),
            y=table.show(last, "share"),
        )
        if apart
        else say(
            "{what} says little about who answers afterwards",
            what="Making more or fewer of the planned contacts"
            if contacts
            else "How much of the plan was done",
        )
    )
    caption = say(
        "Share of {many} with an answer within {w} after the plan was done or its period was over. An "
        "association: who answers is contacted more, and some are easier to reach; only a group left out by "
        "lot would show an effect.{own}",
        many=c.many,
        w=_within(c),
        own="".join(
            f" {t(capital(n) + '.')}" for n in (c.run.conformance or {})["notes"] if "themselves" in n
        ),
    )
    alt = "; ".join(
        f"{t(r['band'])}: {table.text(i, 'share')} {t('answered')}" for i, r in enumerate(table.rows)
    )
    return Figure(title, track(lines, AXIS, ("Done", "Answered", "Of")), alt, caption, table)


def _done(band: str) -> str:
    words = {"none": "nothing", "as planned": "all of it", "more than planned": "more than all of it"}
    return str(t(words.get(band, band)))


def _within(c: Context) -> str:
    return write(seconds((c.run.conformance or {})["within"]), "seconds")
