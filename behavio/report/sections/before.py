"""What comes before an outcome, and which sequences of contacts are answered."""

from __future__ import annotations

import re
import shlex
from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Figure, Prose, Section, Sheet
from behavio.report.charts.track import Row, ratio_axis, track
from behavio.report.context import Context, say
from behavio.report.kinds import path, sentence_case
from behavio.report.language import spoken
from behavio.report.numbers import times
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

EACH, SENT = 5, 5
SPOKEN = {
    "portal_visit": "a portal visit",
    "portal_download": "a download",
    "reaction_positive": "a positive reaction",
    "email_open": "an opened email",
    "email_click": "a click in an email",
    "event_attended": "a visit to an event",
}
RATE = 0.05
OURS, THEIRS = "ours", "theirs"


def section(c: Context) -> Section | None:
    """Forest plots of what precedes the outcome, and the communications; None where neither was asked for."""
    blocks: list[Block] = []
    tables: list[Table] = []
    heading, sub = Markup("What is answered"), Markup("")
    if c.run.outcomes is not None:
        sides = _sides(c, c.run.outcomes)
        heading, sub = _heading(c, sides), _sub(c)
        for side, rows in sides.items():
            table = _table(c, side, rows)
            tables.append(table)
            blocks.append(_forest(c, side, rows, table))
        if not sides:
            blocks.append(Prose((say("{t}.", t=_sentence(_notes(c, "outcomes")[-1:])),)))
    sent = _communications(c)
    if sent is not None and _stands_out(sent):
        tables.append(sent)
        blocks.append(Sheet(sent, _sent_title(sent), _sent_note(c)))
    elif sent is not None:
        nothing = (
            "{n} sequences of contacts were compared with the same last contact after other ones: none is "
        )
        n = c.facts.add("sequences_of_contacts", _tested(c), "count", "sequences of contacts compared")
        said = say(
            nothing + "answered more often for sure. The order they come in is not where to look.", n=n.shown
        )
        blocks.append(Prose((said,), Markup("No order of contacts is answered more often than another")))
    if not blocks:
        return None
    return Section("before", "What comes before", heading, sub, tuple(blocks), tuple(tables))


def _notes(c: Context, what: str) -> list[str]:
    return list((c.run.pattern_notes or {}).get(what, ()))


def _sentence(notes: list[str]) -> str:
    return sentence_case(notes[0]) if notes else "Nothing stands out"


def _name(c: Context) -> str:
    """The outcome as the log names it; "" where nothing was found before it."""
    assert c.run.outcomes is not None
    names = c.run.outcomes["outcome"].unique().to_list()
    return str(names[0]) if names else ""


def _outcome(c: Context) -> str:
    """The outcome as what happens: "a portal visit"."""
    name = _name(c)
    return SPOKEN.get(name, touchpoint(name)) if name else "the outcome"


def _sides(c: Context, found: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Sure rows of at least k people that raise the outcome, by whose step ends them, surest first.

    Of rows with the same activities only the first is kept: "email, then visit" is not news beside "visit".
    """
    if not found.height:
        return {}
    sure = found.filter(
        (pl.col("n_cases") >= c.k) & (pl.col("q_value") <= RATE) & pl.col("low").is_not_null()
    ).filter(pl.col("lift") > 1)
    direction = c.run.events.select("activity", "direction").unique("activity", keep="first")
    known = dict(direction.iter_rows())
    sides: dict[str, list[dict[str, Any]]] = {}
    for row in sure.sort("p_value", "pattern").iter_rows(named=True):
        side = OURS if known.get(row["activities"][-1]) == "outbound" else THEIRS
        kept = sides.setdefault(side, [])
        if len(kept) < EACH and all(set(k["activities"]) != set(row["activities"]) for k in kept):
            kept.append(row)
    return {side: sides[side] for side in (OURS, THEIRS) if side in sides}


def _heading(c: Context, sides: dict[str, list[dict[str, Any]]]) -> Markup:
    if not sides:
        return say("Nothing is known to come before {o}", o=_outcome(c))
    best = next(iter(sides.values()))[0]
    fact = c.facts.add(
        "before_outcome",
        best["lift"],
        "ratio",
        f"{best['outcome']} after {best['pattern']}, against comparable moments without it",
        n=best["n_cases"],
        low=best["low"],
        high=best["high"],
    )
    return say(
        "After {steps}, {o} comes {t} times as often",
        steps=path(best["activities"]).replace(" → ", ", then "),
        o=_outcome(c),
        t=fact.shown,
    )


def _sub(c: Context) -> Markup:
    return say(
        "Each {one} counts once, before it happens for the first time, against {many} without these steps, "
        "as busy and at the same time of the year. Lines are 95 % intervals. What comes before need not be "
        "the cause.",
        one=c.one,
        many=c.many,
    )


def _table(c: Context, side: str, rows: list[dict[str, Any]]) -> Table:
    columns = (
        Column("pattern", "Steps"),
        Column("share", "Followed by it", "share"),
        Column("expected", "At comparable moments", "share"),
        Column("lift", "Times as often", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("q_value", "May be chance", "chance"),
    )
    found = [{**r, "pattern": path(r["activities"])} for r in rows]
    what = "we do" if side == OURS else f"{c.many} do"
    command = f"behavio patterns RUN --outcome {shlex.quote(_name(c))}"
    return Table.of(f"before_{side}", f"What {what} before {_outcome(c)}", columns, found, command)


def _forest(c: Context, side: str, rows: list[dict[str, Any]], table: Table) -> Figure:
    drawn = [
        Row(
            say("{s}", s=r["pattern"]),
            say("{a}, else {b}", a=table.show(i, "share"), b=table.show(i, "expected")),
            say("{n} {many}", n=table.show(i, "n_cases"), many=c.many),
            rows[i]["lift"],
            rows[i]["low"],
            rows[i]["high"],
        )
        for i, r in enumerate(table.rows)
    ]
    axis = ratio_axis([d.low for d in drawn], [d.high for d in drawn], "as usual")
    title = (
        say("What we do before {o}", o=_outcome(c))
        if side == OURS
        else say("What {many} do before {o}", many=c.many, o=_outcome(c))
    )
    alt = "; ".join(f"{r['pattern']}: {times(r['lift'], r['low'], r['high'])}" for r in table.rows)
    within = [found[1] for n in _notes(c, "outcomes") if (found := re.search(r"within (.+) of its first", n))]
    caption = (
        say("Counted: {o} within {t} of the last step.", o=_outcome(c), t=spoken().number(within[0]))
        if within
        else ""
    )
    head = ("Steps", "Followed by it", "Seen at")
    return Figure(title, track(drawn, axis, head), alt, Markup(caption), table)


def _communications(c: Context) -> Table | None:
    found = c.run.communications
    if found is None:
        return None
    rows: list[dict[str, Any]] = []
    for row in found.filter((pl.col("n_cases") >= c.k) & pl.col("lift").is_not_null()).iter_rows(named=True):
        if all(set(row["activities"]) != set(kept["activities"]) for kept in rows):
            rows.append(row)
    if not rows:
        return None
    columns = (
        Column("pattern", "Contacts in this order"),
        Column("n_cases", sentence_case(c.many), "count"),
        Column("share", "Answered", "share"),
        Column("expected", "Last contact after others", "share"),
        Column("lift", "Times as often", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
        Column("q_value", "May be chance", "chance"),
    )
    told = [{**r, "pattern": path(r["activities"])} for r in rows[:SENT]]
    command = "behavio patterns RUN --communications"
    return Table.of("communications", "Sequences of contacts and their answers", columns, told, command)


def _stands_out(table: Table) -> bool:
    return bool(table.rows[0]["q_value"] <= RATE and table.rows[0]["low"] > 1)


def _tested(c: Context) -> int:
    """Sequences with something to compare them with."""
    assert c.run.communications is not None
    return int(c.run.communications["lift"].count())


def _sent_title(table: Table) -> Markup:
    return say(
        "{steps} is answered {t} times as often as the same last contact otherwise",
        steps=sentence_case(str(table.rows[0]["pattern"]).replace(" → ", ", then ")),
        t=table.show(0, "lift"),
    )


def _sent_note(c: Context) -> Markup:
    answered = [n for n in _notes(c, "communications") if n.startswith("answered:")]
    said = say("{t}. ", t=sentence_case(answered[0])) if answered else Markup("")
    return said + say(
        "Who gets which sequence was decided by people and rules who knew the {one}: an association, not an "
        "effect. Try it on a random half before acting on it.",
        one=c.one,
    )
